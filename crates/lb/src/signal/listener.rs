use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{Signal, State};

/// One who waits for a [`Signal`], and misses none.
#[derive(Debug)]
pub(crate) struct Listener {
    signal: Arc<Signal>,
    id: u64,
    seen: u64,
}

impl Signal {
    /// Hears of each change from now on.
    pub(crate) fn listen(self: &Arc<Self>) -> Listener {
        let mut state = self.state.lock();
        state.listeners += 1;
        Listener {
            id: state.listeners,
            seen: state.changes,
            signal: self.clone(),
        }
    }
}

impl Listener {
    /// Ready when something changed since it was ready last, `false` when nothing will any more.
    pub(crate) fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.signal.state.lock();
        if state.closed {
            return Poll::Ready(false);
        }
        if state.changes != self.seen {
            self.seen = state.changes;
            return Poll::Ready(true);
        }
        let before = state.remove(self.id);
        state.waiting.push((self.id, cx.waker().clone()));
        // Outside the lock: dropping a waker may run someone else's code.
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let waker = self.signal.state.lock().remove(self.id);
        // Outside the lock, as above.
        drop(waker);
    }
}

impl State {
    fn remove(&mut self, id: u64) -> Option<Waker> {
        let place = self.waiting.iter().position(|(other, _)| *other == id)?;
        Some(self.waiting.swap_remove(place).1)
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    fn poll(listener: &mut Listener) -> Poll<bool> {
        listener.poll_changed(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_listener_misses_no_change_and_leaves_nothing() {
        let signal = Arc::new(Signal::default());
        signal.change();
        let mut listener = signal.listen();
        assert_eq!(poll(&mut listener), Poll::Pending);
        assert_eq!(poll(&mut listener), Poll::Pending);
        assert_eq!(signal.state.lock().waiting.len(), 1);
        signal.change();
        signal.change();
        assert_eq!(poll(&mut listener), Poll::Ready(true));
        assert_eq!(poll(&mut listener), Poll::Pending);
        drop(listener);
        assert!(signal.state.lock().waiting.is_empty());
        let mut other = signal.listen();
        signal.close();
        assert_eq!(poll(&mut other), Poll::Ready(false));
    }
}
