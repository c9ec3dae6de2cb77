//! Failures in a row.

use crate::sync::{AtomicU64, Ordering};

/// | bits | meaning |
/// |---|---|
/// | 63–32 | generation, its low bits |
/// | 31–0 | failures since the last success |
#[derive(Debug)]
pub(crate) struct Streak {
    word: AtomicU64,
}

const COUNT: u64 = u32::MAX as u64;

impl Streak {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    /// Ends the streak; writes nothing if there is none.
    #[inline]
    pub(crate) fn succeeded(&self, generation: u64) {
        // Relaxed throughout: the word is all there is.
        let word = self.word.load(Ordering::Relaxed);
        if word & COUNT != 0 && word >> 32 == generation & COUNT {
            // Who fails at this moment may come before or after; so a failed exchange is right.
            let _ = self.word.compare_exchange(
                word,
                word & !COUNT,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Adds a failure; returns how many there are in a row.
    pub(crate) fn failed(&self, generation: u64) -> u32 {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word >> 32 != generation & COUNT {
                return 0;
            }
            let count = (word & COUNT).saturating_add(1).min(COUNT);
            match self.word.compare_exchange_weak(
                word,
                word & !COUNT | count,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return u32::try_from(count).unwrap_or(u32::MAX),
                Err(changed) => word = changed,
            }
        }
    }

    pub(crate) fn begin(&self, generation: u64) {
        self.word.store(generation << 32, Ordering::Relaxed);
    }
}

#[cfg(all(test, stanchion_loom))]
mod loom {
    use ::loom::sync::Arc;
    use ::loom::thread;

    use super::*;

    #[test]
    fn two_failures_at_once_are_two() {
        ::loom::model(|| {
            let streak = Arc::new(Streak::new());
            streak.begin(1);
            let there = thread::spawn({
                let streak = streak.clone();
                move || streak.failed(1)
            });
            let counts = [streak.failed(1), there.join().unwrap()];
            assert!(counts == [1, 2] || counts == [2, 1], "{counts:?}");
        });
    }

    /// Whichever comes first, the success ends what was before it.
    #[test]
    fn a_success_beside_a_failure_leaves_one_at_most_or_all() {
        ::loom::model(|| {
            let streak = Arc::new(Streak::new());
            streak.begin(1);
            streak.failed(1);
            let there = thread::spawn({
                let streak = streak.clone();
                move || streak.succeeded(1)
            });
            let count = streak.failed(1);
            there.join().unwrap();
            assert!(count == 1 || count == 2);
            let left = streak.failed(1) - 1;
            assert!(left <= count, "{left} of {count}");
        });
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_success_ends_it_and_other_generations_do_not_count() {
        let streak = Streak::new();
        streak.begin(1);
        assert_eq!((streak.failed(1), streak.failed(1)), (1, 2));
        streak.succeeded(2);
        assert_eq!(streak.failed(1), 3);
        streak.succeeded(1);
        assert_eq!(streak.failed(1), 1);
        streak.begin(2);
        assert_eq!((streak.failed(1), streak.failed(2)), (0, 1));
    }
}
