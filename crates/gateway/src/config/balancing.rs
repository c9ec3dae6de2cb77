//! Which of an upstream's servers are fit, and how much of the traffic they get.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use stanchion_lb::{Config, FailurePercentage, InvalidConfig, Outliers, SlowStart, SuccessRate};

use super::{Decimal, show};

/// What an upstream's balancer does before its policy chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Balancing {
    /// In percent.
    pub(crate) panic_threshold: u8,
    /// In percent.
    pub(crate) overprovisioning: u16,
    /// The zone that the gateway stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "show::maybe_name")]
    pub(crate) local_zone: Option<Arc<str>>,
    pub(crate) zone_endpoints_min: u32,
    #[serde(rename = "slow_start")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warming: Option<Warming>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outliers: Option<OutlierRules>,
}

/// How a server that is new, or back, gets its share of the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Warming {
    #[serde(serialize_with = "show::duration")]
    pub(crate) window: Duration,
    pub(crate) aggression: Decimal,
    pub(crate) percent_min: u8,
}

/// When servers are taken out for how requests to them end, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct OutlierRules {
    #[serde(serialize_with = "show::number_or_zero")]
    pub(crate) consecutive: Option<NonZeroU32>,
    #[serde(serialize_with = "show::or_false")]
    pub(crate) success_rate: Option<SuccessRule>,
    #[serde(serialize_with = "show::or_false")]
    pub(crate) failure_percentage: Option<FailureRule>,
    #[serde(serialize_with = "show::duration")]
    pub(crate) interval: Duration,
    #[serde(serialize_with = "show::duration")]
    pub(crate) ejection_base: Duration,
    #[serde(serialize_with = "show::duration")]
    pub(crate) ejection_max: Duration,
    #[serde(serialize_with = "show::duration")]
    pub(crate) ejection_jitter: Duration,
    pub(crate) ejection_percent_max: u8,
    pub(crate) overload_as_failure: bool,
    pub(crate) readmission_by_checks: bool,
}

/// Success that is far below that of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SuccessRule {
    pub(crate) stdev_factor: Decimal,
    pub(crate) endpoints_min: NonZeroU32,
    pub(crate) calls_min: NonZeroU32,
}

/// Failure beyond a fixed share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FailureRule {
    pub(crate) percent: u8,
    pub(crate) endpoints_min: NonZeroU32,
    pub(crate) calls_min: NonZeroU32,
}

impl Balancing {
    /// In the terms of the balancer.
    ///
    /// # Errors
    ///
    /// When a number is out of its range.
    pub(crate) fn config(&self) -> Result<Config, InvalidConfig> {
        let mut config = Config::default()
            .with_panic_threshold(self.panic_threshold)?
            .with_overprovisioning(self.overprovisioning)?
            .with_zone_endpoints_min(self.zone_endpoints_min);
        if let Some(zone) = &self.local_zone {
            config = config.with_local_zone(zone.clone());
        }
        if let Some(warming) = &self.warming {
            config = config.with_slow_start(warming.config()?);
        }
        if let Some(rules) = &self.outliers {
            config = config.with_outliers(rules.config()?);
        }
        Ok(config)
    }
}

impl Warming {
    fn config(&self) -> Result<SlowStart, InvalidConfig> {
        SlowStart::default()
            .with_window(self.window)?
            .with_aggression(self.aggression.get())?
            .with_percent_min(self.percent_min)
    }
}

impl OutlierRules {
    fn config(&self) -> Result<Outliers, InvalidConfig> {
        let mut rules = Outliers::default()
            .without_consecutive()
            .without_success_rate()
            .with_interval(self.interval)?
            .with_ejection_base(self.ejection_base)?
            .with_ejection_max(self.ejection_max)?
            .with_ejection_jitter(self.ejection_jitter)?
            .with_ejection_percent_max(self.ejection_percent_max)?;
        if let Some(failures) = self.consecutive {
            rules = rules.with_consecutive(failures.get())?;
        }
        if let Some(rule) = &self.success_rate {
            let rule = SuccessRate::default()
                .with_stdev_factor(rule.stdev_factor.get())?
                .with_endpoints_min(rule.endpoints_min)
                .with_calls_min(rule.calls_min);
            rules = rules.with_success_rate(rule);
        }
        if let Some(rule) = &self.failure_percentage {
            let rule = FailurePercentage::default()
                .with_percent(rule.percent)?
                .with_endpoints_min(rule.endpoints_min)
                .with_calls_min(rule.calls_min);
            rules = rules.with_failure_percentage(rule);
        }
        if self.overload_as_failure {
            rules = rules.with_overload_as_failure();
        }
        if !self.readmission_by_checks {
            rules = rules.without_readmission_by_checks();
        }
        Ok(rules)
    }
}
