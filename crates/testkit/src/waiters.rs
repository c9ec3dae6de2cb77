//! Who waits for a change, with one waker for each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

/// A list of waiters; clones share it. It is as long as there are waiters alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters {
    list: Arc<Mutex<List>>,
}

#[derive(Debug, Default)]
struct List {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// A place in the list, given up on drop.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Waiters,
    id: u64,
}

impl Waiters {
    pub(crate) fn waiter(&self) -> Waiter {
        let mut list = self.list.lock();
        list.next += 1;
        Waiter {
            waiters: self.clone(),
            id: list.next,
        }
    }

    /// Wakes everyone; to be called after the change that they wait for.
    pub(crate) fn wake_all(&self) {
        let woken = std::mem::take(&mut self.list.lock().wakers);
        woken.into_values().for_each(Waker::wake);
    }
}

impl Waiter {
    /// Leaves a waker; to be called before looking whether the change has happened, so that a
    /// change in between is not missed.
    pub(crate) fn wait(&self, waker: &Waker) {
        let old = self
            .waiters
            .list
            .lock()
            .wakers
            .insert(self.id, waker.clone());
        drop(old);
    }

    pub(crate) fn stop(&self) {
        let old = self.waiters.list.lock().wakers.remove(&self.id);
        drop(old);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.stop();
    }
}
