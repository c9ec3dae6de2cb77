//! The values of a configuration, each by itself.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use serde::{Deserialize as Read, Serialize as Write};

use super::text::{TextOrTable, text_or_table, time, written};
use crate::config::window::Kind;
use crate::config::{Expiry, Verdict};
use crate::{CancelPolicy, HalfOpen, InvalidConfig, OpenTime, Ramp, Ratio, SlowCalls, Window};

/// Reads a table and makes the value of it, which may refuse.
macro_rules! by_table {
    ($($value:ty: $table:ty),*) => {$(
        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let table = <$table>::deserialize(deserializer)?;
                Self::try_from(table).map_err(D::Error::custom)
            }
        }

        impl Serialize for $value {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$table>::from(self.clone()).serialize(serializer)
            }
        }
    )*};
}

by_table!(
    crate::Config: super::ConfigTable,
    crate::ThrottleConfig: super::ThrottleTable,
    SlowCalls: SlowCallsTable,
    HalfOpen: HalfOpenTable,
    Ramp: RampTable
);

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.get())
    }
}

#[derive(Read, Write)]
#[serde(deny_unknown_fields)]
struct SlowCallsTable {
    threshold: String,
    rate: f64,
    #[serde(default)]
    in_flight: bool,
}

impl TryFrom<SlowCallsTable> for SlowCalls {
    type Error = InvalidConfig;

    fn try_from(table: SlowCallsTable) -> Result<Self, InvalidConfig> {
        let threshold = time("slow_calls.threshold", &table.threshold)?;
        let slow = Self::new(threshold, ratio("slow_calls.rate", table.rate)?)?;
        Ok(match table.in_flight {
            true => slow.counting_in_flight(),
            false => slow,
        })
    }
}

impl From<SlowCalls> for SlowCallsTable {
    fn from(slow: SlowCalls) -> Self {
        Self {
            threshold: written(slow.threshold),
            rate: slow.rate.get(),
            in_flight: slow.in_flight,
        }
    }
}

#[derive(Read, Write)]
#[serde(deny_unknown_fields)]
struct HalfOpenTable {
    trials: Option<u32>,
    at_once: Option<u32>,
    verdict: Option<Verdict>,
    success_threshold: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<Expiry>,
}

impl TryFrom<HalfOpenTable> for HalfOpen {
    type Error = InvalidConfig;

    fn try_from(table: HalfOpenTable) -> Result<Self, InvalidConfig> {
        let mut half_open = table.trials.map_or(Ok(Self::default()), Self::new)?;
        if let Some(at_once) = table.at_once {
            half_open = half_open.with_at_once(at_once)?;
        }
        if let Some(successes) = table.success_threshold {
            half_open = half_open.with_success_threshold(successes)?;
        }
        half_open = half_open.with_verdict(table.verdict.unwrap_or_default());
        match (table.max_time, table.then) {
            (None, None) => Ok(half_open),
            (Some(text), then) => {
                let max = time("half_open.max_time", &text)?;
                half_open.with_max_time(max, then.unwrap_or(Expiry::Open))
            }
            (None, Some(then)) => {
                let allowed = "left out where max_time is";
                Err(InvalidConfig::new("half_open.then", then, allowed))
            }
        }
    }
}

impl From<HalfOpen> for HalfOpenTable {
    fn from(half_open: HalfOpen) -> Self {
        Self {
            trials: Some(half_open.trials),
            at_once: Some(half_open.at_once),
            verdict: Some(half_open.verdict),
            success_threshold: Some(half_open.successes),
            max_time: half_open.max_time.map(|(time, _)| written(time)),
            then: half_open.max_time.map(|(_, then)| then),
        }
    }
}

#[derive(Read, Write)]
#[serde(deny_unknown_fields)]
struct RampTable {
    from: f64,
    time: String,
}

impl TryFrom<RampTable> for Ramp {
    type Error = InvalidConfig;

    fn try_from(table: RampTable) -> Result<Self, InvalidConfig> {
        let time = time("ramp.time", &table.time)?;
        Self::new(ratio("ramp.from", table.from)?, time)
    }
}

impl From<Ramp> for RampTable {
    fn from(ramp: Ramp) -> Self {
        Self {
            from: ramp.from.get(),
            time: written(ramp.time),
        }
    }
}

#[derive(Read, Write)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<u32>,
}

impl TextOrTable for Window {
    type Table = WindowTable;
    const EXPECTED: &str =
        "\"100 calls\", a time such as \"10s\", or a table with `calls`, or `time` and `buckets`";

    fn from_text(text: &str) -> Result<Self, InvalidConfig> {
        let calls = text.strip_suffix("calls").map(|calls| calls.trim().parse());
        match calls {
            Some(Ok(calls)) => Self::calls(calls),
            Some(Err(_)) => Err(InvalidConfig::new("window", text, Self::EXPECTED)),
            None => Self::time(time("window", text)?),
        }
    }

    fn from_table(table: WindowTable) -> Result<Self, InvalidConfig> {
        let window = match (table.calls, table.time) {
            (Some(calls), None) => Self::calls(calls),
            (None, Some(text)) => Self::time(time("window.time", &text)?),
            (calls, _) => {
                let allowed = "there where window.time is not, and only there";
                let value = calls.map_or("left out".to_owned(), |calls| calls.to_string());
                return Err(InvalidConfig::new("window.calls", value, allowed));
            }
        }?;
        table
            .buckets
            .map_or(Ok(window.clone()), |buckets| window.with_buckets(buckets))
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (calls, time, buckets) = match self.0 {
            Kind::Calls(calls) => (Some(calls), None, None),
            Kind::Time { span, buckets } => (None, Some(written(span)), Some(buckets)),
        };
        let table = WindowTable {
            calls,
            time,
            buckets,
        };
        table.serialize(serializer)
    }
}

#[derive(Read, Write)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenTimeTable {
    base: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cap: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_max: Option<String>,
}

impl TextOrTable for OpenTime {
    type Table = OpenTimeTable;
    const EXPECTED: &str = "a time such as \"5s\", or a table with `base`, `factor`, `cap`, \
        `jitter`, `decay` and `retry_after_max`";

    fn from_text(text: &str) -> Result<Self, InvalidConfig> {
        Self::fixed(time("open_time", text)?)
    }

    fn from_table(table: OpenTimeTable) -> Result<Self, InvalidConfig> {
        let base = time("open_time.base", &table.base)?;
        let mut open_time = match (table.factor, table.cap) {
            (None, None) => Self::fixed(base),
            (Some(factor), Some(cap)) => Self::growing(base, factor, time("open_time.cap", &cap)?),
            (factor, _) => {
                let allowed = "there where open_time.cap is, and only there";
                let value = factor.map_or("left out".to_owned(), |factor| factor.to_string());
                return Err(InvalidConfig::new("open_time.factor", value, allowed));
            }
        }?;
        if let Some(jitter) = table.jitter {
            open_time = open_time.with_jitter(ratio("open_time.jitter", jitter)?);
        }
        if let Some(decay) = table.decay {
            open_time = open_time.with_decay(time("open_time.decay", &decay)?)?;
        }
        if let Some(max) = table.retry_after_max {
            open_time = open_time.with_retry_after(time("open_time.retry_after_max", &max)?)?;
        }
        Ok(open_time)
    }
}

impl Serialize for OpenTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let table = OpenTimeTable {
            base: written(self.base),
            factor: self.growth.map(|growth| growth.factor()),
            cap: self.growth.map(|growth| written(growth.cap())),
            jitter: self.jitter.map(Ratio::get),
            decay: self.decay.map(written),
            retry_after_max: self.retry_after_max.map(written),
        };
        table.serialize(serializer)
    }
}

#[derive(Read, Write)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelTable {
    failure_if_older_than: String,
}

impl TextOrTable for CancelPolicy {
    type Table = CancelTable;
    const EXPECTED: &str = "\"ignore\", \"failure\", or a table with `failure_if_older_than`";

    fn from_text(text: &str) -> Result<Self, InvalidConfig> {
        match text {
            "ignore" => Ok(Self::Ignore),
            "failure" => Ok(Self::Failure),
            _ => Err(InvalidConfig::new("cancel", text, Self::EXPECTED)),
        }
    }

    fn from_table(table: CancelTable) -> Result<Self, InvalidConfig> {
        let age = time("cancel.failure_if_older_than", &table.failure_if_older_than)?;
        Ok(Self::FailureIfOlderThan(age))
    }
}

impl Serialize for CancelPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Ignore => serializer.serialize_str("ignore"),
            Self::Failure => serializer.serialize_str("failure"),
            Self::FailureIfOlderThan(age) => {
                let failure_if_older_than = written(*age);
                CancelTable {
                    failure_if_older_than,
                }
                .serialize(serializer)
            }
        }
    }
}

macro_rules! by_text_or_table {
    ($($value:ty),*) => {$(
        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text_or_table(deserializer)
            }
        }
    )*};
}

by_text_or_table!(Window, OpenTime, CancelPolicy);

pub(super) fn ratio(field: &'static str, ratio: f64) -> Result<Ratio, InvalidConfig> {
    Ratio::new(ratio).map_err(|error| error.of(field))
}
