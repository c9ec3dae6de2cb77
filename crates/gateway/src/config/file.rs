//! The file as it is written, and how it becomes a [`Config`].

mod balancing;
mod breakers;
mod checks;
mod discovery;
mod endpoints;
mod keys;
mod limits;
mod routes;
mod throttles;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use crate::guard;

use super::error::{ConfigError, Mistake};
use super::field::field_at;
use super::text::{AdminHost, FromText, Name, Size, Text, TokenFile, Zone};
use super::{
    Admin, BodyLimits, Config, EncodedSlash, Listen, LogTarget, Overrides, Policy, Protocol,
    Shutdown, Telling, Upstream,
};
use balancing::{OutliersTable, SlowStartTable};
use breakers::BreakerTable;
use checks::ChecksTable;
use discovery::DiscoveryTable;
use endpoints::EndpointEntry;
use keys::{AffinityTable, HashTable};
use limits::{Known, RedisTable, TierTable};
use routes::RouteTable;
use throttles::ThrottleTable;

type Written<T> = Spanned<Text<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    workers: Option<Spanned<usize>>,
    access_log: Option<Text<LogTarget>>,
    trace_ratio: Option<Spanned<f64>>,
    listen: ListenTable,
    #[serde(default)]
    admin: AdminTable,
    #[serde(default)]
    shutdown: ShutdownTable,
    #[serde(default)]
    tier: BTreeMap<Spanned<String>, TierTable>,
    #[serde(default)]
    redis: BTreeMap<Spanned<String>, RedisTable>,
    upstream: BTreeMap<Spanned<String>, UpstreamTable>,
    route: Vec<Spanned<RouteTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListenTable {
    address: Text<SocketAddr>,
    connections_max: Option<Spanned<usize>>,
    streams_max: Option<Spanned<usize>>,
    header_timeout: Option<Written<Duration>>,
    body_timeout: Option<Written<Duration>>,
    idle_timeout: Option<Written<Duration>>,
    head_bytes_max: Option<Written<Size>>,
    fields_max: Option<Spanned<usize>>,
    uri_bytes_max: Option<Written<Size>>,
    body_bytes_max: Option<Written<Size>>,
    body_rate_min: Option<Written<Size>>,
    encoded_slash: Option<Text<EncodedSlash>>,
    #[serde(default)]
    trusted: Vec<Text<IpNet>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminTable {
    address: Option<Text<SocketAddr>>,
    token_file: Option<Text<TokenFile>>,
    #[serde(default)]
    hosts: Vec<Text<AdminHost>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShutdownTable {
    announce: Option<Written<Duration>>,
    idle_grace: Option<Written<Duration>>,
    deadline: Option<Written<Duration>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamTable {
    endpoints: Option<Spanned<Vec<Spanned<EndpointEntry>>>>,
    discovery: Option<Spanned<DiscoveryTable>>,
    #[serde(default)]
    policy: Policy,
    hash: Option<Spanned<HashTable>>,
    affinity: Option<Spanned<AffinityTable>>,
    panic_threshold: Option<Spanned<usize>>,
    overprovisioning: Option<Spanned<usize>>,
    local_zone: Option<Text<Zone>>,
    zone_endpoints_min: Option<Spanned<usize>>,
    slow_start: Option<SlowStartTable>,
    outliers: Option<OutliersTable>,
    checks: Option<ChecksTable>,
    #[serde(default)]
    protocol: Protocol,
    #[serde(default)]
    forwarded: Telling,
    streams_max: Option<Spanned<usize>>,
    connect_timeout: Option<Written<Duration>>,
    response_timeout: Option<Written<Duration>>,
    connections_max: Option<Spanned<usize>>,
    idle_max: Option<Spanned<usize>>,
    idle_timeout: Option<Written<Duration>>,
    breaker: Option<Spanned<BreakerTable>>,
    throttle: Option<Spanned<ThrottleTable>>,
}

pub(super) fn read(text: &str) -> Result<Config, ConfigError> {
    let file: File = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let field = field_at(text, offset);
        let message = error.message().to_owned();
        ConfigError::new(vec![Mistake::new(text, offset, field, message)])
    })?;
    let mut reader = Reader {
        text,
        mistakes: Vec::new(),
    };
    let config = reader.config(file);
    if reader.mistakes.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::new(reader.mistakes))
    }
}

/// Turns the file into the value, and collects the mistakes on the way: where there is one, a
/// stand-in goes on in its place, and the value is thrown away at the end.
struct Reader<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

const SECOND: Duration = Duration::from_secs(1);
/// What a wait for someone else may last.
const WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
/// What a step of the shutdown may last.
const PAUSE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);
const WORKERS_MAX: usize = 256;
/// hyper takes no more without allocating for each request.
const FIELDS_MAX: usize = 100;
/// What holds for bodies where nothing else is said.
const BODIES: BodyLimits = BodyLimits {
    bytes_max: 64 * MIB,
    rate_min: 100,
};
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// What a body may be at most, wherever the most is set.
const BODY_BYTES: RangeInclusive<u64> = 0..=(1 << 40);
/// How fast a body can be asked to come in; beyond, no client on the far side of the world is.
const BODY_RATE: RangeInclusive<u64> = 0..=MIB;

impl Reader<'_> {
    fn config(&mut self, file: File) -> Config {
        let workers = self.number(file.workers, default_workers(), 1..=WORKERS_MAX);
        let names: Vec<String> = file
            .upstream
            .keys()
            .map(|name| name.get_ref().clone())
            .collect();
        let listen = self.listen(file.listen);
        let tiers = self.tiers(file.tier);
        let redis = self.redis(file.redis);
        let known = Known::new(&tiers, &redis);
        Config {
            workers: NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN),
            access_log: file
                .access_log
                .map_or_else(LogTarget::default, |target| target.0),
            trace_ratio: self.ratio(file.trace_ratio, 0.0),
            admin: admin(file.admin),
            shutdown: self.shutdown(file.shutdown),
            upstreams: file
                .upstream
                .into_iter()
                .map(|(name, table)| self.upstream(&name, table))
                .collect(),
            routes: self.routes(file.route, &names, &known, listen.bodies),
            listen,
            tiers,
            redis,
            source: None,
            overrides: Overrides::default(),
        }
    }

    fn listen(&mut self, table: ListenTable) -> Listen {
        let heads = self.heads(&table);
        Listen {
            address: table.address.0,
            connections_max: self.number(table.connections_max, 10_000, 1..=1_000_000),
            streams_max: u32::try_from(self.number(table.streams_max, 100, 1..=10_000))
                .unwrap_or(u32::MAX),
            header_timeout: self.duration(table.header_timeout, 10 * SECOND, WAIT),
            body_timeout: self.duration(table.body_timeout, 30 * SECOND, WAIT),
            idle_timeout: self.duration(table.idle_timeout, 60 * SECOND, WAIT),
            heads,
            bodies: self.bodies(table.body_bytes_max, table.body_rate_min, BODIES),
            encoded_slash: table.encoded_slash.map_or_else(Default::default, |it| it.0),
            trusted: table.trusted.into_iter().map(|net| net.0).collect(),
        }
    }

    fn heads(&mut self, table: &ListenTable) -> guard::Limits {
        let bytes_max = self.size(&table.head_bytes_max, 32 * KIB, KIB..=MIB);
        // hyper takes no longer target, and none fits into a head that is not longer.
        let uri_max = (bytes_max / 2).min(60 * KIB);
        let uri = self.size(&table.uri_bytes_max, uri_max.min(8 * KIB), 64..=uri_max);
        guard::Limits {
            head_bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            fields_max: self.number(table.fields_max.clone(), 100, 1..=FIELDS_MAX),
            uri_bytes_max: usize::try_from(uri).unwrap_or(usize::MAX),
        }
    }

    fn bodies(
        &mut self,
        bytes_max: Option<Written<Size>>,
        rate_min: Option<Written<Size>>,
        default: BodyLimits,
    ) -> BodyLimits {
        BodyLimits {
            bytes_max: self.size(&bytes_max, default.bytes_max, BODY_BYTES),
            rate_min: self.size(&rate_min, default.rate_min, BODY_RATE),
        }
    }

    fn shutdown(&mut self, table: ShutdownTable) -> Shutdown {
        Shutdown {
            announce: self.duration(table.announce, Duration::ZERO, PAUSE),
            idle_grace: self.duration(table.idle_grace, SECOND / 2, PAUSE),
            deadline: self.duration(table.deadline, 30 * SECOND, PAUSE),
        }
    }

    fn upstream(&mut self, name: &Spanned<String>, mut table: UpstreamTable) -> Upstream {
        if Name::from_text(name.get_ref()).is_none() {
            let message = format!("{:?} given, expected {}", name.get_ref(), Name::EXPECTED);
            self.mistake(&name.span(), message);
        }
        let balancing = self.balancing(&mut table);
        let discovery = table.discovery.take();
        let servers = table.endpoints.as_ref().map_or(name.span(), Spanned::span);
        match (&table.endpoints, &discovery) {
            (Some(_), Some(discovery)) => {
                let message = "given beside endpoints, expected one of the two";
                self.mistake(&discovery.span(), message.to_owned());
            }
            (None, None) => {
                let message = "expected its endpoints, or a discovery that finds them";
                self.mistake(&name.span(), message.to_owned());
            }
            _ => {}
        }
        let discovery = discovery.and_then(|table| self.discovery(table));
        let endpoints = table.endpoints.map(|given| self.endpoints(given));
        let endpoints = endpoints.unwrap_or_default();
        let hash = self.hash(table.policy, table.hash);
        self.fits(table.policy, hash.as_ref(), &endpoints, &servers);
        // A connection of HTTP/2 carries many requests.
        let connections_max = match table.protocol {
            Protocol::Http1 => 256,
            Protocol::Http2 => 4,
        };
        let connections_max = self.number(table.connections_max, connections_max, 1..=65_536);
        let idle_max = connections_max.min(64);
        Upstream {
            name: name.get_ref().as_str().into(),
            endpoints,
            discovery,
            policy: table.policy,
            hash,
            affinity: table.affinity.and_then(|table| self.affinity(table)),
            balancing,
            checks: table.checks.map(|checks| self.checks(checks)),
            connect_timeout: self.duration(table.connect_timeout, SECOND, WAIT),
            response_timeout: self.duration(table.response_timeout, 30 * SECOND, WAIT),
            protocol: table.protocol,
            forwarded: table.forwarded,
            streams_max: self.number(table.streams_max, 100, 1..=10_000),
            connections_max,
            idle_max: self.number(table.idle_max, idle_max, 0..=connections_max),
            idle_timeout: self.duration(table.idle_timeout, 30 * SECOND, WAIT),
            breaker: self.breaker(table.breaker),
            throttle: self.throttle(table.throttle),
        }
    }
}

fn admin(table: AdminTable) -> Admin {
    let default = SocketAddr::from(([127, 0, 0, 1], 9901));
    Admin {
        address: table.address.map_or(default, |address| address.0),
        token_file: table.token_file.map(|file| file.0.0),
        hosts: table.hosts.into_iter().map(|host| host.0.0).collect(),
    }
}

fn default_workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    cores.min(WORKERS_MAX)
}
