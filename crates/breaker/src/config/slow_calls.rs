use std::time::Duration;

use super::InvalidConfig;
use crate::Ratio;

/// Which calls are slow, and how many may be. A slow call counts as slow however it ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowCalls {
    pub(crate) threshold: Duration,
    pub(crate) rate: Ratio,
    pub(crate) in_flight: bool,
}

impl SlowCalls {
    /// Calls that take longer than `threshold` are slow; trips when `rate` of the calls in the
    /// window are.
    ///
    /// # Errors
    ///
    /// `threshold` must be positive and at most 1 day.
    pub fn new(threshold: Duration, rate: Ratio) -> Result<Self, InvalidConfig> {
        if threshold.is_zero() || threshold > Duration::from_secs(86_400) {
            let allowed = "positive and at most 1 day";
            return Err(InvalidConfig::new(
                "slow_calls.threshold",
                threshold,
                allowed,
            ));
        }
        Ok(Self {
            threshold,
            rate,
            in_flight: false,
        })
    }

    /// Counts a call as slow as soon as it has been under way for longer than the threshold, so
    /// that a dependency that answers nothing at all trips the breaker too. Default: when it is
    /// over.
    ///
    /// It is looked at when another call asks to be admitted, about sixteen times in each
    /// threshold at most. Costs two more atomic operations a call.
    #[must_use]
    pub fn counting_in_flight(mut self) -> Self {
        self.in_flight = true;
        self
    }
}
