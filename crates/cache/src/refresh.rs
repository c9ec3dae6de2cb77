//! When a value is loaded anew while it is there still: pure functions of its age.

use std::time::Duration;

use stanchion_backoff::{Backoff, Jitter};
use stanchion_core::Instant;

use crate::InvalidCache;

/// When a [`Loading`](crate::Loading) cache loads a value anew before its time is over.
///
/// ```
/// use stanchion_cache::Refresh;
///
/// let early = Refresh::after(0.8)?; // in the last fifth of an entry's time
/// let by_chance = Refresh::by_chance(1.0)?; // XFetch
/// assert!(Refresh::by_chance(f64::NAN).is_err());
/// # let _ = (early, by_chance);
/// # Ok::<(), stanchion_cache::InvalidCache>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Refresh(Rule);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Rule {
    #[default]
    WhenStale,
    After(f64),
    ByChance(f64),
    #[cfg(feature = "tokio")]
    Every(Duration),
}

impl Refresh {
    /// Not before an entry's time is over; the default.
    #[must_use]
    pub const fn when_stale() -> Self {
        Self(Rule::WhenStale)
    }

    /// With the first read after this part of an entry's time: above 0 and below 1.
    ///
    /// # Errors
    ///
    /// [`InvalidCache::RefreshAfter`] if it is anything else.
    pub fn after(part: f64) -> Result<Self, InvalidCache> {
        if part > 0.0 && part < 1.0 {
            Ok(Self(Rule::After(part)))
        } else {
            Err(InvalidCache::RefreshAfter { part })
        }
    }

    /// By chance, the likelier the nearer the end of an entry's time is and the longer its load took:
    /// each read draws a number `u` from 0 to 1, and loads if less than `beta · load time · −ln u` is
    /// left. Above 0 and finite; with 1 the mean lead is about the time of a load, and a larger beta
    /// is earlier.
    ///
    /// Without a load that was timed (a value that was inserted) there is no early refresh. A key
    /// that is read less than about five times in `beta` load times is often missed, and then loaded
    /// when its time is over.
    ///
    /// # Errors
    ///
    /// [`InvalidCache::Beta`] if it is anything else.
    ///
    /// # Source
    ///
    /// Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, 2015
    /// (XFetch).
    pub fn by_chance(beta: f64) -> Result<Self, InvalidCache> {
        if beta > 0.0 && beta.is_finite() {
            Ok(Self(Rule::ByChance(beta)))
        } else {
            Err(InvalidCache::Beta { beta })
        }
    }

    /// Each `period`, whether or not anybody reads the entry: with no time to live set, entries never
    /// expire and no reader waits for them once they are there.
    ///
    /// The [`Refresher`](crate::Refresher) looks through the cache eight times in a period, so a
    /// refresh begins an eighth late at most, plus what it waits for others: allow as many at once
    /// ([`with_refreshes_max`](crate::LoadingBuilder::with_refreshes_max)) as it takes to load the
    /// whole cache in a period. Entries that nobody wants are refreshed too, until the policy or a
    /// time to idle takes them out.
    ///
    /// # Errors
    ///
    /// [`InvalidCache::RefreshPeriod`] if it is 0.
    #[cfg(feature = "tokio")]
    pub const fn every(period: Duration) -> Result<Self, InvalidCache> {
        if period.is_zero() {
            Err(InvalidCache::RefreshPeriod)
        } else {
            Ok(Self(Rule::Every(period)))
        }
    }

    /// Whether it counts from an entry's time, without which it never comes.
    pub(crate) const fn needs_time(self) -> bool {
        matches!(self.0, Rule::After(_) | Rule::ByChance(_))
    }

    #[cfg(feature = "tokio")]
    pub(crate) const fn period(self) -> Option<Duration> {
        match self.0 {
            Rule::Every(period) => Some(period),
            _ => None,
        }
    }
}

/// What is kept of each entry where values are loaded anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Age {
    /// The end of the entry's time. What is given out from then on is stale.
    fresh_until: Instant,
    /// No refresh begins before.
    refresh_at: Instant,
    /// What the load took; 0 if that is not known.
    load_micros: u32,
    /// How many loads failed since there is this value.
    failures: u32,
}

/// How a cache serves what it holds, and loads it anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) refresh: Refresh,
    /// How long after its time a value is given out while it is loaded anew.
    pub(crate) stale_while_refreshing: Duration,
    /// How long after its time a value is given out where its load fails.
    pub(crate) stale_if_error: Duration,
    pub(crate) backoff: Backoff,
}

/// What to do with a value that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Serve,
    /// Serve it, and load it anew beside.
    ServeAndRefresh,
    /// Load it, and serve this only if that fails.
    Load,
}

impl Age {
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        self.fresh_until <= now
    }

    fn rests(&self, now: Instant) -> bool {
        now < self.refresh_at
    }
}

impl Rules {
    /// How long after its time an entry is kept.
    pub(crate) fn grace(&self) -> Duration {
        self.stale_while_refreshing.max(self.stale_if_error)
    }

    /// The age of a value that goes in now, whose time is `time` and whose load took `took`.
    pub(crate) fn born(&self, now: Instant, time: Option<Duration>, took: Duration) -> Age {
        let fresh_until = time.map_or(Instant::MAX, |time| now + time);
        let refresh_at = match (self.refresh.0, time) {
            (Rule::After(part), Some(time)) => now + time.mul_f64(part),
            #[cfg(feature = "tokio")]
            (Rule::Every(period), _) => now + period,
            _ => Instant::ZERO,
        };
        Age {
            fresh_until,
            refresh_at,
            load_micros: u32::try_from(took.as_micros()).unwrap_or(u32::MAX),
            failures: 0,
        }
    }

    /// The age of a value whose load failed: it rests the longer the more loads failed, and stays no
    /// longer for it.
    pub(crate) fn failed(&self, age: Age, now: Instant, random: u64) -> Age {
        let wait = self.backoff.jittered(age.failures, Jitter::Equal, random);
        Age {
            refresh_at: now + wait,
            failures: age.failures.saturating_add(1),
            ..age
        }
    }

    /// What to do with a value of this age. `random` is asked only where chance decides.
    pub(crate) fn judge(&self, age: Age, now: Instant, random: impl FnOnce() -> u64) -> Standing {
        if !age.is_stale(now) {
            return if self.is_due(age, now, random) {
                Standing::ServeAndRefresh
            } else {
                Standing::Serve
            };
        }
        let staleness = now - age.fresh_until;
        if staleness < self.stale_while_refreshing {
            return if age.rests(now) {
                Standing::Serve
            } else {
                Standing::ServeAndRefresh
            };
        }
        if staleness < self.stale_if_error && age.failures > 0 && age.rests(now) {
            return Standing::Serve;
        }
        Standing::Load
    }

    /// Whether a value of this age may be given out after its load failed.
    pub(crate) fn excuses(&self, age: Age, now: Instant) -> bool {
        now < age.fresh_until || now - age.fresh_until < self.grace()
    }

    /// Whether a value that is fresh is to be loaded anew.
    fn is_due(&self, age: Age, now: Instant, random: impl FnOnce() -> u64) -> bool {
        if age.rests(now) {
            return false;
        }
        match self.refresh.0 {
            Rule::WhenStale => false,
            Rule::After(_) => age.fresh_until != Instant::MAX,
            Rule::ByChance(beta) => {
                let lead = beta * f64::from(age.load_micros) * 1e-6;
                let left = (age.fresh_until - now).as_secs_f64();
                left <= lead * FARTHEST && left <= lead * -unit(random()).ln()
            }
            #[cfg(feature = "tokio")]
            Rule::Every(_) => true,
        }
    }

    /// Whether the entry is to be loaded anew though nobody asks for it.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_overdue(&self, age: Age, now: Instant) -> bool {
        matches!(self.refresh.0, Rule::Every(_)) && !age.rests(now)
    }
}

/// Above what `-ln` of the least number that [`unit`] gives, 2⁻⁵³, is: no need to draw farther off.
const FARTHEST: f64 = 37.0;

/// A number above 0 and up to 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits")]
fn unit(random: u64) -> f64 {
    ((random >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
