//! So many at once, where how many may change meanwhile.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Places for a number of users at once, in the order in which they ask.
///
/// When there are to be fewer, nobody is sent away: places that come back are not given out again
/// until there are no more of them in use than there are.
#[derive(Debug)]
pub(crate) struct Places {
    free: Semaphore,
    /// How many of those in use are to go when they come back.
    surplus: AtomicUsize,
    max: Mutex<usize>,
}

/// A place in use, given back when it is dropped.
#[derive(Debug)]
#[must_use = "a place is given back when it is dropped"]
pub(crate) struct Place<P: Deref<Target = Places>> {
    places: P,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            free: Semaphore::new(max),
            surplus: AtomicUsize::new(0),
            max: Mutex::new(max),
        }
    }

    /// A place, if one is free and nobody waits for it.
    pub(crate) fn try_take<P: Deref<Target = Self>>(places: P) -> Option<Place<P>> {
        places.free.try_acquire().ok()?.forget();
        Some(Place { places })
    }

    /// A place, once one is free.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the queue, and nothing else.
    pub(crate) async fn take<P: Deref<Target = Self>>(places: P) -> Place<P> {
        if let Ok(permit) = places.free.acquire().await {
            permit.forget();
        }
        // It is never closed.
        Place { places }
    }

    /// Has so many places from now on.
    pub(crate) fn set_max(&self, max: usize) {
        let known = &mut *self.max.lock();
        if max >= *known {
            let more = max - *known;
            let surplus = self.surplus.load(Ordering::Relaxed);
            self.surplus
                .store(surplus.saturating_sub(more), Ordering::Relaxed);
            self.free.add_permits(more.saturating_sub(surplus));
        } else {
            let fewer = *known - max;
            let gone = self.free.forget_permits(fewer);
            self.surplus.fetch_add(fewer - gone, Ordering::Relaxed);
        }
        *known = max;
    }

    /// Gives back a place that was [forgotten](Place::forget).
    pub(crate) fn give_back(&self) {
        if self.surplus.load(Ordering::Relaxed) > 0 {
            let _changing = self.max.lock();
            let surplus = self.surplus.load(Ordering::Relaxed);
            if surplus > 0 {
                self.surplus.store(surplus - 1, Ordering::Relaxed);
                return;
            }
        }
        self.free.add_permits(1);
    }
}

impl<P: Deref<Target = Places>> Place<P> {
    /// Leaves it to the caller to call [`Places::give_back`].
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

impl<P: Deref<Target = Places>> Drop for Place<P> {
    fn drop(&mut self) {
        self.places.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_is_sent_away_and_no_place_is_given_out_twice() {
        let places = Places::new(3);
        let mut taken: Vec<_> = (0..3).map(|_| Places::try_take(&places).unwrap()).collect();
        places.set_max(1);
        for left in [2, 1] {
            taken.pop();
            assert!(Places::try_take(&places).is_none(), "{left} are in use");
        }
        taken.pop();
        taken.push(Places::try_take(&places).unwrap());
        assert!(Places::try_take(&places).is_none());
    }

    proptest! {
        /// Against counting: a place is free exactly if fewer are in use than there are.
        #[test]
        fn a_place_is_free_if_fewer_are_in_use_than_there_are(
            first in 1_usize..6,
            steps in proptest::collection::vec(0_usize..16, 0..60),
        ) {
            let places = Arc::new(Places::new(first));
            let (mut max, mut taken) = (first, Vec::new());
            for step in steps {
                match step {
                    0..6 => {
                        let free = taken.len() < max;
                        let place = Places::try_take(places.clone());
                        prop_assert_eq!(place.is_some(), free);
                        taken.extend(place);
                    }
                    6..11 => drop(taken.pop()),
                    more => {
                        max = more - 10;
                        places.set_max(max);
                    }
                }
            }
        }
    }
}
