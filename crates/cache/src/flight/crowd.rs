//! The wakers of those who wait for one flight.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;

/// As the waker of the load it wakes all who wait: any of them can go on with it.
///
/// Holds as many wakers as there were waiters at one time.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// Whether the load was woken since it was last polled. Release before the wakers are taken,
    /// acquire after one's own was left: who was not woken sees it.
    woken: AtomicBool,
    wakers: Mutex<Wakers>,
}

#[derive(Debug, Default)]
struct Wakers {
    /// Counts the times that all were woken, each of which empties the places.
    round: u64,
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// Where a waiter left its waker, and in which round.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<(u64, usize)>);

impl Place {
    pub(crate) fn index(&self) -> usize {
        self.0.map_or(usize::MAX, |(_, index)| index)
    }
}

impl Crowd {
    /// Leaves a waker, instead of the one left before.
    pub(crate) fn register(&self, place: &mut Place, waker: &Waker) {
        let mut new = Some(waker.clone());
        let mut wakers = self.wakers.lock();
        let index = match place.0 {
            Some((round, index)) if round == wakers.round => index,
            _ => wakers.free_place(),
        };
        place.0 = Some((wakers.round, index));
        if let Some(there) = wakers.places.get_mut(index) {
            mem::swap(there, &mut new);
        }
        // The old waker outlives the lock: its drop may be somebody's code.
        drop(wakers);
    }

    /// Takes the waker back.
    pub(crate) fn leave(&self, place: &mut Place) {
        let Some((round, index)) = place.0.take() else {
            return;
        };
        let mut wakers = self.wakers.lock();
        if round != wakers.round {
            return;
        }
        wakers.free.push(index);
        let old = wakers.places.get_mut(index).and_then(Option::take);
        drop(wakers);
        drop(old);
    }

    /// Wakes the waiter of one place, if there is one.
    pub(crate) fn wake(&self, index: usize) {
        let mut wakers = self.wakers.lock();
        let waker = wakers.places.get_mut(index).and_then(Option::take);
        drop(wakers);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn wake_all(&self) {
        let mut wakers = self.wakers.lock();
        wakers.round += 1;
        wakers.free.clear();
        let places = mem::take(&mut wakers.places);
        drop(wakers);
        places.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether the load was woken since this was last asked.
    pub(crate) fn was_woken(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }
}

impl Wakers {
    fn free_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        })
    }
}

impl Wake for Crowd {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.wake_all();
    }
}
