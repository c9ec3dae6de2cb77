//! What a balancer does with its servers, as it is written.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

use super::breakers::SPANS;
use super::{Reader, SECOND, UpstreamTable, Written};
use crate::config::balancing::{Balancing, FailureRule, OutlierRules, SuccessRule, Warming};
use crate::config::text::{Text, Zone};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlowStartTable {
    window: Option<Written<Duration>>,
    aggression: Option<Spanned<f64>>,
    percent_min: Option<Spanned<usize>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutliersTable {
    consecutive: Option<Spanned<usize>>,
    success_rate: Option<Rule<SuccessRateTable>>,
    failure_percentage: Option<Rule<FailurePercentageTable>>,
    interval: Option<Written<Duration>>,
    ejection_base: Option<Written<Duration>>,
    ejection_max: Option<Written<Duration>>,
    ejection_jitter: Option<Written<Duration>>,
    ejection_percent_max: Option<Spanned<usize>>,
    #[serde(default)]
    overload_as_failure: bool,
    readmission_by_checks: Option<bool>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SuccessRateTable {
    stdev_factor: Option<Spanned<f64>>,
    endpoints_min: Option<Spanned<usize>>,
    calls_min: Option<Spanned<usize>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FailurePercentageTable {
    percent: Option<Spanned<usize>>,
    endpoints_min: Option<Spanned<usize>>,
    calls_min: Option<Spanned<usize>>,
}

/// A table, or `true` for one with its defaults, or `false` for none.
struct Rule<T>(Option<T>);

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
const PERCENT: RangeInclusive<usize> = 1..=100;
const COUNT: RangeInclusive<usize> = 1..=1_000_000_000;

impl Reader<'_> {
    /// Takes its fields out of the table.
    pub(super) fn balancing(&mut self, table: &mut UpstreamTable) -> Balancing {
        Balancing {
            panic_threshold: self.percent(table.panic_threshold.take(), 50, 0..=100),
            overprovisioning: {
                let percent = self.number(table.overprovisioning.take(), 140, 100..=10_000);
                u16::try_from(percent).unwrap_or(u16::MAX)
            },
            local_zone: table.local_zone.take().map(|Text(Zone(zone))| zone),
            zone_endpoints_min: {
                let count = self.number(table.zone_endpoints_min.take(), 6, 0..=*COUNT.end());
                u32::try_from(count).unwrap_or(u32::MAX)
            },
            warming: table.slow_start.take().map(|table| self.warming(table)),
            outliers: table.outliers.take().map(|table| self.outliers(table)),
        }
    }

    fn warming(&mut self, table: SlowStartTable) -> Warming {
        Warming {
            window: self.duration(table.window, 30 * SECOND, SPANS),
            aggression: self.decimal(table.aggression, 1.0, 0.01..=100.0),
            percent_min: self.percent(table.percent_min, 10, PERCENT),
        }
    }

    fn outliers(&mut self, table: OutliersTable) -> OutlierRules {
        let success_rate = table.success_rate.unwrap_or(Rule(Some(<_>::default())));
        let failure_percentage = table.failure_percentage.unwrap_or(Rule(None));
        let consecutive = self.number(table.consecutive, 5, 0..=1_000_000);
        OutlierRules {
            consecutive: u32::try_from(consecutive).ok().and_then(NonZeroU32::new),
            success_rate: success_rate.0.map(|rule| SuccessRule {
                stdev_factor: self.decimal(rule.stdev_factor, 1.9, 0.0..=100.0),
                endpoints_min: self.at_least_one(rule.endpoints_min, 5),
                calls_min: self.at_least_one(rule.calls_min, 100),
            }),
            failure_percentage: failure_percentage.0.map(|rule| FailureRule {
                percent: self.percent(rule.percent, 85, PERCENT),
                endpoints_min: self.at_least_one(rule.endpoints_min, 5),
                calls_min: self.at_least_one(rule.calls_min, 50),
            }),
            interval: self.duration(table.interval, 10 * SECOND, SECOND / 10..=HOUR),
            ejection_base: self.duration(
                table.ejection_base,
                30 * SECOND,
                Duration::from_millis(1)..=DAY,
            ),
            ejection_max: self.duration(table.ejection_max, 300 * SECOND, Duration::ZERO..=DAY),
            ejection_jitter: self.duration(
                table.ejection_jitter,
                Duration::ZERO,
                Duration::ZERO..=HOUR,
            ),
            ejection_percent_max: self.percent(table.ejection_percent_max, 10, PERCENT),
            overload_as_failure: table.overload_as_failure,
            readmission_by_checks: table.readmission_by_checks.unwrap_or(true),
        }
    }

    pub(super) fn percent(
        &mut self,
        given: Option<Spanned<usize>>,
        default: u8,
        allowed: RangeInclusive<usize>,
    ) -> u8 {
        let percent = self.number(given, default.into(), allowed);
        u8::try_from(percent).unwrap_or(u8::MAX)
    }

    pub(super) fn at_least_one(
        &mut self,
        given: Option<Spanned<usize>>,
        default: usize,
    ) -> NonZeroU32 {
        let count = self.number(given, default, COUNT);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Rule<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RuleVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for RuleVisitor<T> {
            type Value = Rule<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, true or false")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Rule<T>, E> {
                Ok(Rule(on.then(T::default)))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Rule<T>, M::Error> {
                let table = T::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Rule(Some(table)))
            }
        }

        deserializer.deserialize_any(RuleVisitor(PhantomData))
    }
}
