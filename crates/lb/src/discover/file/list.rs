//! The text of a list; pure.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::FileError;
use crate::{ENDPOINTS_MAX, Endpoint, Locality};

/// What a list is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

impl Format {
    /// JSON if the name of the file ends so, else TOML.
    pub(super) fn of(path: &Path) -> Self {
        match path.extension().and_then(|end| end.to_str()) {
            Some(end) if end.eq_ignore_ascii_case("json") => Self::Json,
            _ => Self::Toml,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "A: FromStr<Err: fmt::Display>")]
struct List<A> {
    endpoint: Vec<Entry<A>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "A: FromStr<Err: fmt::Display>")]
struct Entry<A> {
    id: Option<String>,
    address: Address<A>,
    #[serde(default = "one")]
    weight: u16,
    #[serde(default)]
    priority: u8,
    #[serde(default)]
    region: String,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    sub_zone: String,
    in_flight_max: Option<NonZeroU32>,
    #[serde(default)]
    incarnation: u64,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

fn one() -> u16 {
    1
}

/// An address, and how it was written.
struct Address<A> {
    address: A,
    text: String,
}

impl<'de, A: FromStr<Err: fmt::Display>> Deserialize<'de> for Address<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(address) => Ok(Self { address, text }),
            Err(error) => Err(D::Error::custom(format_args!("{text:?}: {error}"))),
        }
    }
}

/// The endpoints that a text lists, in its order; see [`FileWatch`](super::FileWatch) for how it is
/// written.
///
/// # Errors
///
/// The line and the field that are wrong.
///
/// # Examples
///
/// ```
/// use std::net::SocketAddr;
/// use stanchion_lb::discover::{Format, parse};
///
/// let endpoints = parse::<SocketAddr>(r#"endpoint = [{ address = "10.0.0.1:80" }]"#, Format::Toml)?;
/// assert_eq!(endpoints[0].id().as_str(), "10.0.0.1:80");
///
/// let error = parse::<SocketAddr>("[[endpoint]]\naddress = 7", Format::Toml).unwrap_err();
/// assert_eq!((error.line(), error.field()), (Some(2), Some("endpoint[0].address")));
/// # Ok::<(), stanchion_lb::discover::FileError>(())
/// ```
pub fn parse<A>(text: &str, format: Format) -> Result<Vec<Endpoint<A>>, FileError>
where
    A: FromStr<Err: fmt::Display>,
{
    let list: List<A> = match format {
        Format::Toml => from_toml(text)?,
        Format::Json => from_json(text)?,
    };
    let count = list.endpoint.len();
    if count > ENDPOINTS_MAX {
        let message = format!("{count} endpoints, at most {ENDPOINTS_MAX} are allowed");
        return Err(FileError::wrong(None, Some("endpoint".into()), message));
    }
    let endpoints: Vec<Endpoint<A>> = list.endpoint.into_iter().map(endpoint).collect();
    let mut places = HashMap::with_capacity(count);
    for (place, endpoint) in endpoints.iter().enumerate() {
        if let Some(first) = places.insert(endpoint.id(), place) {
            let message = format!("{:?} is the id of endpoint[{first}] too", endpoint.id());
            let field = format!("endpoint[{place}].id");
            return Err(FileError::wrong(None, Some(field), message));
        }
    }
    Ok(endpoints)
}

fn from_toml<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, FileError> {
    let wrong = |field: Option<String>, error: &toml::de::Error| {
        let line = |span: std::ops::Range<usize>| {
            let before = text.as_bytes().iter().take(span.start);
            1 + before.filter(|&&byte| byte == b'\n').count()
        };
        FileError::wrong(error.span().map(line), field, error.message().to_owned())
    };
    let document = toml::Deserializer::parse(text).map_err(|error| wrong(None, &error))?;
    serde_path_to_error::deserialize(document)
        .map_err(|error| wrong(field(error.path()), error.inner()))
}

fn from_json<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, FileError> {
    let wrong = |field: Option<String>, error: &serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        // The line is told by itself.
        let place = format!(" at line {line} column {column}");
        let message = message.strip_suffix(&place).unwrap_or(&message);
        let line = (line > 0).then_some(line);
        FileError::wrong(line, field, message.to_owned())
    };
    let mut document = serde_json::Deserializer::from_str(text);
    let list = serde_path_to_error::deserialize(&mut document)
        .map_err(|error| wrong(field(error.path()), error.inner()))?;
    document.end().map_err(|error| wrong(None, &error))?;
    Ok(list)
}

fn field(path: &serde_path_to_error::Path) -> Option<String> {
    let path = path.to_string();
    (path != ".").then_some(path)
}

fn endpoint<A>(entry: Entry<A>) -> Endpoint<A> {
    let id = entry.id.unwrap_or(entry.address.text);
    let locality = Locality::zone(entry.zone)
        .with_region(entry.region)
        .with_sub_zone(entry.sub_zone);
    let mut endpoint = Endpoint::new(id, entry.address.address)
        .with_incarnation(entry.incarnation)
        .with_weight(entry.weight)
        .with_priority(entry.priority)
        .with_locality(locality);
    if let Some(max) = entry.in_flight_max {
        endpoint = endpoint.with_in_flight_max(max);
    }
    for (name, value) in entry.metadata {
        endpoint = endpoint.with_metadata(Arc::<str>::from(name), Arc::<str>::from(value));
    }
    endpoint
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const TOML: &str = r#"
        [[endpoint]]
        address = "10.0.0.1:8080"

        [[endpoint]]
        id = "web-2"
        address = "10.0.0.2:8080"
        weight = 3
        priority = 1
        region = "eu"
        zone = "eu-1a"
        sub_zone = "rack-7"
        in_flight_max = 100
        incarnation = 7
        metadata = { version = "7" }
    "#;

    const JSON: &str = r#"{ "endpoint": [
        { "address": "10.0.0.1:8080" },
        { "id": "web-2", "address": "10.0.0.2:8080", "weight": 3, "priority": 1, "region": "eu",
          "zone": "eu-1a", "sub_zone": "rack-7", "in_flight_max": 100, "incarnation": 7,
          "metadata": { "version": "7" } }
    ] }"#;

    #[test]
    fn both_formats_say_the_same() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let expected = [
            Endpoint::new("10.0.0.1:8080", address("10.0.0.1:8080")),
            Endpoint::new("web-2", address("10.0.0.2:8080"))
                .with_weight(3)
                .with_priority(1)
                .with_locality(
                    Locality::zone("eu-1a")
                        .with_region("eu")
                        .with_sub_zone("rack-7"),
                )
                .with_in_flight_max(NonZeroU32::new(100).unwrap())
                .with_incarnation(7)
                .with_metadata("version", "7"),
        ];
        assert_eq!(parse(TOML, Format::Toml).unwrap(), expected);
        assert_eq!(parse(JSON, Format::Json).unwrap(), expected);
        for (none, format) in [
            ("endpoint = []", Format::Toml),
            (r#"{"endpoint":[]}"#, Format::Json),
        ] {
            assert_eq!(parse::<SocketAddr>(none, format).unwrap(), []);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_line_and_field() {
        use Format::{Json, Toml};
        for (format, text, line, field, message) in [
            (
                Toml,
                "[[endpoint]]\naddress = '1.1.1.1:1'\nweight = 70000",
                Some(3),
                "endpoint[0].weight",
                "70000",
            ),
            (
                Toml,
                "[[endpoint]]\naddress = 'here'",
                Some(2),
                "endpoint[0].address",
                "\"here\": invalid socket",
            ),
            (
                Toml,
                "[[endpoint]]\naddress = '1.1.1.1:1'\nwieght = 3",
                Some(3),
                "endpoint[0].wieght",
                "unknown field",
            ),
            (
                Toml,
                "[[endpoint]]\nid = 'a'",
                Some(1),
                "endpoint[0]",
                "missing field `address`",
            ),
            (
                Toml,
                "[[endpoint]]\naddress = '1.1.1.1:1'\nin_flight_max = 0",
                Some(3),
                "endpoint[0].in_flight_max",
                "nonzero",
            ),
            (Toml, "", None, "", "missing field `endpoint`"),
            (Toml, "x\n= [", Some(1), "", ""),
            (
                Json,
                "{\"endpoint\": [\n{\"address\": \"1.1.1.1:1\",\n\"weight\": -1}]}",
                Some(3),
                "endpoint[0].weight",
                "-1",
            ),
            (
                Json,
                "{\"endpoint\": [\n{\"address\": \"here\"}]}",
                Some(2),
                "endpoint[0].address",
                "\"here\": invalid socket",
            ),
            (Json, "{}", Some(1), "", "missing field `endpoint`"),
            (
                Json,
                "{\"endpoint\": []} x",
                Some(1),
                "",
                "trailing characters",
            ),
            (Json, "", Some(1), "", "EOF"),
            (
                Toml,
                "endpoint = [{ address = '1.1.1.1:1' }, { address = '1.1.1.1:1' }]",
                None,
                "endpoint[1].id",
                "\"1.1.1.1:1\" is the id of endpoint[0] too",
            ),
        ] {
            let error = parse::<SocketAddr>(text, format).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(message), "{told}");
            assert_eq!(error.field().unwrap_or_default(), field, "{told}");
            if line.is_some() {
                assert_eq!(error.line(), line, "{told}");
            }
        }
    }
}
