use std::time::Duration;

use super::InvalidConfig;

/// How a half-open breaker finds out whether the dependency is back.
///
/// It has a window of its own, of the trials: their outcomes cannot grow old, so it cannot wedge.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_breaker::{Expiry, HalfOpen, Verdict};
///
/// // One at a time; three good ones close it, the first bad one opens it again.
/// let careful = HalfOpen::new(3)?
///     .with_at_once(1)?
///     .with_verdict(Verdict::FirstFailure)
///     .with_max_time(Duration::from_secs(30), Expiry::Open)?;
/// # Ok::<(), stanchion_breaker::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpen {
    pub(crate) trials: u32,
    pub(crate) at_once: u32,
    pub(crate) verdict: Verdict,
    pub(crate) successes: u32,
    pub(crate) max_time: Option<(Duration, Expiry)>,
}

/// When the trials have decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Verdict {
    /// When all are over: it opens if the failure rate or the rate of slow calls is reached among
    /// them, else it closes. A breaker without such a rate opens if half of them failed.
    #[default]
    Rate,
    /// With the first that failed, or was slow where slow calls count: it opens. When all have
    /// succeeded it closes.
    FirstFailure,
}

/// What becomes of a breaker that was half-open for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Expiry {
    /// It opens again.
    Open,
    /// It closes.
    Close,
}

const TRIALS_MAX: u32 = 1_000_000;

impl HalfOpen {
    /// Lets `trials` calls through, all at once if they come so.
    ///
    /// # Errors
    ///
    /// `trials` must be 1 to 1,000,000.
    pub fn new(trials: u32) -> Result<Self, InvalidConfig> {
        if !(1..=TRIALS_MAX).contains(&trials) {
            let allowed = format!("1 to {TRIALS_MAX}");
            return Err(InvalidConfig::new("half_open.trials", trials, allowed));
        }
        Ok(Self {
            trials,
            at_once: trials,
            verdict: Verdict::default(),
            successes: trials,
            max_time: None,
        })
    }

    /// How many trials may be under way at once. Default: all.
    ///
    /// # Errors
    ///
    /// `at_once` must be at least 1, and no more than the trials.
    pub fn with_at_once(mut self, at_once: u32) -> Result<Self, InvalidConfig> {
        self.at_once = self.of_the_trials("half_open.at_once", at_once)?;
        Ok(self)
    }

    /// When they have decided. Default: [`Verdict::Rate`].
    #[must_use]
    pub fn with_verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    /// Closes as soon as so many trials have succeeded, and none was slow. Default: all of them.
    ///
    /// # Errors
    ///
    /// `successes` must be at least 1, and no more than the trials.
    pub fn with_success_threshold(mut self, successes: u32) -> Result<Self, InvalidConfig> {
        self.successes = self.of_the_trials("half_open.success_threshold", successes)?;
        Ok(self)
    }

    /// How long it may be half-open, and what happens then. Default: as long as it takes, since
    /// every trial is given back if it is dropped; take it where trials may hang.
    ///
    /// # Errors
    ///
    /// `time` must be positive.
    pub fn with_max_time(mut self, time: Duration, then: Expiry) -> Result<Self, InvalidConfig> {
        if time.is_zero() {
            return Err(InvalidConfig::new("half_open.max_time", time, "positive"));
        }
        self.max_time = Some((time, then));
        Ok(self)
    }

    fn of_the_trials(&self, field: &'static str, number: u32) -> Result<u32, InvalidConfig> {
        if (1..=self.trials).contains(&number) {
            Ok(number)
        } else {
            let allowed = format!("1 to {}, the trials", self.trials);
            Err(InvalidConfig::new(field, number, allowed))
        }
    }
}

/// Ten trials.
impl Default for HalfOpen {
    fn default() -> Self {
        Self {
            trials: 10,
            at_once: 10,
            verdict: Verdict::default(),
            successes: 10,
            max_time: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_the_trials_are_refused_by_name() {
        let half_open = HalfOpen::new(3).unwrap();
        let error = half_open.with_at_once(4).unwrap_err();
        let message = "half_open.at_once is 4, must be 1 to 3, the trials";
        assert_eq!(error.to_string(), message);
        assert!(half_open.with_at_once(0).is_err());
        assert!(half_open.with_success_threshold(4).is_err());
        assert!(
            half_open
                .with_max_time(Duration::ZERO, Expiry::Open)
                .is_err()
        );
        assert!(HalfOpen::new(0).is_err());
    }
}
