use std::time::Duration;

use stanchion_backoff::Backoff;

use super::InvalidConfig;
use crate::Ratio;

/// For how long a breaker stays open before it lets trials through.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_breaker::{OpenTime, Ratio};
///
/// // 5 s, 7.5 s, 11.25 s … up to a minute, each up to a tenth longer; or as the server asks.
/// let growing = OpenTime::growing(Duration::from_secs(5), 1.5, Duration::from_secs(60))?
///     .with_jitter(Ratio::new(0.1)?)
///     .with_decay(Duration::from_secs(300))?
///     .with_retry_after(Duration::from_secs(120))?;
/// # Ok::<(), stanchion_breaker::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenTime {
    pub(super) base: Duration,
    pub(super) growth: Option<Backoff>,
    pub(super) jitter: Option<Ratio>,
    pub(super) decay: Option<Duration>,
    pub(super) retry_after_max: Option<Duration>,
}

const MAX: Duration = Duration::from_secs(86_400 * 365);

impl OpenTime {
    /// Always the same time.
    ///
    /// # Errors
    ///
    /// `time` must be positive and at most a year.
    pub fn fixed(time: Duration) -> Result<Self, InvalidConfig> {
        Ok(Self {
            base: checked("open_time", time)?,
            growth: None,
            jitter: None,
            decay: None,
            retry_after_max: None,
        })
    }

    /// `base`, and `factor` times longer each time that trials fail, up to `cap`.
    ///
    /// # Errors
    ///
    /// `base` and `cap` must be positive and at most a year, `cap` at least `base`, and `factor` a
    /// number from 1 to 1000.
    pub fn growing(base: Duration, factor: f64, cap: Duration) -> Result<Self, InvalidConfig> {
        let fixed = Self::fixed(base)?;
        checked("open_time.cap", cap)?;
        let growth = Backoff::new(base, cap)
            .map_err(|_| InvalidConfig::new("open_time.cap", cap, format!("at least {base:?}")))?
            .with_factor(factor)
            .map_err(|_| InvalidConfig::new("open_time.factor", factor, "1 to 1000"))?;
        Ok(Self {
            growth: Some(growth),
            ..fixed
        })
    }

    /// Makes each time longer by a random part of up to `share` of it, so that breakers that
    /// opened together do not try together. Default: none.
    #[must_use]
    pub fn with_jitter(mut self, share: Ratio) -> Self {
        self.jitter = Some(share);
        self
    }

    /// How long the breaker must have been closed for one step of the growth to be forgotten.
    /// Default: all of it is, when it closes.
    ///
    /// # Errors
    ///
    /// `quiet` must be positive and at most a year.
    pub fn with_decay(mut self, quiet: Duration) -> Result<Self, InvalidConfig> {
        self.decay = Some(checked("open_time.decay", quiet)?);
        Ok(self)
    }

    /// Stays open for as long as the failed call said (`Retry-After`), but at most `max`; where
    /// it said nothing, for the time above. Default: what it says is not heeded.
    ///
    /// # Errors
    ///
    /// `max` must be positive and at most a year.
    pub fn with_retry_after(mut self, max: Duration) -> Result<Self, InvalidConfig> {
        self.retry_after_max = Some(checked("open_time.retry_after_max", max)?);
        Ok(self)
    }

    /// The time to stay open after `openings` earlier ones that still count. `random` are 64
    /// random bits.
    pub(crate) fn time(
        &self,
        openings: u32,
        retry_after: Option<Duration>,
        random: u64,
    ) -> Duration {
        let own = self
            .growth
            .map_or(self.base, |growth| growth.delay(openings));
        let asked = self
            .retry_after_max
            .and_then(|max| retry_after.map(|asked| asked.min(max)));
        let time = asked.filter(|asked| !asked.is_zero()).unwrap_or(own);
        let extra = self.jitter.map_or(Duration::ZERO, |share| {
            time.mul_f64(share.get() * unit(random))
        });
        time + extra
    }

    /// How long a breaker must be closed until none of `openings` counts.
    pub(crate) fn forgotten_after(&self, openings: u32) -> Duration {
        let each = self.decay.unwrap_or(Duration::ZERO);
        each.saturating_mul(openings)
    }

    /// How many of `openings` still count for a breaker that was closed for `closed`.
    pub(crate) fn remembered(&self, openings: u32, closed: Duration) -> u32 {
        match self.decay {
            None => 0,
            Some(quiet) => {
                let forgotten = closed.as_nanos() / quiet.as_nanos();
                openings.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
            }
        }
    }
}

/// Five seconds.
impl Default for OpenTime {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(5),
            growth: None,
            jitter: None,
            decay: None,
            retry_after_max: None,
        }
    }
}

/// 0 to 1, of random bits.
#[expect(clippy::cast_precision_loss, reason = "53 bits, which a f64 holds")]
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / 9_007_199_254_740_992.0
}

fn checked(field: &'static str, time: Duration) -> Result<Duration, InvalidConfig> {
    if time.is_zero() || time > MAX {
        return Err(InvalidConfig::new(
            field,
            time,
            "positive and at most a year",
        ));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn it_grows_by_the_factor_up_to_the_cap() {
        let time = OpenTime::growing(4 * S, 1.5, 10 * S).unwrap();
        let times: Vec<_> = (0..5).map(|n| time.time(n, None, 0)).collect();
        assert_eq!(times, [4 * S, 6 * S, 9 * S, 10 * S, 10 * S]);
    }

    #[test]
    fn what_the_server_asks_is_heeded_up_to_its_cap() {
        let own = OpenTime::fixed(4 * S).unwrap();
        assert_eq!(own.time(0, Some(9 * S), 0), 4 * S);
        let heeding = own.with_retry_after(20 * S).unwrap();
        assert_eq!(heeding.time(0, Some(9 * S), 0), 9 * S);
        assert_eq!(heeding.time(0, Some(90 * S), 0), 20 * S);
        assert_eq!(heeding.time(0, Some(Duration::ZERO), 0), 4 * S);
        assert_eq!(heeding.time(0, None, 0), 4 * S);
    }

    #[test]
    fn jitter_only_makes_it_longer() {
        let time = OpenTime::fixed(10 * S).unwrap().with_jitter(Ratio::HALF);
        assert_eq!(time.time(0, None, 0), 10 * S);
        let most = time.time(0, None, u64::MAX);
        assert!(most > 14_999 * S / 1000 && most <= 15 * S, "{most:?}");
    }

    #[test]
    fn openings_are_forgotten_at_once_or_one_by_one() {
        let at_once = OpenTime::fixed(S).unwrap();
        assert_eq!(at_once.remembered(5, Duration::ZERO), 0);
        let one_by_one = at_once.with_decay(10 * S).unwrap();
        for (closed, left) in [(0, 5), (9, 5), (10, 4), (35, 2), (1000, 0)] {
            assert_eq!(one_by_one.remembered(5, closed * S), left, "{closed}");
        }
        let last = one_by_one.forgotten_after(5);
        assert_eq!(one_by_one.remembered(5, last), 0);
        assert_eq!(one_by_one.remembered(5, last - Duration::from_nanos(1)), 1);
        assert_eq!(at_once.forgotten_after(5), Duration::ZERO);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let message = |time: Result<OpenTime, InvalidConfig>| time.unwrap_err().to_string();
        let wanted = "open_time is 0ns, must be positive and at most a year";
        assert_eq!(message(OpenTime::fixed(Duration::ZERO)), wanted);
        let wanted = "open_time.cap is 1s, must be at least 2s";
        assert_eq!(message(OpenTime::growing(2 * S, 2.0, S)), wanted);
        for factor in [0.9, f64::NAN, f64::INFINITY, -1.0, 1001.0] {
            let wanted = format!("open_time.factor is {factor:?}, must be 1 to 1000");
            assert_eq!(message(OpenTime::growing(S, factor, 2 * S)), wanted);
        }
    }
}
