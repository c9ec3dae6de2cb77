use std::sync::Arc;
use std::time::Duration;

use crate::config::Source;
use crate::shared::Shared;

/// How often the file is read.
const PERIOD: Duration = Duration::from_millis(500);

/// Takes over changes of the configuration's file, if that is to be watched. It ends only if not;
/// it is dropped with the runtime.
///
/// The file is read again and again rather than watched by the kernel: it is small, and so a change
/// is seen on every file system, through any chain of symbolic links (Kubernetes swaps one of them),
/// and whether the file was written in place or replaced. A text is taken only once two readings in
/// a row found the same, so that a file half written is not, and a text that was refused is not
/// tried again before it changes.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut changes = {
        let running = shared.snapshot();
        match &running.config.source {
            Some(source) if source.watched => Changes::new(source.text.clone()),
            _ => return,
        }
    };
    loop {
        shared.clock.sleep(PERIOD).await;
        let shared = shared.clone();
        let look = move || {
            let path = shared.snapshot().config.source.as_ref()?.path.clone();
            // A file that cannot be read now may be on its way to another place.
            let text = Source::text(&path).ok();
            if changes.are_settled(text) {
                // Whoever observes is told how it went.
                let _ = shared.reload();
            }
            Some(changes)
        };
        // Reading may block, and this thread answers the operators.
        match tokio::task::spawn_blocking(look).await {
            Ok(Some(after)) => changes = after,
            Ok(None) | Err(_) => return,
        }
    }
}

/// Tells when a text has changed and is at rest.
#[derive(Debug)]
struct Changes {
    /// What was last taken over, or refused.
    known: Option<Arc<str>>,
    /// What was read last.
    last: Option<Arc<str>>,
}

impl Changes {
    fn new(known: Arc<str>) -> Self {
        Self {
            last: Some(known.clone()),
            known: Some(known),
        }
    }

    /// Whether this text, `None` where there is none to read, is another one than before, and was
    /// read twice.
    fn are_settled(&mut self, text: Option<Arc<str>>) -> bool {
        let at_rest = text == self.last;
        self.last = text;
        let changed = at_rest && self.last != self.known;
        if changed {
            self.known.clone_from(&self.last);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_once_when_it_was_read_twice() {
        let mut changes = Changes::new("a".into());
        for (text, taken) in [
            (Some("a"), false),
            // Written in two pieces.
            (Some("b"), false),
            (Some("bc"), false),
            (Some("bc"), true),
            (Some("bc"), false),
            // There and back again.
            (Some("d"), false),
            (Some("bc"), false),
            (Some("bc"), false),
            // Replaced by way of nothing.
            (None, false),
            (Some("e"), false),
            (Some("e"), true),
            // Gone for good.
            (None, false),
            (None, true),
            (None, false),
        ] {
            assert_eq!(changes.are_settled(text.map(Arc::from)), taken, "{text:?}");
        }
    }
}
