//! How long an entry may stay, and be found.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stanchion_core::{Clock, Instant};

use crate::deadline::Deadline;

pub(crate) type ExpireAfter<K, V> = Arc<dyn Fn(&K, &V) -> Option<Duration> + Send + Sync>;

/// The rules by which the entries of a cache expire.
pub(crate) struct Lifetime<K, V> {
    pub(crate) clock: Clock,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) time_to_idle: Option<Duration>,
    pub(crate) expire_after: Option<ExpireAfter<K, V>>,
    /// The part of its time that an entry may lose at random.
    pub(crate) jitter: f64,
    /// The time that a load may take.
    #[cfg(feature = "tokio")]
    pub(crate) load_timeout: Option<Duration>,
    /// Whether an entry was ever given a time of its own.
    pub(crate) given: AtomicBool,
}

impl<K, V> Lifetime<K, V> {
    /// When the entry expires if it goes in now. `given` is the time its caller set; `random` are
    /// bits that differ from entry to entry.
    pub(crate) fn deadline(
        &self,
        key: &K,
        value: &V,
        given: Option<Duration>,
        random: u64,
    ) -> Deadline {
        let own = || {
            self.expire_after
                .as_ref()
                .and_then(|after| after(key, value))
        };
        if given.is_some() && !self.given.load(Ordering::Relaxed) {
            self.given.store(true, Ordering::Relaxed);
        }
        match given.or_else(own).or(self.time_to_live) {
            None => Deadline::NEVER,
            Some(time) => {
                let now = self.clock.now();
                Deadline::at(now + self.shortened(time, random ^ now.as_nanos()))
            }
        }
    }

    fn shortened(&self, time: Duration, random: u64) -> Duration {
        if self.jitter <= 0.0 {
            return time;
        }
        // The upper half of a product by an odd number depends on each bit of `random`.
        let random = random.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        #[expect(clippy::cast_precision_loss, reason = "32 bits")]
        let part = random as f64 / f64::from(u32::MAX);
        time.mul_f64((-self.jitter).mul_add(part, 1.0))
    }

    /// When an entry that goes in now is used: read only where it matters.
    pub(crate) fn used_at(&self) -> Instant {
        match self.time_to_idle {
            Some(_) => self.clock.now(),
            None => Instant::ZERO,
        }
    }

    /// Whether there may be an entry that expires.
    pub(crate) fn anything_expires(&self) -> bool {
        self.time_to_live.is_some()
            || self.time_to_idle.is_some()
            || self.expire_after.is_some()
            || self.given.load(Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }
}

impl<K, V> fmt::Debug for Lifetime<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifetime")
            .field("time_to_live", &self.time_to_live)
            .field("time_to_idle", &self.time_to_idle)
            .field("jitter", &self.jitter)
            .finish_non_exhaustive()
    }
}
