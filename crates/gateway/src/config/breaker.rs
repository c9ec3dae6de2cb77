//! When a breaker of an endpoint or of a route opens, and how it finds its way back.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Serialize, Serializer};
use stanchion_breaker::{
    CancelPolicy, Config, Expiry, HalfOpen, InvalidConfig, OpenTime, Ramp, Ratio, SlowCalls, Window,
};

use super::show;

/// One breaker, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Breaker {
    pub(crate) window: BreakerWindow,
    pub(crate) min_calls: u32,
    pub(crate) failure_rate: Share,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) consecutive_failures: Option<NonZeroU32>,
    /// From here on a request is slow.
    #[serde(serialize_with = "show::maybe_duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slow_call: Option<Duration>,
    pub(crate) slow_rate: Share,
    #[serde(serialize_with = "show::duration")]
    pub(crate) open: Duration,
    /// It stays open twice as long each time that trials fail, up to this.
    #[serde(serialize_with = "show::duration")]
    pub(crate) open_max: Duration,
    /// It stays open for as long as the server asks with `Retry-After`, up to this.
    #[serde(serialize_with = "show::maybe_duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_max: Option<Duration>,
    pub(crate) trials: u32,
    #[serde(serialize_with = "show::duration")]
    pub(crate) trials_max_time: Duration,
    /// For how long traffic comes back little by little; zero for all at once.
    #[serde(serialize_with = "show::duration")]
    pub(crate) ramp: Duration,
}

/// The requests that rates are taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerWindow {
    Calls(u32),
    Time(Duration),
}

/// A part of a whole, in millionths: from 1 to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(u32);

impl Share {
    pub(crate) const HALF: Self = Self(500_000);
    pub(crate) const ALL: Self = Self(1_000_000);

    /// `None` if it is not above 0 and at most 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 1 to a million, and whole"
    )]
    pub(crate) fn new(share: f64) -> Option<Self> {
        let millionths = (share * 1e6).round();
        // What is not a number is in no range.
        (1.0..=1e6)
            .contains(&millionths)
            .then_some(Self(millionths as u32))
    }

    pub(super) fn get(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// The share of traffic that a ramp begins with.
const RAMP_FROM: f64 = 0.1;
/// A request that was given up says something if it had waited for so long, where nothing else tells
/// which are slow.
const GIVEN_UP: Duration = Duration::from_secs(10);

impl Breaker {
    /// In the terms of the breaker.
    ///
    /// # Errors
    ///
    /// When what is right alone is not together, such as `min_calls` above the calls of the window.
    pub(crate) fn config(&self) -> Result<Config, InvalidConfig> {
        let window = match self.window {
            BreakerWindow::Calls(calls) => Window::calls(calls)?,
            BreakerWindow::Time(span) => Window::time(span)?,
        };
        let open = if self.open_max > self.open {
            OpenTime::growing(self.open, 2.0, self.open_max)?
        } else {
            OpenTime::fixed(self.open)?
        };
        let open = match self.retry_after_max {
            Some(max) => open.with_retry_after(max)?,
            None => open,
        };
        let trials =
            HalfOpen::new(self.trials)?.with_max_time(self.trials_max_time, Expiry::Open)?;
        // Clients that give up on a server that hangs must not hide that it does.
        let given_up = self.slow_call.unwrap_or(GIVEN_UP);
        let mut config = Config::new(window)
            .with_failure_rate(Ratio::new(self.failure_rate.get())?)?
            .with_min_calls(self.min_calls)?
            .with_open_time(open.with_jitter(Ratio::new(0.1)?))
            .with_half_open(trials)
            .with_cancel_policy(CancelPolicy::FailureIfOlderThan(given_up));
        if let Some(failures) = self.consecutive_failures {
            config = config.with_consecutive_failures(failures);
        }
        if let Some(threshold) = self.slow_call {
            let slow = SlowCalls::new(threshold, Ratio::new(self.slow_rate.get())?)?;
            config = config.with_slow_calls(slow.counting_in_flight())?;
        }
        if !self.ramp.is_zero() {
            config = config.with_ramp(Ramp::new(Ratio::new(RAMP_FROM)?, self.ramp)?);
        }
        Ok(config)
    }
}

impl Serialize for BreakerWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Calls(calls) => serializer.serialize_u32(*calls),
            Self::Time(span) => show::duration(span, serializer),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.get())
    }
}
