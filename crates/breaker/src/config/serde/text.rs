//! Times as text, and fields that can be off.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::InvalidConfig;

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Reads a whole number and a unit: `"250ms"`, `"5s"`, `"2m"`.
pub(super) fn time(field: &'static str, text: &str) -> Result<Duration, InvalidConfig> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = UNITS.iter().find(|(name, _)| *name == unit.trim());
    let nanos = unit.and_then(|(_, nanos)| number.parse::<u64>().ok()?.checked_mul(*nanos));
    nanos.map(Duration::from_nanos).ok_or_else(|| {
        let allowed = "a whole number with ns, us, ms, s, m, h or d, such as \"250ms\"";
        InvalidConfig::new(field, text, allowed)
    })
}

/// Writes a time in the largest unit up to seconds of which it is a whole number.
pub(super) fn written(time: Duration) -> String {
    let nanos = time.as_nanos();
    let mut units = UNITS[..4].iter().rev();
    let whole = units.find(|(_, unit)| nanos.is_multiple_of(u128::from(*unit)));
    let (name, unit) = whole.unwrap_or(&UNITS[0]);
    format!("{}{name}", nanos / u128::from(*unit))
}

/// A value, or `"off"`.
#[derive(Debug, PartialEq)]
pub(super) enum OrOff<T> {
    Off,
    Value(T),
}

impl<T: Serialize> Serialize for OrOff<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Value(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrOff<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OrOffVisitor(PhantomData))
    }
}

struct OrOffVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OrOffVisitor<T> {
    type Value = OrOff<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or \"off\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OrOff<T>, E> {
        match text {
            "off" => Ok(OrOff::Off),
            _ => T::deserialize(StrDeserializer::new(text)).map(OrOff::Value),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<OrOff<T>, E> {
        T::deserialize(number.into_deserializer()).map(OrOff::Value)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<OrOff<T>, E> {
        T::deserialize(number.into_deserializer()).map(OrOff::Value)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<OrOff<T>, E> {
        T::deserialize(number.into_deserializer()).map(OrOff::Value)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OrOff<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(OrOff::Value)
    }
}

/// What stands in a file as a text or as a table.
pub(super) trait TextOrTable: Sized {
    type Table;
    const EXPECTED: &str;

    fn from_text(text: &str) -> Result<Self, InvalidConfig>;
    fn from_table(table: Self::Table) -> Result<Self, InvalidConfig>;
}

pub(super) fn text_or_table<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: TextOrTable<Table: Deserialize<'de>>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(TextOrTableVisitor(PhantomData))
}

struct TextOrTableVisitor<T>(PhantomData<T>);

impl<'de, T: TextOrTable<Table: Deserialize<'de>>> Visitor<'de> for TextOrTableVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        let table = T::Table::deserialize(MapAccessDeserializer::new(map))?;
        T::from_table(table).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_back() {
        for (text, nanos) in [
            ("1ns", 1),
            ("250us", 250_000),
            ("1500ms", 1_500_000_000),
            ("90s", 90_000_000_000),
        ] {
            let read = time("open_time", text).unwrap();
            assert_eq!(read, Duration::from_nanos(nanos));
            assert_eq!(written(read), text);
        }
        assert_eq!(time("open_time", "2 m").unwrap(), Duration::from_secs(120));
        for wrong in ["", "5", "s", "5 sec", "-5s", "1.5s", "99999999999d"] {
            let message = time("open_time", wrong).unwrap_err().to_string();
            assert!(message.starts_with(&format!("open_time is {wrong:?}, must be a whole")));
        }
    }
}
