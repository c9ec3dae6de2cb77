//! A window of time for many threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use stanchion_core::Instant;

use super::time::TimeWindow;
use super::{Counts, Kind};
use crate::sync::Padded;
use crate::thread;

/// One window a stripe, each behind its lock; a thread keeps to its own, and takes another's
/// rather than wait. They are added up only where a verdict may be due:
///
/// - after a call that failed or was slow,
/// - with the first call of a slice in a stripe: old calls went, so a rate may have risen,
/// - while the calls are too few for a rate, so that the one that makes them enough is not missed.
#[derive(Debug)]
pub(crate) struct Stripes {
    stripes: Box<[Padded<Mutex<Stripe>>]>,
    min: u64,
    /// At the last count the calls were too few. Written by who holds `counting`.
    too_few: AtomicBool,
    counting: Mutex<()>,
}

#[derive(Debug)]
struct Stripe {
    generation: u64,
    window: TimeWindow,
}

const STRIPES_MAX: usize = 8;

impl Stripes {
    pub(crate) fn new(span: Duration, buckets: u32, min: u64) -> Self {
        let stripe = || {
            Padded(Mutex::new(Stripe {
                generation: 0,
                window: TimeWindow::new(span, buckets),
            }))
        };
        let stripes = std::iter::repeat_with(stripe).take(thread::processors().min(STRIPES_MAX));
        Self {
            stripes: stripes.collect(),
            min,
            too_few: AtomicBool::new(true),
            counting: Mutex::new(()),
        }
    }

    pub(crate) fn record(&self, generation: u64, kind: Kind, now: Instant) -> Option<Counts> {
        let mut stripe = self.lock_one();
        let turned = stripe
            .enter(generation)
            .then(|| stripe.window.record(now, kind))?;
        drop(stripe);
        // Relaxed: who reads it too late counts once more, or with the next call.
        if kind.is_good() && !turned && !self.too_few.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.counts(generation, now))
    }

    pub(crate) fn counts(&self, generation: u64, now: Instant) -> Counts {
        let _counting = self.counting.lock();
        let mut counts = Counts::default();
        for stripe in &self.stripes {
            let mut stripe = stripe.0.lock();
            if stripe.enter(generation) {
                counts += stripe.window.counts(now);
            }
        }
        self.too_few
            .store(counts.total < self.min, Ordering::Relaxed);
        counts
    }

    pub(crate) fn begin(&self, generation: u64) {
        for stripe in &self.stripes {
            stripe.0.lock().enter(generation);
        }
        let _counting = self.counting.lock();
        self.too_few.store(true, Ordering::Relaxed);
    }

    fn lock_one(&self) -> MutexGuard<'_, Stripe> {
        let own = thread::index() % self.stripes.len();
        let (before, after) = self.stripes.split_at(own);
        let free = after
            .iter()
            .chain(before)
            .find_map(|stripe| stripe.0.try_lock());
        free.unwrap_or_else(|| self.stripes[own].0.lock())
    }
}

impl Stripe {
    /// Forgets calls of an earlier generation; false if `generation` is the earlier one.
    fn enter(&mut self, generation: u64) -> bool {
        if generation > self.generation {
            self.generation = generation;
            self.window.clear();
        }
        generation == self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Kind = Kind {
        failed: true,
        slow: false,
    };
    const GOOD: Kind = Kind {
        failed: false,
        slow: false,
    };

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn counts(total: u64, failed: u64) -> Counts {
        let slow = 0;
        Counts {
            total,
            failed,
            slow,
        }
    }

    /// Good calls left the window, so the rate rose without a failure; and the calls were too
    /// few then, so that a good call has to tell.
    #[test]
    fn good_calls_tell_when_old_ones_went_and_while_they_are_too_few() {
        let window = Stripes::new(Duration::from_nanos(100), 10, 5);
        window.begin(1);
        for _ in 0..3 {
            assert!(window.record(1, GOOD, at(0)).is_some(), "too few");
        }
        for _ in 0..3 {
            assert!(window.record(1, FAILED, at(50)).is_some());
        }
        assert_eq!(window.record(1, GOOD, at(51)), None);
        assert_eq!(window.record(1, GOOD, at(120)), Some(counts(5, 3)));
        assert_eq!(window.record(1, GOOD, at(121)), None);
    }

    #[test]
    fn late_calls_of_an_earlier_generation_do_not_count() {
        let window = Stripes::new(Duration::from_nanos(100), 10, 1);
        window.begin(1);
        window.record(1, FAILED, at(0));
        window.begin(2);
        assert_eq!(window.counts(2, at(0)), counts(0, 0));
        assert_eq!(window.record(1, FAILED, at(0)), None);
        assert_eq!(window.counts(2, at(0)), counts(0, 0));
    }
}
