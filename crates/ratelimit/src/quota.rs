#[cfg(feature = "serde")]
mod serde;
mod text;

use std::error::Error;
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

pub(crate) use text::{number, read_rate, write_rate};
#[cfg(all(feature = "redis", feature = "serde"))]
pub(crate) use text::{read_time, time_text};

/// How much is admitted: `count` per `period` on average, and up to `burst` at once.
///
/// A quota cannot be built wrong. In any stretch of time of length *t* a limiter with this quota
/// admits at most `burst + t · count / period`, and with steady demand at least
/// `t · count / period − 1` (less the rounding below).
///
/// # Accuracy
///
/// With `count` and `period` reduced to lowest terms (100 per second is 1 per 10 ms), the interval
/// between two admissions is exact for reduced counts up to 1024: 3 per second, 600 million per
/// second and 1 per day are exact. Other intervals are rounded up to a multiple of 1/1024 ns, so
/// the rate is never exceeded and falls short by at most one part in 1024 × the interval in
/// nanoseconds (a millionth for 1,000,003 per second). Where a long interval times a large burst
/// leaves no room for 1/1024 ns, coarser steps are taken, down to 1 ns.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_ratelimit::Quota;
///
/// let quota = Quota::new(100, Duration::from_secs(1))?.with_burst(20)?;
/// assert_eq!(quota, "100/s burst 20".parse()?);
/// # Ok::<(), stanchion_ratelimit::InvalidQuota>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    count: u64,
    period: Duration,
    burst: u64,
    /// Units per nanosecond.
    scale: u64,
    /// Units from one admission to the next.
    step: u64,
}

/// The reduced count up to which an interval is exact, and the finest rounding beyond it.
const SCALE_MAX: u64 = 1024;
/// The longest time, in units, that a drained bucket may take to fill: 36 years of nanoseconds.
pub(crate) const REFILL_MAX: u128 = 1 << 60;

impl Quota {
    /// `count` per `period`, with a burst of `count`.
    ///
    /// # Errors
    ///
    /// `count` must be at least 1 and at most 2 per nanosecond of `period`; `period` must be
    /// positive and at most 36 years.
    pub fn new(count: u64, period: Duration) -> Result<Self, InvalidQuota> {
        if count == 0 {
            return Err(InvalidQuota::new(Problem::ZeroCount));
        }
        let nanos = u64::try_from(period.as_nanos())
            .ok()
            .and_then(NonZeroU64::new)
            .filter(|nanos| u128::from(nanos.get()) <= REFILL_MAX)
            .ok_or(InvalidQuota::new(Problem::Period(period)))?;
        if count > nanos.get().saturating_mul(2) {
            return Err(InvalidQuota::new(Problem::TooFast { count, period }));
        }
        Self::fitted(count, period, nanos.get(), count)
    }

    /// The most that is admitted at once. Default: `count`.
    ///
    /// # Errors
    ///
    /// `burst` must be at least 1, and must refill in at most 36 years.
    pub fn with_burst(self, burst: u64) -> Result<Self, InvalidQuota> {
        if burst == 0 {
            return Err(InvalidQuota::new(Problem::ZeroBurst));
        }
        Self::fitted(self.count, self.period, self.period_nanos(), burst)
    }

    /// Chooses the units: exact if they fit, else the finest that do.
    fn fitted(count: u64, period: Duration, nanos: u64, burst: u64) -> Result<Self, InvalidQuota> {
        let common = gcd(nanos, count);
        let (nanos, reduced) = (nanos / common, count / common);
        // A long step times a large burst is more than 128 bits hold.
        let fits = |step: u128| {
            let refill = step.checked_mul(burst.into());
            refill.is_some_and(|refill| refill <= REFILL_MAX)
        };
        let exact = (reduced <= SCALE_MAX && fits(u128::from(nanos))).then_some((reduced, nanos));
        let rounded = || {
            let scales = std::iter::successors(Some(SCALE_MAX), |scale| Some(scale / 2));
            scales.take_while(|scale| *scale > 0).find_map(|scale| {
                let step = (u128::from(nanos) * u128::from(scale)).div_ceil(u128::from(reduced));
                fits(step).then_some((scale, u64::try_from(step).ok()?))
            })
        };
        let (scale, step) =
            exact
                .or_else(rounded)
                .ok_or(InvalidQuota::new(Problem::SlowRefill {
                    burst,
                    count,
                    period,
                }))?;
        Ok(Self {
            count,
            period,
            burst,
            scale,
            step,
        })
    }

    /// Admissions per period.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The period that `count` refers to.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// The most that is admitted at once.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    pub(crate) const fn scale(&self) -> u64 {
        self.scale
    }

    pub(crate) const fn step(&self) -> u64 {
        self.step
    }

    fn period_nanos(&self) -> u64 {
        u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX)
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota")
            .field("count", &self.count)
            .field("period", &self.period)
            .field("burst", &self.burst)
            .finish_non_exhaustive()
    }
}

/// A quota that makes no sense; its message names the field, the value, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidQuota {
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    ZeroCount,
    ZeroBurst,
    Period(Duration),
    TooFast {
        count: u64,
        period: Duration,
    },
    SlowRefill {
        burst: u64,
        count: u64,
        period: Duration,
    },
    SlowQueue {
        queue: u64,
        count: u64,
        period: Duration,
    },
    Limit {
        limit: u64,
        max: u64,
    },
    Window(Duration),
    Text(String),
    Policy(String),
}

impl InvalidQuota {
    pub(crate) const fn new(problem: Problem) -> Self {
        Self { problem }
    }

    /// The field that is wrong: `count`, `period`, `burst`, `queue`, `limit`, `window`, or for text `rate`
    /// or `policy`.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self.problem {
            Problem::ZeroCount | Problem::TooFast { .. } => "count",
            Problem::ZeroBurst | Problem::SlowRefill { .. } => "burst",
            Problem::Period(_) => "period",
            Problem::SlowQueue { .. } => "queue",
            Problem::Limit { .. } => "limit",
            Problem::Window(_) => "window",
            Problem::Text(_) => "rate",
            Problem::Policy(_) => "policy",
        }
    }
}

impl fmt::Display for InvalidQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::ZeroCount => f.write_str("count is 0, must be at least 1"),
            Problem::ZeroBurst => f.write_str("burst is 0, must be at least 1"),
            Problem::Period(period) => {
                write!(f, "period is {period:?}, must be from 1ns to 36 years")
            }
            Problem::TooFast { count, period } => write!(
                f,
                "count is {count} per {period:?}, must be at most 2 per nanosecond"
            ),
            Problem::SlowRefill {
                burst,
                count,
                period,
            } => write!(
                f,
                "burst is {burst}, which {count} per {period:?} would take over 36 years to refill"
            ),
            Problem::SlowQueue {
                queue,
                count,
                period,
            } => write!(
                f,
                "queue is {queue}, which {count} per {period:?} would take over 36 years to let out"
            ),
            Problem::Limit { limit, max } => {
                write!(f, "limit is {limit}, must be from 1 to {max}")
            }
            Problem::Window(window) => {
                write!(f, "window is {window:?}, must be from 1ns to 36 years")
            }
            Problem::Policy(text) => write!(
                f,
                "policy is {text:?}, must be a rate like \"100/s burst 10\", or an algorithm and \
                 a rate like \"fixed-window 100/m\""
            ),
            Problem::Text(text) => write!(
                f,
                "rate is {text:?}, must be like \"100/s\", \"5/250ms\" or \"1000/d burst 10\""
            ),
        }
    }
}

impl Error for InvalidQuota {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn intervals_are_exact_up_to_a_reduced_count_of_1024() {
        for (count, period, scale, step) in [
            (100, SECOND, 1, 10_000_000),
            (3, SECOND, 3, 1_000_000_000),
            (600_000_000, SECOND, 3, 5),
            (1, DAY, 1, 86_400_000_000_000),
            (1021, SECOND, 1021, 1_000_000_000),
        ] {
            let quota = Quota::new(count, period).unwrap();
            assert_eq!((quota.scale(), quota.step()), (scale, step), "{quota:?}");
        }
    }

    #[test]
    fn other_intervals_are_rounded_up() {
        let quota = Quota::new(1_000_000_001, SECOND).unwrap();
        assert_eq!((quota.scale(), quota.step()), (1024, 1024));
        let quota = Quota::new(1_000_003, SECOND).unwrap();
        assert_eq!(quota.scale(), 1024);
        assert_eq!(quota.step(), (1_000_000_000_u64 * 1024).div_ceil(1_000_003));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let year = DAY * 365;
        for (result, field) in [
            (Quota::new(0, SECOND), "count"),
            (Quota::new(3, Duration::from_nanos(1)), "count"),
            (Quota::new(u64::MAX, SECOND), "count"),
            (Quota::new(1, Duration::ZERO), "period"),
            (Quota::new(1, Duration::MAX), "period"),
            (Quota::new(1, year * 37), "period"),
            (Quota::new(1, SECOND).unwrap().with_burst(0), "burst"),
            // One peer wraps here, and admits 86,496 of the 300,000.
            (Quota::new(1, DAY).unwrap().with_burst(300_000), "burst"),
            (Quota::new(1, SECOND).unwrap().with_burst(u64::MAX), "burst"),
            // Once overflowed 128 bits, found by the fuzzer.
            (
                Quota::new(1, year * 36).unwrap().with_burst(u64::MAX),
                "burst",
            ),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.field(), field, "{error}");
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }

    #[test]
    fn a_long_exact_interval_with_a_large_burst_falls_back_to_coarser_units() {
        let quota = Quota::new(1021, DAY * 365).unwrap();
        assert!(quota.scale() < 1021);
        let exact = (DAY * 365).as_nanos() * u128::from(quota.scale());
        assert_eq!(u128::from(quota.step()), exact.div_ceil(1021));
    }
}
