//! Which endpoints are taken out for how their calls end, and for how long.
//!
//! ```text
//! at each outcome   a failure lengthens the streak, a success ends it;
//!                   a streak of `consecutive` ejects
//! each interval     success rate: below mean - factor * deviation of the endpoints with enough calls
//!                   failure percentage: at or above a fixed share; both eject
//! an ejection       lasts min(base * n, max) the n-th time; n falls by 1 for each interval outside
//! ```
//!
//! Source: Envoy's *outlier detection*, whose names and defaults are given with each number.

mod ejection;
mod rates;
mod samples;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::InvalidConfig;
pub(crate) use ejection::Ejection;
pub(crate) use rates::{Counts, outliers};
pub use rates::{FailurePercentage, SuccessRate};
pub(crate) use samples::{Heed, Samples};

/// When endpoints are taken out for how their calls end: passive health checking.
///
/// What counts are the outcomes that [`Picked::record`](crate::Picked::record) is told.
/// [`Outcome::Ignore`](stanchion_core::Outcome::Ignore), such as a breaker's refusal or a cancelled
/// call, is never a sample; [`Outcome::Overload`](stanchion_core::Outcome::Overload) is load, not
/// failure, unless [told otherwise](Self::with_overload_as_failure). `Outcome` does not tell failures
/// of the gateway or of the local side apart from others, so there is one rule where Envoy has three
/// (`consecutive_5xx`, `consecutive_gateway_failure`, `consecutive_local_origin_failure`).
///
/// Streaks eject at once, on the thread that records. The rules by interval, success rate and
/// failure percentage, need [`Balancer::upkeep`](crate::Balancer::upkeep) to be driven, or
/// [`Balancer::catch_up`](crate::Balancer::catch_up) to be called.
///
/// **Complexity**: an outcome costs O(1), two additions to counts of the endpoint; an ejection plans
/// anew.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_lb::{Config, FailurePercentage, Outliers};
///
/// let outliers = Outliers::default()
///     .with_consecutive(3)?
///     .with_failure_percentage(FailurePercentage::default().with_percent(50)?)
///     .with_ejection_percent_max(30)?;
/// let config = Config::default().with_outliers(outliers);
/// # let _ = config;
/// # Ok::<(), stanchion_lb::InvalidConfig>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a value that does nothing until a configuration holds it"]
pub struct Outliers {
    consecutive: Option<NonZeroU32>,
    pub(crate) success_rate: Option<SuccessRate>,
    pub(crate) failure_percentage: Option<FailurePercentage>,
    pub(crate) interval: Duration,
    ejection_base: Duration,
    ejection_max: Duration,
    ejection_jitter: Duration,
    ejection_percent_max: u8,
    overload_is_failure: bool,
    pub(crate) readmit_by_checks: bool,
}

impl Default for Outliers {
    /// Five failures in a row, and the success rate; no failure percentage. All as in Envoy.
    fn default() -> Self {
        Self {
            consecutive: NonZeroU32::new(5),
            success_rate: Some(SuccessRate::default()),
            failure_percentage: None,
            interval: Duration::from_secs(10),
            ejection_base: Duration::from_secs(30),
            ejection_max: Duration::from_secs(300),
            ejection_jitter: Duration::ZERO,
            ejection_percent_max: 10,
            overload_is_failure: false,
            readmit_by_checks: true,
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

impl Outliers {
    /// Ejects after so many failures in a row, from 1 to 1,000,000. Default: 5.
    ///
    /// Envoy's `consecutive_5xx`.
    ///
    /// # Errors
    ///
    /// If `failures` is out of range.
    pub fn with_consecutive(mut self, failures: u32) -> Result<Self, InvalidConfig> {
        const ALLOWED: &str = "from 1 to 1000000 failures";
        let allowed = NonZeroU32::new(failures).filter(|failures| failures.get() <= 1_000_000);
        let failures =
            allowed.ok_or_else(|| InvalidConfig::new("consecutive", failures, ALLOWED))?;
        self.consecutive = Some(failures);
        Ok(self)
    }

    /// Does not heed failures in a row.
    pub fn without_consecutive(mut self) -> Self {
        self.consecutive = None;
        self
    }

    /// Ejects what succeeds markedly less often than the others. Default: [`SuccessRate::default`].
    pub fn with_success_rate(mut self, rule: SuccessRate) -> Self {
        self.success_rate = Some(rule);
        self
    }

    /// Does not compare success rates.
    pub fn without_success_rate(mut self) -> Self {
        self.success_rate = None;
        self
    }

    /// Ejects what fails too often, however the others do. Default: not, as in Envoy, where
    /// `enforcing_failure_percentage` is 0.
    pub fn with_failure_percentage(mut self, rule: FailurePercentage) -> Self {
        self.failure_percentage = Some(rule);
        self
    }

    /// How long calls are counted for the rules that go by shares, from 100 ms to an hour; and how
    /// long an endpoint that was let in again must stay in for its next ejection to be one step
    /// shorter. Default: 10 s.
    ///
    /// Envoy's `interval`.
    ///
    /// # Errors
    ///
    /// If it is shorter or longer.
    pub fn with_interval(mut self, interval: Duration) -> Result<Self, InvalidConfig> {
        if !(Duration::from_millis(100)..=HOUR).contains(&interval) {
            return Err(invalid("interval", interval, "from 100ms to 1h"));
        }
        self.interval = interval;
        Ok(self)
    }

    /// How long the first ejection lasts, from a millisecond to a day; the n-th lasts n times as
    /// long. Default: 30 s.
    ///
    /// Envoy's `base_ejection_time`.
    ///
    /// # Errors
    ///
    /// If it is shorter or longer.
    pub fn with_ejection_base(mut self, base: Duration) -> Result<Self, InvalidConfig> {
        if !(Duration::from_millis(1)..=DAY).contains(&base) {
            return Err(invalid("ejection_base", base, "from 1ms to 1d"));
        }
        self.ejection_base = base;
        Ok(self)
    }

    /// How long an ejection lasts at most, up to a day; the base, if that is longer. Default: 300 s.
    ///
    /// Envoy's `max_ejection_time`.
    ///
    /// # Errors
    ///
    /// If it is longer.
    pub fn with_ejection_max(mut self, max: Duration) -> Result<Self, InvalidConfig> {
        if max > DAY {
            return Err(invalid("ejection_max", max, "at most 1d"));
        }
        self.ejection_max = max;
        Ok(self)
    }

    /// Lets each ejection last longer by a random part of this, at most an hour, so that endpoints
    /// that were ejected together do not come back together. Default: none.
    ///
    /// Envoy's `max_ejection_time_jitter`.
    ///
    /// # Errors
    ///
    /// If it is longer.
    pub fn with_ejection_jitter(mut self, jitter: Duration) -> Result<Self, InvalidConfig> {
        if jitter > HOUR {
            return Err(invalid("ejection_jitter", jitter, "at most 1h"));
        }
        self.ejection_jitter = jitter;
        Ok(self)
    }

    /// What part of all endpoints may be ejected at once, from 1 to 100 percent, rounded down; but
    /// always one. Default: 10.
    ///
    /// Envoy's `max_ejection_percent`, with `always_eject_one_host`.
    ///
    /// # Errors
    ///
    /// If `percent` is out of range.
    pub fn with_ejection_percent_max(mut self, percent: u8) -> Result<Self, InvalidConfig> {
        if !(1..=100).contains(&percent) {
            return Err(InvalidConfig::new(
                "ejection_percent_max",
                percent,
                "from 1 to 100 percent",
            ));
        }
        self.ejection_percent_max = percent;
        Ok(self)
    }

    /// Counts [`Outcome::Overload`](stanchion_core::Outcome::Overload) as a failure. Default: it is
    /// no sample at all, since to take out who is busy makes the others busier.
    pub fn with_overload_as_failure(mut self) -> Self {
        self.overload_is_failure = true;
        self
    }

    /// Leaves an endpoint out for its time, even if it passes an active check. Default: a passing
    /// check lets it in.
    ///
    /// Envoy's `successful_active_health_check_uneject_host: false`. Take it where checks ask
    /// something that works while calls fail.
    pub fn without_readmission_by_checks(mut self) -> Self {
        self.readmit_by_checks = false;
        self
    }

    /// Whether a rule counts calls by interval.
    pub(crate) fn goes_by_interval(&self) -> bool {
        self.success_rate.is_some() || self.failure_percentage.is_some()
    }

    /// How many of `endpoints` may be ejected at once.
    pub(crate) fn ejected_max(&self, endpoints: usize) -> usize {
        (endpoints * usize::from(self.ejection_percent_max) / 100).max(1)
    }

    /// What is heeded of each outcome.
    pub(crate) fn heed(&self) -> Heed {
        Heed::new(self.consecutive, self.overload_is_failure)
    }
}

fn invalid(field: &'static str, value: Duration, allowed: &'static str) -> InvalidConfig {
    InvalidConfig::new(field, format_args!("{value:?}"), allowed)
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let outliers = Outliers::default;
        let second = Duration::from_secs(1);
        for (result, told) in [
            (
                outliers().with_consecutive(0),
                "consecutive is 0, must be from 1 to 1000000 failures",
            ),
            (
                outliers().with_consecutive(1_000_001),
                "consecutive is 1000001, must be from 1 to 1000000 failures",
            ),
            (
                outliers().with_interval(second / 20),
                "interval is 50ms, must be from 100ms to 1h",
            ),
            (
                outliers().with_ejection_base(Duration::ZERO),
                "ejection_base is 0ns, must be from 1ms to 1d",
            ),
            (
                outliers().with_ejection_max(DAY + second),
                "ejection_max is 86401s, must be at most 1d",
            ),
            (
                outliers().with_ejection_jitter(HOUR + second),
                "ejection_jitter is 3601s, must be at most 1h",
            ),
            (
                outliers().with_ejection_percent_max(0),
                "ejection_percent_max is 0, must be from 1 to 100 percent",
            ),
        ] {
            assert_eq!(result.unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn a_tenth_may_be_ejected_but_always_one() {
        let outliers = Outliers::default();
        let max = [1, 5, 19, 20, 1000].map(|endpoints| outliers.ejected_max(endpoints));
        assert_eq!(max, [1, 1, 1, 2, 100]);
    }
}
