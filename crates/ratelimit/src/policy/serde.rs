//! Policies in files: a string such as `"fixed-window 100/m"`, or a table with `algorithm`, `rate`,
//! and `burst` or `queue`. The windows alone are strings, `"100/m"`; so is a leaky bucket.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::Policy;
use crate::{
    FixedWindow, LeakyBucket, Quota, SlidingWindowCounter, SlidingWindowLog, StrictWindow,
};

macro_rules! as_a_string {
    ($($policy:ident),*) => {$(
        impl Serialize for $policy {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $policy {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_a_string!(
    LeakyBucket,
    FixedWindow,
    SlidingWindowCounter,
    SlidingWindowLog,
    StrictWindow
);

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PolicyVisitor)
    }
}

struct PolicyVisitor;

const FIELDS: &[&str] = &["algorithm", "rate", "burst", "queue"];

impl<'de> Visitor<'de> for PolicyVisitor {
    type Value = Policy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a policy such as \"100/s\" or \"fixed-window 100/m\", or a table with `algorithm`, \
             `rate`, and `burst` or `queue`",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Policy, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Policy, A::Error> {
        let mut algorithm: Option<String> = None;
        let mut rate: Option<String> = None;
        let mut burst: Option<u64> = None;
        let mut queue: Option<u64> = None;
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "algorithm" if algorithm.is_some() => {
                    return Err(A::Error::duplicate_field("algorithm"));
                }
                "rate" if rate.is_some() => return Err(A::Error::duplicate_field("rate")),
                "burst" if burst.is_some() => return Err(A::Error::duplicate_field("burst")),
                "queue" if queue.is_some() => return Err(A::Error::duplicate_field("queue")),
                "algorithm" => algorithm = Some(map.next_value()?),
                "rate" => rate = Some(map.next_value()?),
                "burst" => burst = Some(map.next_value()?),
                "queue" => queue = Some(map.next_value()?),
                other => {
                    map.next_value::<IgnoredAny>()?;
                    return Err(A::Error::unknown_field(other, FIELDS));
                }
            }
        }
        let algorithm = algorithm.as_deref().unwrap_or("token-bucket");
        let rate = rate.ok_or_else(|| A::Error::missing_field("rate"))?;
        match (algorithm, burst, queue) {
            ("token-bucket", _, None) => {
                let quota: Quota = rate.parse().map_err(A::Error::custom)?;
                let quota = burst.map_or(Ok(quota), |burst| quota.with_burst(burst));
                quota.map(Policy::TokenBucket).map_err(A::Error::custom)
            }
            ("leaky-bucket", None, queue) => {
                let bucket: LeakyBucket = rate.parse().map_err(A::Error::custom)?;
                let queue = queue.unwrap_or(bucket.queue());
                LeakyBucket::new(bucket.count(), bucket.period(), queue)
                    .map(Policy::LeakyBucket)
                    .map_err(A::Error::custom)
            }
            (_, None, None) => format!("{algorithm} {rate}")
                .parse()
                .map_err(A::Error::custom),
            (_, Some(_), _) => Err(A::Error::custom(format_args!(
                "burst is only for a token bucket, and algorithm is {algorithm:?}"
            ))),
            (_, None, Some(_)) => Err(A::Error::custom(format_args!(
                "queue is only for a leaky bucket, and algorithm is {algorithm:?}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_and_a_table_say_the_same() {
        for (text, json) in [
            ("100/s burst 20", r#"{"rate":"100/s","burst":20}"#),
            (
                "100/s burst 20",
                r#"{"algorithm":"token-bucket","rate":"100/s burst 20"}"#,
            ),
            (
                "leaky-bucket 5/s queue 9",
                r#"{"algorithm":"leaky-bucket","rate":"5/s","queue":9}"#,
            ),
            (
                "fixed-window 7/m",
                r#"{"algorithm":"fixed-window","rate":"7/m"}"#,
            ),
            (
                "strict-window 7/m",
                r#"{"rate":"7/m","algorithm":"strict-window"}"#,
            ),
            ("sliding-window-log 7/m", r#""sliding-window-log 7/m""#),
        ] {
            let policy: Policy = text.parse().unwrap();
            assert_eq!(policy, serde_json::from_str(json).unwrap(), "{json}");
            let written = serde_json::to_string(&policy).unwrap();
            assert_eq!(policy, serde_json::from_str(&written).unwrap());
        }
        let window: FixedWindow = serde_json::from_str("\"7/m\"").unwrap();
        assert_eq!(serde_json::to_string(&window).unwrap(), "\"7/m\"");
    }

    #[test]
    fn errors_name_the_field() {
        for (json, field) in [
            (r#"{"rate":"100/s","burst":0}"#, "burst"),
            (
                r#"{"algorithm":"fixed-window","rate":"1/s","burst":1}"#,
                "burst",
            ),
            (
                r#"{"algorithm":"strict-window","rate":"1/s","queue":1}"#,
                "queue",
            ),
            (r#"{"rate":"1/s","queue":1}"#, "queue"),
            (r#"{"algorithm":"leaky","rate":"1/s"}"#, "policy"),
            (r#"{"algorithm":"fixed-window"}"#, "rate"),
            (r#"{"algorithm":"fixed-window","rate":"0/s"}"#, "limit"),
            (r#"{"rate":"1/s","brust":1}"#, "brust"),
            ("7", "rate"),
        ] {
            let error = serde_json::from_str::<Policy>(json)
                .unwrap_err()
                .to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
