mod half_open;
mod invalid;
mod open_time;
mod ramp;
#[cfg(feature = "serde")]
mod serde;
mod slow_calls;
mod window;

use std::num::NonZeroU32;
use std::time::Duration;

pub use half_open::{Expiry, HalfOpen, Verdict};
pub use invalid::InvalidConfig;
pub use open_time::OpenTime;
pub use ramp::Ramp;
pub use slow_calls::SlowCalls;
pub(crate) use window::Kind as WindowKind;
pub use window::Window;

use crate::Ratio;

/// When a breaker trips, for how long, and how it finds its way back; clones copy.
///
/// The default opens when half of the last 100 calls failed (of 20 at least), stays open for 5
/// seconds, and lets 10 trials through, of which half must fail to open it again.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_breaker::{Config, HalfOpen, OpenTime, Ratio, SlowCalls, Window};
///
/// let config = Config::new(Window::time(Duration::from_secs(10))?)
///     .with_failure_rate(Ratio::new(0.3)?)?
///     .with_slow_calls(SlowCalls::new(Duration::from_secs(1), Ratio::new(0.8)?)?)?
///     .with_min_calls(50)?
///     .with_half_open(HalfOpen::new(5)?)
///     .with_open_time(OpenTime::fixed(Duration::from_secs(2))?);
/// # Ok::<(), stanchion_breaker::InvalidConfig>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) window: Option<Window>,
    pub(crate) failure_rate: Option<Ratio>,
    pub(crate) slow: Option<SlowCalls>,
    pub(crate) consecutive: Option<NonZeroU32>,
    pub(crate) min_calls: u32,
    pub(crate) half_open: HalfOpen,
    pub(crate) open_time: OpenTime,
    pub(crate) ramp: Option<Ramp>,
    pub(crate) cancel: CancelPolicy,
    pub(crate) overload: OverloadPolicy,
}

/// What a permit counts as that is dropped without an outcome: its caller was cancelled, or timed
/// out around it.
///
/// Its trial, if it held one, is given back in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelPolicy {
    /// As nothing: who cancels says nothing of the callee.
    #[default]
    Ignore,
    /// As a failure if the call had run for longer than this, else as nothing. Take it where a
    /// time-out stands around the breaker.
    FailureIfOlderThan(Duration),
    /// As a failure.
    Failure,
}

/// What [`Outcome::Overload`](stanchion_core::Outcome::Overload) counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(::serde::Deserialize, ::serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum OverloadPolicy {
    /// As a failure: a dependency that has no capacity is better asked less.
    #[default]
    Failure,
    /// As nothing, where a limiter or a balancer sees to it.
    Ignore,
}

const MIN_CALLS: u32 = 20;

impl Config {
    /// Trips when half of the calls in `window` failed, of 20 at least (of all that fit, if the
    /// window is smaller).
    #[must_use]
    pub fn new(window: Window) -> Self {
        Self {
            min_calls: window
                .calls_max()
                .map_or(MIN_CALLS, |max| max.min(MIN_CALLS)),
            window: Some(window),
            failure_rate: Some(Ratio::HALF),
            slow: None,
            consecutive: None,
            half_open: HalfOpen::default(),
            open_time: OpenTime::default(),
            ramp: None,
            cancel: CancelPolicy::default(),
            overload: OverloadPolicy::default(),
        }
    }

    /// Trips after `failures` in a row, and keeps no window: rates stay unknown.
    #[must_use]
    pub fn consecutive_failures(failures: NonZeroU32) -> Self {
        Self {
            window: None,
            failure_rate: None,
            consecutive: Some(failures),
            min_calls: 0,
            ..Self::default()
        }
    }

    /// Trips when this share of the calls in the window failed. Default: half.
    ///
    /// # Errors
    ///
    /// There must be a window.
    pub fn with_failure_rate(mut self, rate: Ratio) -> Result<Self, InvalidConfig> {
        self.needs_window("failure_rate", rate)?;
        self.failure_rate = Some(rate);
        Ok(self)
    }

    /// Does not trip by the failure rate.
    #[must_use]
    pub fn without_failure_rate(mut self) -> Self {
        self.failure_rate = None;
        self
    }

    /// Trips also when too many calls are slow. Default: not, and no call is timed.
    ///
    /// # Errors
    ///
    /// There must be a window.
    pub fn with_slow_calls(mut self, slow: SlowCalls) -> Result<Self, InvalidConfig> {
        self.needs_window("slow_calls", slow)?;
        self.slow = Some(slow);
        Ok(self)
    }

    /// Trips also after `failures` in a row, however few the calls. Default: not.
    #[must_use]
    pub fn with_consecutive_failures(mut self, failures: NonZeroU32) -> Self {
        self.consecutive = Some(failures);
        self
    }

    /// How many calls the window must hold before a rate is known. Default: 20, or all that fit.
    ///
    /// # Errors
    ///
    /// `calls` must be at least 1, and no more than the window holds; there must be a window.
    pub fn with_min_calls(mut self, calls: u32) -> Result<Self, InvalidConfig> {
        self.needs_window("min_calls", calls)?;
        let max = self.window.as_ref().and_then(Window::calls_max);
        if calls == 0 || max.is_some_and(|max| calls > max) {
            let allowed = match max {
                Some(max) => format!("1 to {max}, the calls of the window"),
                None => "at least 1".to_owned(),
            };
            return Err(InvalidConfig::new("min_calls", calls, allowed));
        }
        self.min_calls = calls;
        Ok(self)
    }

    /// How trials decide. Default: 10 trials, all at once if they come so, by the same rates.
    #[must_use]
    pub fn with_half_open(mut self, half_open: HalfOpen) -> Self {
        self.half_open = half_open;
        self
    }

    /// For how long it stays open. Default: 5 seconds.
    #[must_use]
    pub fn with_open_time(mut self, open_time: OpenTime) -> Self {
        self.open_time = open_time;
        self
    }

    /// Lets traffic back little by little after the trials. Default: all at once.
    #[must_use]
    pub fn with_ramp(mut self, ramp: Ramp) -> Self {
        self.ramp = Some(ramp);
        self
    }

    /// What a dropped permit counts as. Default: nothing.
    #[must_use]
    pub fn with_cancel_policy(mut self, cancel: CancelPolicy) -> Self {
        self.cancel = cancel;
        self
    }

    /// What an overloaded dependency's answer counts as. Default: a failure.
    #[must_use]
    pub fn with_overload_policy(mut self, overload: OverloadPolicy) -> Self {
        self.overload = overload;
        self
    }

    fn needs_window(
        &self,
        field: &'static str,
        value: impl std::fmt::Debug,
    ) -> Result<(), InvalidConfig> {
        match self.window {
            Some(_) => Ok(()),
            None => Err(InvalidConfig::new(
                field,
                value,
                "left out where there is no window",
            )),
        }
    }

    /// Whether a permit has to know when it was given.
    pub(crate) fn times_calls(&self) -> bool {
        self.slow.is_some() || matches!(self.cancel, CancelPolicy::FailureIfOlderThan(_))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new(Window::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn min_calls_fit_into_the_window() {
        let config = Config::new(Window::calls(10).unwrap());
        assert_eq!(config.min_calls, 10);
        for (calls, message) in [
            (
                0,
                "min_calls is 0, must be 1 to 10, the calls of the window",
            ),
            (
                11,
                "min_calls is 11, must be 1 to 10, the calls of the window",
            ),
        ] {
            let error = config.clone().with_min_calls(calls).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        assert!(config.with_min_calls(1).is_ok());
    }

    #[test]
    fn rates_need_a_window() {
        let config = Config::consecutive_failures(NonZeroU32::MIN);
        let error = config.clone().with_failure_rate(Ratio::HALF).unwrap_err();
        let message = "failure_rate is 0.5, must be left out where there is no window";
        assert_eq!(error.to_string(), message);
        assert!(config.with_min_calls(1).is_err());
    }
}
