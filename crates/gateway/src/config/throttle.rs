//! How large a share of requests is kept from a server that does not take them.

use std::time::Duration;

use serde::{Serialize, Serializer};
use stanchion_breaker::{InvalidConfig, Ratio, ThrottleConfig};

use super::{Share, show};

/// One throttle, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Throttle {
    /// So many requests are sent for each that is accepted, before any is refused.
    pub(crate) multiplier: Decimal,
    #[serde(serialize_with = "show::duration")]
    pub(crate) window: Duration,
    pub(crate) aggression: Decimal,
    /// Requests in a second, below which none is refused.
    pub(crate) min_rate: Decimal,
    pub(crate) max_rejection: Share,
}

/// A number that is not negative, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal(u64);

impl Decimal {
    pub(crate) const ZERO: Self = Self(0);

    /// `None` for what is no number, is negative or above 10⁹.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 0 to 10¹⁵, and whole"
    )]
    pub(crate) fn new(number: f64) -> Option<Self> {
        // What is not a number is in no range.
        (0.0..=1e9)
            .contains(&number)
            .then(|| Self((number * 1e6).round() as u64))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "at most 10¹⁵, which a f64 holds"
    )]
    pub(super) fn get(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Throttle {
    /// In the terms of the throttle.
    ///
    /// # Errors
    ///
    /// When a number is out of its range.
    pub(crate) fn config(&self) -> Result<ThrottleConfig, InvalidConfig> {
        Ok(ThrottleConfig::default()
            .with_multiplier(self.multiplier.get())?
            .with_window(self.window)?
            .with_aggression(self.aggression.get())?
            .with_min_rate(self.min_rate.get())?
            .with_max_rejection(Ratio::new(self.max_rejection.get())?))
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.get())
    }
}
