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
        let look = move || look(&shared, &mut changes).then_some(changes);
        // Reading may block, and this thread answers the operators.
        match tokio::task::spawn_blocking(look).await {
            Ok(Some(after)) => changes = after,
            Ok(None) | Err(_) => return,
        }
    }
}

/// Reads the file, and takes it over if it has changed and is at rest; whether there still is one to
/// read.
fn look(shared: &Shared, changes: &mut Changes) -> bool {
    let running = shared.snapshot();
    let Some(source) = &running.config.source else {
        return false;
    };
    // A file that cannot be read now may be on its way to another place.
    let text = Source::text(&source.path).ok();
    // A signal or an operator may have been quicker, and was told how it went.
    if changes.are_settled(text.clone()) && !shared.reloading.has_read(text.as_ref()) {
        // Whoever observes is told.
        let _ = shared.reload();
    }
    true
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
    use std::sync::Mutex;

    use stanchion_core::Clock;

    use super::*;
    use crate::config::Config;
    use crate::event::Event;

    #[test]
    fn what_was_told_to_whoever_asked_is_not_told_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        let sound = "listen.address = \"127.0.0.1:0\"\n\
                     [upstream.a]\nendpoints = [\"http://a.test\"]\n\
                     [[route]]\nid = \"r\"\nupstream = \"a\"\n";
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write(sound);
        let config = Config::read(&file).unwrap().watched();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let observer = move |event: &Event| heard.lock().unwrap().push(event.to_string());
        let shared = Shared::new(config, Clock::manual().0, observer, Box::default()).unwrap();
        let mut changes = Changes::new(sound.into());
        let mut look = || assert!(look(&shared, &mut changes));
        let told = || std::mem::take(&mut *told.lock().unwrap());

        // The signal is first, then the watcher.
        for text in ["broken", "# sound\n"] {
            write(&format!("{text}{sound}"));
            let _ = shared.reload();
            assert_eq!(told().len(), 1);
            look();
            look();
            assert_eq!(told(), [] as [String; 0]);
        }
        // The watcher is first; who asks is answered.
        write("broken as well");
        look();
        look();
        assert!(told()[0].contains("nothing changed"));
        let _ = shared.reload();
        assert_eq!(told().len(), 1);
        look();
        assert_eq!(told(), [] as [String; 0]);
        // Back to what is in force: the failure is over.
        write(&format!("# sound\n{sound}"));
        look();
        look();
        assert!(told()[0].contains("unchanged"));
    }

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
