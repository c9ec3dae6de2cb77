//! Tells who waits that something changed, or that nothing will any more.

#[cfg(feature = "tokio")]
mod listener;

use std::task::Waker;

use parking_lot::Mutex;

#[cfg(feature = "tokio")]
pub(crate) use listener::Listener;

#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    changes: u64,
    closed: bool,
    /// One for each [`Listener`] that waits.
    waiting: Vec<(u64, Waker)>,
    #[cfg(feature = "tokio")]
    listeners: u64,
}

impl Signal {
    /// Wakes all who wait.
    pub(crate) fn change(&self) {
        self.wake(|state| state.changes += 1);
    }

    /// Wakes all who wait, for the last time.
    pub(crate) fn close(&self) {
        self.wake(|state| state.closed = true);
    }

    fn wake(&self, change: impl FnOnce(&mut State)) {
        let waiting = {
            let mut state = self.state.lock();
            change(&mut state);
            std::mem::take(&mut state.waiting)
        };
        // Outside the lock: a waker runs someone else's code.
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}
