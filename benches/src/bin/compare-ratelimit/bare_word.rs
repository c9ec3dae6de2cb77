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
        let mut arrival = self.arrival.load(Ordering::Relaxed);
        loop {
            let next = arrival.max(now) + self.interval;
            if next - now > self.tolerance {
                return false;
            }
            match self.arrival.compare_exchange_weak(
                arrival,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(seen) => arrival = seen,
            }
        }
    }
}
