//! How long an entry may stay, and be found.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stanchion_core::{Clock, Instant};

use crate::deadline::Deadline;
use crate::refresh::{Age, Rules};

/// Which values say that there is nothing, and how long they are found.
pub(crate) type Absence<V> = (fn(&V) -> bool, Duration);

pub(crate) type ExpireAfter<K, V> = Arc<dyn Fn(&K, &V) -> Option<Duration> + Send + Sync>;

/// The rules by which the entries of a cache expire.
pub(crate) struct Lifetime<K, V> {
    pub(crate) clock: Clock,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) time_to_idle: Option<Duration>,
    pub(crate) expire_after: Option<ExpireAfter<K, V>>,
    /// The part of its time that an entry may lose at random.
    pub(crate) jitter: f64,
    pub(crate) absence: Option<Absence<V>>,
    /// How values are served and loaded anew, where they are.
    pub(crate) aging: Option<Aging>,
    /// Whether an entry was ever given a time of its own.
    pub(crate) given: AtomicBool,
}

/// Rules for values that are loaded anew, and the chance that they take.
pub(crate) struct Aging {
    pub(crate) rules: Rules,
    /// The state of the generator of random bits.
    pub(crate) random: AtomicU64,
}

impl Aging {
    /// The next bits of SplitMix64 (Steele, Lea, Flood 2014).
    pub(crate) fn random(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.random.fetch_add(step, Ordering::Relaxed);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }
}

impl<K, V> Lifetime<K, V> {
    /// When the entry expires if it goes in now, and how it ages until then. `given` is the time its
    /// caller set, `took` that of its load; `random` are bits that differ from entry to entry.
    pub(crate) fn times(
        &self,
        key: &K,
        value: &V,
        given: Option<Duration>,
        took: Duration,
        random: u64,
    ) -> (Deadline, Age) {
        let own = || {
            self.expire_after
                .as_ref()
                .and_then(|after| after(key, value))
        };
        if given.is_some() && !self.given.load(Ordering::Relaxed) {
            self.given.store(true, Ordering::Relaxed);
        }
        let absence = self.absence.filter(|(is_absent, _)| is_absent(value));
        let absence = absence.map(|(_, time)| time);
        let time = given.or(absence).or_else(own).or(self.time_to_live);
        if time.is_none() && self.aging.is_none() {
            return (Deadline::NEVER, Age::default());
        }
        let now = self.clock.now();
        let time = time.map(|time| self.shortened(time, random ^ now.as_nanos()));
        let Some(aging) = &self.aging else {
            return (deadline(now, time, Duration::ZERO), Age::default());
        };
        // That there is nothing is not said beyond its time.
        let grace = match absence {
            Some(_) => Duration::ZERO,
            None => aging.rules.grace(),
        };
        let age = aging.rules.born(now, time, took);
        (deadline(now, time, grace), age)
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
            || self.absence.is_some()
            || self.given.load(Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }
}

fn deadline(now: Instant, time: Option<Duration>, grace: Duration) -> Deadline {
    time.map_or(Deadline::NEVER, |time| Deadline::at(now + time + grace))
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
