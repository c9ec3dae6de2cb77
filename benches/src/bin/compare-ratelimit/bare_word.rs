//! The least that a limiter by GCRA can do: one word, one clock, no quota but constants.

use std::hash::{BuildHasher, RandomState};
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

/// The least that a limiter by key can do with keys that it does not know beforehand: hash the key
/// with a secret, look at the tags of one cache line, and swap the word beside the one that is equal.
/// No second line, no bound, no era, and nobody ever loses a slot.
pub(crate) struct TaggedWords {
    lines: Box<[TaggedLine]>,
    secret: u64,
    clock: Clock,
    interval: u64,
    tolerance: u64,
}

#[derive(Default)]
#[repr(align(64))]
struct TaggedLine {
    tags: [AtomicU64; 4],
    words: [AtomicU64; 4],
}

impl TaggedWords {
    /// Room for so many keys, each with one admission per `interval` nanoseconds, `burst` at once.
    pub(crate) fn new(keys: usize, interval: u64, burst: u64) -> Self {
        let lines = (2 * keys).div_ceil(4).next_power_of_two();
        Self {
            lines: (0..lines).map(|_| TaggedLine::default()).collect(),
            secret: RandomState::new().hash_one(0) | 1,
            clock: Clock::system(),
            interval,
            tolerance: interval * burst,
        }
    }

    #[inline]
    pub(crate) fn check(&self, key: u64) -> bool {
        let product = u128::from(key ^ self.secret) * 0x9e37_79b9_7f4a_7c15;
        #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
        let hash = (product >> 64) as u64 ^ product as u64;
        let tag = hash | 1;
        let mask = self.lines.len() - 1;
        let mut place = usize::try_from(hash >> 32).unwrap_or(0) & mask;
        loop {
            let line = &self.lines[place & mask];
            // All four, since the processor would guess wrong where to stop.
            let equal = |slot: usize| {
                let found = line.tags[slot].load(Ordering::Acquire) == tag;
                u32::from(found) << slot
            };
            let found = equal(0) | equal(1) | equal(2) | equal(3);
            if found != 0 {
                let slot = found.trailing_zeros() as usize % 4;
                let now = self.clock.now().as_nanos();
                return take(&line.words[slot], now, self.interval, self.tolerance);
            }
            // Only while the keys come in, by one thread.
            let free = (0..4).find(|&slot| line.tags[slot].load(Ordering::Relaxed) == 0);
            match free {
                Some(slot) => line.tags[slot].store(tag, Ordering::Release),
                None => place += 1,
            }
        }
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
