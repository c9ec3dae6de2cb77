//! How much an endpoint that starts is sent, until it is warm.
//!
//! ```text
//! share = max(least, (time since it started / window) ^ (1 / aggression))
//! ```
//!
//! Time alone changes shares, so plans are made anew in tenths of the window: all endpoints at the
//! same moments, however many start at different times.
//!
//! Source: Envoy's *slow start mode*.

use std::time::Duration;

use stanchion_core::Instant;

use crate::InvalidConfig;
use crate::sync::{AtomicU64, Ordering};

/// Sends an endpoint that is new, or back, less than its share at first: 10 % that grow to all of it in
/// 30 s.
///
/// It starts when the endpoint becomes fit: when it passes its first check, or is added where nothing
/// checks; when it is healthy, let in or enabled again. A refresh of the endpoints starts nothing,
/// nor does a breaker that closes, which has its own ways; and where all are new, they share as they
/// will later. In panic, health says nothing, but shares hold.
///
/// Policies with weights multiply them; `RoundRobin` and `LeastConnections` heed the share alone.
/// Policies that go by a hash do not slow-start: keys would move with each step.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_lb::{Config, SlowStart};
///
/// let slow = SlowStart::default().with_window(Duration::from_secs(60))?;
/// let config = Config::default().with_slow_start(slow);
/// # let _ = config;
/// # Ok::<(), stanchion_lb::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a value that does nothing until a configuration holds it"]
pub struct SlowStart {
    window: Duration,
    aggression: f64,
    percent_min: u8,
}

/// The share of an endpoint that is warm, in percent.
pub(crate) const WARM: u32 = 100;

/// How often in a window shares grow.
const STEPS: u64 = 10;

impl Default for SlowStart {
    /// From 10 %, evenly, in 30 s.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(30),
            aggression: 1.0,
            percent_min: 10,
        }
    }
}

impl SlowStart {
    /// How long it lasts, from 100 ms to a day. Default: 30 s.
    ///
    /// Envoy's `slow_start_window`.
    ///
    /// # Errors
    ///
    /// If it is shorter or longer.
    pub fn with_window(mut self, window: Duration) -> Result<Self, InvalidConfig> {
        let allowed = Duration::from_millis(100)..=Duration::from_secs(86_400);
        if !allowed.contains(&window) {
            let told = format_args!("{window:?}");
            return Err(InvalidConfig::new("window", told, "from 100ms to 1d"));
        }
        self.window = window;
        Ok(self)
    }

    /// How fast the share grows at first, from 0.01 to 100: evenly with 1, sooner with more. Default: 1.
    ///
    /// Envoy's `aggression`.
    ///
    /// # Errors
    ///
    /// If `aggression` is out of range, or not a number.
    pub fn with_aggression(mut self, aggression: f64) -> Result<Self, InvalidConfig> {
        if !(0.01..=100.0).contains(&aggression) {
            let allowed = "from 0.01 to 100";
            return Err(InvalidConfig::new("aggression", aggression, allowed));
        }
        self.aggression = aggression;
        Ok(self)
    }

    /// The share that an endpoint is sent at least, from 1 to 100 percent. Default: 10.
    ///
    /// Envoy's `min_weight_percent`.
    ///
    /// # Errors
    ///
    /// If `percent` is out of range.
    pub fn with_percent_min(mut self, percent: u8) -> Result<Self, InvalidConfig> {
        if !(1..=100).contains(&percent) {
            let allowed = "from 1 to 100 percent";
            return Err(InvalidConfig::new("percent_min", percent, allowed));
        }
        self.percent_min = percent;
        Ok(self)
    }

    /// The share at `now` of an endpoint that started at `since`, in percent; [`WARM`] when it is over.
    pub(crate) fn share(&self, since: Instant, now: Instant) -> u32 {
        let passed = now - since;
        if passed >= self.window {
            return WARM;
        }
        let part = passed.as_secs_f64() / self.window.as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part is from 0 to 1"
        )]
        let percent = (part.powf(1.0 / self.aggression) * 100.0) as u32;
        percent.clamp(u32::from(self.percent_min), WARM)
    }

    /// When the share of an endpoint that started at `since` is to be looked at again after `now`.
    pub(crate) fn next(&self, since: Instant, now: Instant) -> Instant {
        let step = u64::try_from(self.window.as_nanos()).unwrap_or(u64::MAX) / STEPS;
        let steps = now.as_nanos() / step + 1;
        Instant::from_nanos(step.saturating_mul(steps)).min(since + self.window)
    }
}

/// When an endpoint started, if that was after the others; written under the balancer's lock only.
#[derive(Debug)]
pub(crate) struct Started {
    /// In nanoseconds; the largest number if it did not.
    nanos: AtomicU64,
}

impl Default for Started {
    fn default() -> Self {
        Self {
            nanos: AtomicU64::new(u64::MAX),
        }
    }
}

impl Started {
    pub(crate) fn set(&self, now: Instant) {
        // Relaxed, here and below: who reads it to plan holds the lock.
        self.nanos.store(now.as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<Instant> {
        let nanos = self.nanos.load(Ordering::Relaxed);
        (nanos != u64::MAX).then(|| Instant::from_nanos(nanos))
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Instant {
        Instant::ZERO + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn shares_are_those_of_the_formula() {
        let slow = SlowStart::default();
        let shares = |slow: SlowStart| {
            [0.0, 1.5, 3.0, 7.5, 15.0, 29.9, 30.0, 99.0]
                .map(|s| slow.share(at(100.0), at(100.0 + s)))
        };
        assert_eq!(shares(slow), [10, 10, 10, 25, 50, 99, 100, 100]);
        let soon = slow.with_aggression(2.0).unwrap();
        assert_eq!(shares(soon), [10, 22, 31, 50, 70, 99, 100, 100]);
        let late = slow.with_aggression(0.5).unwrap();
        let late = late.with_percent_min(1).unwrap();
        assert_eq!(shares(late), [1, 1, 1, 6, 25, 99, 100, 100]);
        // A clock that went back.
        assert_eq!(slow.share(at(100.0), at(50.0)), 10);
    }

    #[test]
    fn all_step_at_the_same_moments_and_end_at_their_own() {
        let slow = SlowStart::default();
        let next = |since, now| slow.next(at(since), at(now));
        assert_eq!([next(100.0, 100.0), next(101.0, 101.0)], [at(102.0); 2]);
        assert_eq!(next(100.0, 102.0), at(105.0));
        assert_eq!(
            [next(100.0, 129.0), next(100.5, 129.0)],
            [at(130.0), at(130.5)]
        );
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let told = |result: Result<SlowStart, InvalidConfig>| result.unwrap_err().to_string();
        let slow = SlowStart::default();
        assert_eq!(
            told(slow.with_window(Duration::ZERO)),
            "window is 0ns, must be from 100ms to 1d"
        );
        for aggression in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            assert_eq!(
                told(slow.with_aggression(aggression)),
                format!("aggression is {aggression}, must be from 0.01 to 100")
            );
        }
        assert_eq!(
            told(slow.with_percent_min(0)),
            "percent_min is 0, must be from 1 to 100 percent"
        );
    }
}
