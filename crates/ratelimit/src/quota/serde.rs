//! Quotas in files: a string such as `"100/s"`, or a table with `rate` and `burst`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::Quota;

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuotaVisitor)
    }
}

struct QuotaVisitor;

const FIELDS: &[&str] = &["rate", "burst"];

impl<'de> Visitor<'de> for QuotaVisitor {
    type Value = Quota;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rate such as \"100/s\", or a table with `rate` and `burst`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Quota, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Quota, A::Error> {
        let mut rate: Option<String> = None;
        let mut burst: Option<u64> = None;
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "rate" if rate.is_some() => return Err(A::Error::duplicate_field("rate")),
                "burst" if burst.is_some() => return Err(A::Error::duplicate_field("burst")),
                "rate" => rate = Some(map.next_value()?),
                "burst" => burst = Some(map.next_value()?),
                other => {
                    map.next_value::<IgnoredAny>()?;
                    return Err(A::Error::unknown_field(other, FIELDS));
                }
            }
        }
        let rate = rate.ok_or_else(|| A::Error::missing_field("rate"))?;
        let quota: Quota = rate.parse().map_err(A::Error::custom)?;
        match burst {
            Some(burst) => quota.with_burst(burst).map_err(A::Error::custom),
            None => Ok(quota),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_and_a_table_say_the_same() {
        let quota: Quota = "100/s burst 20".parse().unwrap();
        let from_table = serde_json::from_str(r#"{"rate":"100/s","burst":20}"#).unwrap();
        assert_eq!(quota, from_table);
        let text = serde_json::to_string(&quota).unwrap();
        assert_eq!(quota, serde_json::from_str(&text).unwrap());
    }

    #[test]
    fn errors_name_the_field() {
        for (json, field) in [
            (r#"{"rate":"100/s","burst":0}"#, "burst"),
            (r#"{"rate":"x"}"#, "rate"),
            (r#"{"burst":1}"#, "rate"),
            (r#"{"rate":"1/s","brust":1}"#, "brust"),
            ("7", "rate"),
        ] {
            let error = serde_json::from_str::<Quota>(json).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
