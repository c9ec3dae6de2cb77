//! Configurations in files: a table whose fields are those of [`Config`]'s methods. What is left out
//! has its default; errors name the field, its value, and what is allowed.

mod fields;
mod text;

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{CancelPolicy, Config, HalfOpen, InvalidConfig, OpenTime, OverloadPolicy, Ramp};
use super::{SlowCalls, Window};
use crate::ThrottleConfig;
use fields::ratio;
use text::{OrOff, time, written};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<OrOff<Window>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_rate: Option<OrOff<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_calls: Option<SlowCalls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consecutive_failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_calls: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    half_open: Option<HalfOpen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_time: Option<OpenTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ramp: Option<Ramp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel: Option<CancelPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overload: Option<OverloadPolicy>,
}

impl TryFrom<ConfigTable> for Config {
    type Error = InvalidConfig;

    fn try_from(table: ConfigTable) -> Result<Self, InvalidConfig> {
        let consecutive = table.consecutive_failures.map(|failures| {
            NonZeroU32::new(failures)
                .ok_or_else(|| InvalidConfig::new("consecutive_failures", failures, "at least 1"))
        });
        let consecutive = consecutive.transpose()?;
        let mut config = match (table.window, consecutive) {
            (None, _) => Self::default(),
            (Some(OrOff::Value(window)), _) => Self::new(window),
            (Some(OrOff::Off), Some(failures)) => Self::consecutive_failures(failures),
            (Some(OrOff::Off), None) => {
                let allowed = "on where consecutive_failures is left out";
                return Err(InvalidConfig::new("window", "off", allowed));
            }
        };
        if let Some(failures) = consecutive {
            config = config.with_consecutive_failures(failures);
        }
        config = match table.failure_rate {
            None => config,
            Some(OrOff::Value(rate)) => config.with_failure_rate(ratio("failure_rate", rate)?)?,
            Some(OrOff::Off) => config.without_failure_rate(),
        };
        if let Some(slow) = table.slow_calls {
            config = config.with_slow_calls(slow)?;
        }
        if let Some(calls) = table.min_calls {
            config = config.with_min_calls(calls)?;
        }
        config.half_open = table.half_open.unwrap_or_default();
        config.open_time = table.open_time.unwrap_or_default();
        config.ramp = table.ramp;
        config.cancel = table.cancel.unwrap_or_default();
        config.overload = table.overload.unwrap_or_default();
        Ok(config)
    }
}

/// Everything is written, also what is the default.
impl From<Config> for ConfigTable {
    fn from(config: Config) -> Self {
        let windowed = config.window.is_some();
        Self {
            window: Some(config.window.map_or(OrOff::Off, OrOff::Value)),
            failure_rate: Some(
                config
                    .failure_rate
                    .map_or(OrOff::Off, |rate| OrOff::Value(rate.get())),
            ),
            slow_calls: config.slow,
            consecutive_failures: config.consecutive.map(NonZeroU32::get),
            min_calls: windowed.then_some(config.min_calls),
            half_open: Some(config.half_open),
            open_time: Some(config.open_time),
            ramp: config.ramp,
            cancel: Some(config.cancel),
            overload: Some(config.overload),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThrottleTable {
    multiplier: Option<f64>,
    window: Option<String>,
    aggression: Option<f64>,
    min_rate: Option<f64>,
    max_rejection: Option<f64>,
}

impl TryFrom<ThrottleTable> for ThrottleConfig {
    type Error = InvalidConfig;

    fn try_from(table: ThrottleTable) -> Result<Self, InvalidConfig> {
        let mut config = Self::default();
        if let Some(multiplier) = table.multiplier {
            config = config.with_multiplier(multiplier)?;
        }
        if let Some(window) = table.window {
            config = config.with_window(time("window", &window)?)?;
        }
        if let Some(aggression) = table.aggression {
            config = config.with_aggression(aggression)?;
        }
        if let Some(rate) = table.min_rate {
            config = config.with_min_rate(rate)?;
        }
        if let Some(share) = table.max_rejection {
            config = config.with_max_rejection(ratio("max_rejection", share)?);
        }
        Ok(config)
    }
}

impl From<ThrottleConfig> for ThrottleTable {
    fn from(config: ThrottleConfig) -> Self {
        Self {
            multiplier: Some(config.multiplier),
            window: Some(written(config.window)),
            aggression: Some(config.aggression),
            min_rate: Some(config.min_rate),
            max_rejection: Some(config.max_rejection.get()),
        }
    }
}
