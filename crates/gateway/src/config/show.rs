//! A configuration written as the file is: every field with its value, given or by default.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use stanchion_ratelimit::{MissingKey, Policy};

use crate::guard;

use super::text::Size;
use super::{
    Admin, Config, Endpoint, HostPattern, LimitBy, Listen, LogTarget, Redis, Route, Shutdown, Tier,
    Upstream,
};

#[derive(Serialize)]
struct Shown<'a> {
    workers: usize,
    access_log: &'a LogTarget,
    trace_ratio: f64,
    listen: &'a Listen,
    admin: &'a Admin,
    shutdown: &'a Shutdown,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tier: BTreeMap<&'a str, &'a Tier>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    redis: BTreeMap<&'a str, &'a Redis>,
    upstream: BTreeMap<&'a str, &'a Upstream>,
    route: Vec<ShownRoute<'a>>,
}

#[derive(Serialize)]
struct ShownRoute<'a> {
    upstream: &'a str,
    #[serde(flatten)]
    route: &'a Route,
}

/// Writes what [`Config::from_toml`] reads, with every default filled in.
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let upstreams = self.upstreams.iter();
        let routes = self.routes.iter().map(|route| ShownRoute {
            upstream: &self.upstreams[route.upstream].name,
            route,
        });
        let shown = Shown {
            workers: self.workers.get(),
            access_log: &self.access_log,
            trace_ratio: self.trace_ratio,
            listen: &self.listen,
            admin: &self.admin,
            shutdown: &self.shutdown,
            tier: self.tiers.iter().map(|tier| (&*tier.name, tier)).collect(),
            redis: self
                .redis
                .iter()
                .map(|redis| (&*redis.name, redis))
                .collect(),
            upstream: upstreams
                .map(|upstream| (&*upstream.name, upstream))
                .collect(),
            route: routes.collect(),
        };
        shown.serialize(serializer)
    }
}

impl Serialize for LogTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Stdout => serializer.serialize_str("stdout"),
            Self::File(path) => serializer.collect_str(&format_args!("file:{}", path.display())),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            // No text means every host: it is skipped.
            Self::Any => serializer.serialize_none(),
            Self::Exact(name) => serializer.serialize_str(name),
            Self::Under(name) => serializer.collect_str(&format_args!("*.{name}")),
        }
    }
}

impl Serialize for LimitBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Address | Self::ApiKey => serializer.collect_str(self),
            Self::Header(name) => serializer.collect_str(&format_args!("header:{name}")),
        }
    }
}

/// In the largest unit that writes it as a whole number.
pub(super) fn duration<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = time.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let whole = |(_, unit): &(&str, u128)| millis >= *unit && millis.is_multiple_of(*unit);
    let (unit, size) = units.into_iter().find(whole).unwrap_or(("ms", 1));
    serializer.collect_str(&format_args!("{}{unit}", millis / size))
}

pub(super) fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(super) fn maybe_text<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

pub(super) fn maybe_name<S: Serializer>(
    name: &Option<Arc<str>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    name.as_deref().serialize(serializer)
}

/// What may be turned off by `false`.
pub(super) fn or_false<T: Serialize, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_bool(false),
    }
}

/// What may be turned off by 0.
pub(super) fn number_or_zero<S: Serializer>(
    number: &Option<NonZeroU32>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(number.map_or(0, NonZeroU32::get))
}

pub(super) fn maybe_duration<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => duration(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// The limits on heads, as fields of the listener.
pub(super) fn heads<S: Serializer>(
    limits: &guard::Limits,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Heads {
        head_bytes_max: String,
        fields_max: usize,
        uri_bytes_max: String,
    }
    let heads = Heads {
        head_bytes_max: Size(limits.head_bytes_max as u64).to_string(),
        fields_max: limits.fields_max,
        uri_bytes_max: Size(limits.uri_bytes_max as u64).to_string(),
    };
    heads.serialize(serializer)
}

/// In the largest unit that writes it as a whole number.
pub(super) fn size<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Size(*bytes))
}

pub(super) fn texts<T: Display, S: Serializer>(
    values: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

pub(super) fn name<S: Serializer>(name: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name)
}

/// Whether they are not of the file.
pub(super) fn are_found(endpoints: &[Endpoint]) -> bool {
    endpoints.iter().all(|endpoint| endpoint.found)
}

/// Servers as their URLs, those that are not like the others as tables.
pub(super) fn endpoints<S: Serializer>(
    endpoints: &[Endpoint],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Shown {
        Url(String),
        Table {
            url: String,
            weight: u16,
            priority: u8,
            #[serde(skip_serializing_if = "str::is_empty")]
            zone: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            in_flight_max: Option<NonZeroU32>,
        },
    }
    serializer.collect_seq(endpoints.iter().map(|endpoint| {
        let url = format!("http://{}", endpoint.url);
        let like_others = endpoint.weight == 1
            && endpoint.priority == 0
            && endpoint.zone.is_empty()
            && endpoint.in_flight_max.is_none();
        match like_others {
            true => Shown::Url(url),
            false => Shown::Table {
                url,
                weight: endpoint.weight,
                priority: endpoint.priority,
                zone: endpoint.zone.to_string(),
                in_flight_max: endpoint.in_flight_max,
            },
        }
    }))
}

/// The prefix, or `false`.
pub(super) fn strip_prefix<S: Serializer>(
    prefix: &Option<Box<str>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match prefix {
        Some(prefix) => serializer.serialize_str(prefix),
        None => serializer.serialize_bool(false),
    }
}

/// As `algorithm` and `rate`.
pub(super) fn policy<S: Serializer>(policy: &Policy, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown {
        algorithm: &'static str,
        rate: String,
    }
    let shown = Shown {
        algorithm: policy.algorithm(),
        rate: rate(policy),
    };
    shown.serialize(serializer)
}

/// The policy's text without the name of its algorithm.
pub(crate) fn rate(policy: &Policy) -> String {
    let text = policy.to_string();
    match text.strip_prefix(policy.algorithm()) {
        Some(rate) => rate.trim_start().to_owned(),
        None => text,
    }
}

pub(super) fn tiers<S: Serializer>(
    tiers: &BTreeMap<Arc<str>, Policy>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tiers.iter().map(|(tier, policy)| (&**tier, rate(policy))))
}

pub(super) fn hashes<S: Serializer>(hashes: &[[u8; 32]], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(hashes.iter().map(|hash| {
        let mut text = String::from("sha256:");
        for byte in hash {
            // Writing to a string never fails.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }))
}

/// The addresses of servers, without what stands before an `@`.
pub(super) fn servers<S: Serializer>(
    servers: &[Box<str>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(servers.iter().map(|server| {
        match (server.split_once("://"), server.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
            _ => server.to_string(),
        }
    }))
}

pub(super) fn missing<S: Serializer>(
    missing: &MissingKey,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(missing_word(*missing))
}

/// The word for it in the file.
pub(crate) fn missing_word(missing: MissingKey) -> &'static str {
    match missing {
        MissingKey::Share => "share",
        MissingKey::Pass => "pass",
        _ => "refuse",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_written_reads_as_the_same_configuration() {
        let config = Config::from_toml(include_str!("../../examples/gateway.toml")).unwrap();
        let table = toml::Table::try_from(&config).unwrap();
        let text = toml::to_string(&table).unwrap();
        let again = Config::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(format!("{again:?}"), format!("{config:?}"), "{text}");
    }

    #[test]
    fn what_has_no_default_is_written_too() {
        let text = r#"
            access_log = "file:/tmp/x.json"
            listen = { address = "127.0.0.1:0", trusted = ["10.0.0.0/8"], idle_timeout = "90s" }
            admin = { address = "0.0.0.0:0", token_file = "/run/token", hosts = ["a.test"] }
            tier.gold.api_keys = [
                "sha256:8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480D7A",
            ]
            upstream.a.endpoints = ["http://a.test", "http://[::1]:9001"]
            upstream.b = { endpoints = ["http://b.test:8080"], checks = { interval = "1s" }, forwarded = "both" }
            [upstream.c]
            endpoints = ["http://c.test", { url = "http://d.test", zone = "z", in_flight_max = 9 }]
            local_zone = "z"
            slow_start = { aggression = 1.5 }
            policy = "maglev"
            hash = { by = "query:id", bound = 1.5 }
            affinity = { cookie = "lb", secret = "file:/s", old_secrets = ["env:S"], max_age = "1h", domain = "c.test" }
            checks = { path = "/up?x", status = "200-299", host = "c.test", degraded_header = "X-Ill" }
            outliers = { consecutive = 0, success_rate = false, failure_percentage = true }
            [[route]]
            id = "x"
            host = "*.a.test"
            upstream = "b"
            limit = [{ by = "header:x-a", rate = "10/s", burst = 3, missing = "pass" },
                     { by = "api-key", algorithm = "fixed-window", rate = "7/m",
                       tiers = { gold = "9/m" }, listed_only = true }]
            path_prefix = "/api/v1"
            strip_prefix = "/api"
            request_headers = { set = { X-A = "1" }, add = { x-b = "\"2\"" }, remove = ["Cookie"] }
            [route.response_headers.set]
            strict-transport-security = "max-age=31536000"
        "#;
        let config = Config::from_toml(text).unwrap();
        let shown = serde_json::to_value(&config).unwrap();
        assert_eq!(shown["access_log"], "file:/tmp/x.json");
        assert_eq!(shown["listen"]["trusted"][0], "10.0.0.0/8");
        assert_eq!(shown["listen"]["idle_timeout"], "90s");
        assert_eq!(shown["admin"]["token_file"], "/run/token");
        assert_eq!(shown["admin"]["hosts"][0], "a.test");
        assert_eq!(shown["upstream"]["a"]["endpoints"][0], "http://a.test:80");
        assert_eq!(shown["upstream"]["a"]["forwarded"], "x-forwarded");
        assert_eq!(shown["upstream"]["b"]["forwarded"], "both");
        let upstream = &shown["upstream"]["c"];
        assert_eq!(upstream["endpoints"][1]["in_flight_max"], 9);
        assert_eq!(upstream["slow_start"]["window"], "30s");
        assert_eq!(upstream["hash"]["by"], "query:id");
        assert_eq!(upstream["affinity"]["old_secrets"][0], "env:S");
        let checks = &upstream["checks"];
        assert_eq!(
            (&checks["path"], &checks["status"]),
            (&"/up?x".into(), &"200-299".into())
        );
        let checks = &shown["upstream"]["b"]["checks"];
        assert_eq!(
            (&checks["path"], &checks["timeout"]),
            (&Value::Null, &"500ms".into())
        );
        let outliers = &upstream["outliers"];
        assert_eq!(outliers["success_rate"], false);
        assert_eq!(outliers["failure_percentage"]["percent"], 85);
        let route = &shown["route"][0];
        assert_eq!(
            (&route["host"], &route["upstream"]),
            (&"*.a.test".into(), &"b".into())
        );
        assert_eq!(route["strip_prefix"], "/api");
        let edits = &route["request_headers"];
        assert_eq!(
            (&edits["set"]["x-a"], &edits["add"]["x-b"]),
            (&"***".into(), &"***".into())
        );
        assert_eq!(edits["remove"][0], "cookie");
        let limit = &route["limit"][0];
        assert_eq!(
            (&limit["by"], &limit["missing"]),
            (&"header:x-a".into(), &"pass".into())
        );
        let limit = &route["limit"][1];
        assert_eq!(
            (&limit["algorithm"], &limit["rate"]),
            (&"fixed-window".into(), &"7/m".into())
        );
        assert_eq!(limit["tiers"]["gold"], "9/m");
        let text = toml::to_string(&toml::Table::try_from(&config).unwrap()).unwrap();
        let mut again = Config::from_toml(&text).unwrap();
        // All that is written but the secrets.
        again.routes[0].request_headers = config.routes[0].request_headers.clone();
        assert_eq!(format!("{again:?}"), format!("{config:?}"), "{text}");
    }

    #[cfg(feature = "redis")]
    #[test]
    fn what_is_counted_in_redis_is_written_without_its_password() {
        let text = r#"
            listen.address = "127.0.0.1:0"
            redis.main.servers = ["redis://anna:s3cret@r.test:6379/1"]
            redis.more = { servers = ["redis://a.test", "redis://b.test"], cluster = true }
            upstream.a.endpoints = ["http://a.test"]
            [[route]]
            id = "x"
            upstream = "a"
            [[route.limit]]
            by = "address"
            rate = "10/s"
            store = "main"
            outage = "local"
            instances = 3
            lease = 5
        "#;
        let config = Config::from_toml(text).unwrap();
        let shown = serde_json::to_value(&config).unwrap();
        let server = &shown["redis"]["main"]["servers"][0];
        assert_eq!(server, "redis://***@r.test:6379/1");
        assert!(!shown.to_string().contains("s3cret"));
        let text = toml::to_string(&toml::Table::try_from(&config).unwrap()).unwrap();
        let again = Config::from_toml(&text).unwrap();
        assert_eq!(again.routes, config.routes);
        assert_eq!(again.redis[1], config.redis[1]);
    }
}
