//! A count to which many threads add at once.

use crate::sync::{AtomicU64, Ordering, Padded};
use crate::thread;

/// Threads add to different cache lines, one for each of up to 8 processors; the count is their
/// sum, and exact once all is quiet.
#[derive(Debug)]
pub(crate) struct Tally {
    /// As many as a power of two.
    parts: Box<[Padded<AtomicU64>]>,
}

const PARTS_MAX: usize = 8;

impl Tally {
    pub(crate) fn new(count: u64) -> Self {
        let parts = thread::processors().next_power_of_two().min(PARTS_MAX);
        let parts = (0..parts).map(|index| {
            let count = if index == 0 { count } else { 0 };
            Padded(AtomicU64::new(count))
        });
        Self {
            parts: parts.collect(),
        }
    }

    #[inline]
    pub(crate) fn add_one(&self) {
        let own = thread::index() & (self.parts.len() - 1);
        // Relaxed, here and there: a number for metrics.
        self.parts[own].0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        let parts = self.parts.iter();
        parts.map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_a_count_and_loses_nothing() {
        let tally = Tally::new(7);
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| (0..10_000).for_each(|_| tally.add_one()));
            }
        });
        assert_eq!(tally.sum(), 50_007);
    }
}
