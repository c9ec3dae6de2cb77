use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use stanchion_core::Instant;

use crate::draw::scale;
use crate::{Draw, InvalidConfig};

/// How often endpoints are checked, and what results make of them.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::Duration;
/// use stanchion_lb::check::Checks;
///
/// let checks = Checks::every(Duration::from_secs(2))?
///     .with_timeout(Duration::from_millis(500))?
///     .with_fall(NonZeroU32::MIN);
/// let error = checks.with_timeout(Duration::from_secs(2)).unwrap_err();
/// assert_eq!(error.to_string(), "timeout is 2s, must be from 1ms to less than the interval");
/// # Ok::<(), stanchion_lb::InvalidConfig>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a value that does nothing until a balancer checks by it"]
pub struct Checks {
    interval: Duration,
    pub(super) timeout: Duration,
    jitter_percent: u8,
    pub(super) rise: NonZeroU32,
    pub(super) fall: NonZeroU32,
    pub(super) at_once_max: NonZeroUsize,
    pub(super) skips_proven: bool,
}

const SECOND: Duration = Duration::from_secs(1);

impl Default for Checks {
    /// Every 5 s, which vary by 20 %, each for at most 1 s; three failures in a row make an endpoint
    /// unhealthy, two passes healthy again; 32 at once.
    fn default() -> Self {
        Self {
            interval: 5 * SECOND,
            timeout: SECOND,
            jitter_percent: 20,
            rise: NonZeroU32::new(2).expect("not 0"),
            fall: NonZeroU32::new(3).expect("not 0"),
            at_once_max: NonZeroUsize::new(32).expect("not 0"),
            skips_proven: false,
        }
    }
}

impl Checks {
    /// Checks each endpoint once in `interval`, from 10 ms to a day. A check takes at most a second,
    /// or half of the interval if that is less; the rest is as by default.
    ///
    /// Envoy's `interval`.
    ///
    /// # Errors
    ///
    /// If it is shorter or longer.
    pub fn every(interval: Duration) -> Result<Self, InvalidConfig> {
        let allowed = Duration::from_millis(10)..=Duration::from_secs(86_400);
        if !allowed.contains(&interval) {
            return Err(invalid("interval", interval, "from 10ms to 1d"));
        }
        Ok(Self {
            interval,
            timeout: SECOND.min(interval / 2),
            ..Self::default()
        })
    }

    /// How long a check may take, from a millisecond to less than the interval; after that it has
    /// failed. Default: 1 s, or half of the interval.
    ///
    /// Envoy's `timeout`.
    ///
    /// # Errors
    ///
    /// If it is shorter or longer.
    pub fn with_timeout(mut self, timeout: Duration) -> Result<Self, InvalidConfig> {
        if timeout < Duration::from_millis(1) || timeout >= self.interval {
            let allowed = "from 1ms to less than the interval";
            return Err(invalid("timeout", timeout, allowed));
        }
        self.timeout = timeout;
        Ok(self)
    }

    /// By how much of the interval, from 0 to 100 percent, each is longer or shorter, at random; and
    /// over how much of it the first checks are spread. Without it, the endpoints are all checked
    /// at the same moment, by every balancer that was started together. Default: 20.
    ///
    /// Envoy's `interval_jitter_percent`, and `initial_jitter`.
    ///
    /// # Errors
    ///
    /// If `percent` is more than 100.
    pub fn with_jitter_percent(mut self, percent: u8) -> Result<Self, InvalidConfig> {
        if percent > 100 {
            return Err(InvalidConfig::new(
                "jitter_percent",
                percent,
                "from 0 to 100 percent",
            ));
        }
        self.jitter_percent = percent;
        Ok(self)
    }

    /// After how many passes in a row an unhealthy endpoint is used again. The first check of a new
    /// one decides alone. Default: 2.
    ///
    /// Envoy's `healthy_threshold`.
    pub fn with_rise(mut self, passes: NonZeroU32) -> Self {
        self.rise = passes;
        self
    }

    /// After how many failures in a row an endpoint is unhealthy. The first check of a new one decides
    /// alone. Default: 3.
    ///
    /// Envoy's `unhealthy_threshold`.
    pub fn with_fall(mut self, failures: NonZeroU32) -> Self {
        self.fall = failures;
        self
    }

    /// How many checks may be under way at once; the others wait for one to end. Where that many
    /// time out, intervals become longer. Default: 32.
    pub fn with_at_once_max(mut self, checks: NonZeroUsize) -> Self {
        self.at_once_max = checks;
        self
    }

    /// Leaves out the check of a healthy endpoint at which, since the last, a call succeeded and none
    /// failed. Default: checks it nevertheless.
    pub fn skipping_proven(mut self) -> Self {
        self.skips_proven = true;
        self
    }

    /// When an endpoint that is new at `now` is checked first.
    pub(super) fn first(&self, now: Instant, draw: &mut Draw) -> Instant {
        now + part(self.jitter(), draw)
    }

    /// When an endpoint is checked next, whose last check began at `began`.
    pub(super) fn next(&self, began: Instant, draw: &mut Draw) -> Instant {
        began + (self.interval - self.jitter()) + part(2 * self.jitter(), draw)
    }

    fn jitter(&self) -> Duration {
        self.interval * u32::from(self.jitter_percent) / 100
    }
}

/// A random part of `time`.
fn part(time: Duration, draw: &mut Draw) -> Duration {
    let nanos = usize::try_from(time.as_nanos()).unwrap_or(usize::MAX);
    Duration::from_nanos(scale(draw.bits(), nanos) as u64)
}

fn invalid(field: &'static str, value: Duration, allowed: &'static str) -> InvalidConfig {
    InvalidConfig::new(field, format_args!("{value:?}"), allowed)
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let told = |result: Result<Checks, InvalidConfig>| result.unwrap_err().to_string();
        assert_eq!(
            told(Checks::every(SECOND / 1000)),
            "interval is 1ms, must be from 10ms to 1d"
        );
        assert_eq!(
            told(Checks::default().with_timeout(5 * SECOND)),
            "timeout is 5s, must be from 1ms to less than the interval"
        );
        assert_eq!(
            told(Checks::default().with_timeout(Duration::ZERO)),
            "timeout is 0ns, must be from 1ms to less than the interval"
        );
        assert_eq!(
            told(Checks::default().with_jitter_percent(101)),
            "jitter_percent is 101, must be from 0 to 100 percent"
        );
    }

    #[test]
    fn a_short_interval_shortens_the_timeout() {
        assert_eq!(Checks::every(SECOND).unwrap().timeout, SECOND / 2);
        assert_eq!(Checks::every(60 * SECOND).unwrap().timeout, SECOND);
    }

    #[test]
    fn checks_are_spread_over_the_jitter_and_not_beyond() {
        let checks = Checks::every(10 * SECOND).unwrap();
        let mut draw = Draw::from_seed(1);
        let times = |time: &dyn Fn(&mut Draw) -> Instant, draw: &mut Draw| {
            let mut times: Vec<Instant> = (0..1000).map(|_| time(draw)).collect();
            times.sort();
            let second = |instant: Instant| (instant - Instant::ZERO).as_secs_f64();
            (second(times[0]), second(times[999]))
        };
        let start = Instant::ZERO + 100 * SECOND;
        let (least, most) = times(&|draw| checks.first(start, draw), &mut draw);
        assert!((100.0..100.1).contains(&least) && (101.9..102.0).contains(&most));
        let (least, most) = times(&|draw| checks.next(start, draw), &mut draw);
        assert!((108.0..108.1).contains(&least) && (111.9..112.0).contains(&most));
    }
}
