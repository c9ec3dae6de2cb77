//! The least that a limiter by GCRA can do: one word, one clock, no quota but constants.

use std::sync::atomic::{AtomicU64, Ordering};

use stanchion_core::Clock;

/// A theoretical arrival time in nanoseconds, moved by a compare-and-swap loop.
pub(crate) struct BareWord {
    arrival: AtomicU64,
    clock: Clock,
    interval: u64,
    tolerance: u64,
}

impl BareWord {
    /// One admission per `interval` nanoseconds, `burst` of them at once.
    pub(crate) fn new(interval: u64, burst: u64) -> Self {
        Self {
            arrival: AtomicU64::new(0),
            clock: Clock::system(),
            interval,
            tolerance: interval * burst,
        }
    }

    #[inline]
    pub(crate) fn check(&self) -> bool {
        let now = self.clock.now().as_nanos();
        take(&self.arrival, now, self.interval, self.tolerance)
    }
}

/// The least that a limiter by key can do: the word of a key is found by its number. No hash, no
/// tag to compare, no collision, no bound, no era.
pub(crate) struct BareWords {
    arrivals: Box<[AtomicU64]>,
    clock: Clock,
    interval: u64,
    tolerance: u64,
}

impl BareWords {
    /// Keys from 0 on, each with one admission per `interval` nanoseconds, `burst` at once.
    pub(crate) fn new(keys: usize, interval: u64, burst: u64) -> Self {
        Self {
            arrivals: (0..keys).map(|_| AtomicU64::new(0)).collect(),
            clock: Clock::system(),
            interval,
            tolerance: interval * burst,
        }
    }

    #[inline]
    pub(crate) fn check(&self, key: u64) -> bool {
        let now = self.clock.now().as_nanos();
        let word = usize::try_from(key)
            .ok()
            .and_then(|key| self.arrivals.get(key));
        word.is_some_and(|word| take(word, now, self.interval, self.tolerance))
    }
}

#[inline]
fn take(word: &AtomicU64, now: u64, interval: u64, tolerance: u64) -> bool {
    let mut arrival = word.load(Ordering::Relaxed);
    loop {
        let next = arrival.max(now) + interval;
        if next - now > tolerance {
            return false;
        }
        match word.compare_exchange_weak(arrival, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(seen) => arrival = seen,
        }
    }
}
