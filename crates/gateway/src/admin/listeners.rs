//! Those who listen to events.

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// How many may listen at once: each page that is open is one.
pub(super) const LISTENERS_MAX: usize = 16;
/// Events that wait for a listener; one that is farther behind misses what comes meanwhile.
const QUEUED_MAX: usize = 4;

/// Everyone who listens. A listener leaves by dropping its end.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    senders: Mutex<Vec<mpsc::Sender<Bytes>>>,
}

impl Listeners {
    /// A new listener, who hears `first` and then what is told; `None` when there are
    /// [`LISTENERS_MAX`].
    pub(super) fn join(&self, first: Bytes) -> Option<mpsc::Receiver<Bytes>> {
        let mut senders = self.senders.lock();
        senders.retain(|sender| !sender.is_closed());
        if senders.len() >= LISTENERS_MAX {
            return None;
        }
        let (sender, receiver) = mpsc::channel(QUEUED_MAX);
        // There is room: nothing was sent yet.
        let _ = sender.try_send(first);
        senders.push(sender);
        Some(receiver)
    }

    /// Tells an event to everyone who keeps up.
    pub(super) fn tell(&self, event: &Bytes) {
        use mpsc::error::TrySendError;
        let hears = |sender: &mpsc::Sender<Bytes>| {
            !matches!(sender.try_send(event.clone()), Err(TrySendError::Closed(_)))
        };
        self.senders.lock().retain(hears);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.senders.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_bounded_and_leave_by_dropping_their_end() {
        let listeners = Listeners::default();
        let join = || listeners.join(Bytes::from_static(b"first"));
        let mut all: Vec<_> = (0..LISTENERS_MAX).map(|_| join().unwrap()).collect();
        assert!(join().is_none());
        all.pop();
        assert!(join().is_some());
        drop(all);
        listeners.tell(&Bytes::new());
        assert!(listeners.is_empty());
    }

    #[test]
    fn who_is_behind_misses_events_and_nobody_else_does() {
        let listeners = Listeners::default();
        let mut slow = listeners.join(Bytes::from_static(b"first")).unwrap();
        let mut quick = listeners.join(Bytes::from_static(b"first")).unwrap();
        for number in 0..10_u8 {
            listeners.tell(&Bytes::copy_from_slice(&[number]));
            while quick.try_recv().is_ok_and(|event| *event != [number]) {}
        }
        let heard = std::iter::from_fn(|| slow.try_recv().ok()).count();
        assert_eq!(heard, QUEUED_MAX);
        listeners.tell(&Bytes::from_static(b"again"));
        assert_eq!(slow.try_recv().unwrap(), "again");
        assert_eq!(quick.try_recv().unwrap(), "again");
    }
}
