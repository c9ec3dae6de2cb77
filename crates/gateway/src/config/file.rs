//! The file as it is written, and how it becomes a [`Config`].

mod limits;

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use crate::guard;

use super::edits::{self, EDITS_MAX, EditsTable, FieldEdits};
use super::error::{ConfigError, Mistake};
use super::field::field_at;
use super::text::{
    AdminHost, Endpoint, FromText, Name, PathPrefix, Size, StripPrefix, Text, TokenFile,
};
use super::{
    Admin, BodyLimits, Config, EncodedSlash, HostPattern, Listen, LogTarget, Overrides, Protocol,
    Route, Shutdown, Telling, UNMATCHED, Upstream,
};
use limits::{Known, LimitTable, RedisTable, TierTable};

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
    endpoints: Spanned<Vec<Text<Endpoint>>>,
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    id: Written<Name>,
    host: Option<Written<HostPattern>>,
    path_prefix: Option<Written<PathPrefix>>,
    upstream: Spanned<String>,
    body_bytes_max: Option<Written<Size>>,
    body_rate_min: Option<Written<Size>>,
    strip_prefix: Option<Spanned<StripPrefix>>,
    request_headers: Option<Spanned<EditsTable>>,
    response_headers: Option<Spanned<EditsTable>>,
    #[serde(default)]
    limit: Vec<Spanned<LimitTable>>,
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
const ENDPOINTS_MAX: usize = 256;
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

    fn upstream(&mut self, name: &Spanned<String>, table: UpstreamTable) -> Upstream {
        if Name::from_text(name.get_ref()).is_none() {
            let message = format!("{:?} given, expected {}", name.get_ref(), Name::EXPECTED);
            self.mistake(&name.span(), message);
        }
        let span = table.endpoints.span();
        let endpoints = table.endpoints.into_inner();
        if !(1..=ENDPOINTS_MAX).contains(&endpoints.len()) {
            let count = endpoints.len();
            let message = format!("{count} given, from 1 to {ENDPOINTS_MAX} are allowed");
            self.mistake(&span, message);
        }
        // A connection of HTTP/2 carries many requests.
        let connections_max = match table.protocol {
            Protocol::Http1 => 256,
            Protocol::Http2 => 4,
        };
        let connections_max = self.number(table.connections_max, connections_max, 1..=65_536);
        let idle_max = connections_max.min(64);
        Upstream {
            name: name.get_ref().as_str().into(),
            endpoints: endpoints.into_iter().map(|endpoint| endpoint.0.0).collect(),
            connect_timeout: self.duration(table.connect_timeout, SECOND, WAIT),
            response_timeout: self.duration(table.response_timeout, 30 * SECOND, WAIT),
            protocol: table.protocol,
            forwarded: table.forwarded,
            streams_max: self.number(table.streams_max, 100, 1..=10_000),
            connections_max,
            idle_max: self.number(table.idle_max, idle_max, 0..=connections_max),
            idle_timeout: self.duration(table.idle_timeout, 30 * SECOND, WAIT),
        }
    }

    fn routes(
        &mut self,
        tables: Vec<Spanned<RouteTable>>,
        upstreams: &[String],
        known: &Known,
        bodies: BodyLimits,
    ) -> Vec<Route> {
        let mut ids = HashMap::new();
        let mut matches = HashMap::new();
        let mut routes = Vec::with_capacity(tables.len());
        for table in tables {
            let span = table.span();
            let table = table.into_inner();
            let id_span = table.id.span();
            let id = table.id.into_inner().0.0;
            self.unique(&mut ids, id.clone(), &id_span, &format!("the id {id:?}"));
            if *id == *UNMATCHED {
                let message =
                    format!("{UNMATCHED:?} given, which stands for requests without a route");
                self.mistake(&id_span, message);
            }
            let host = table
                .host
                .map_or(HostPattern::Any, |host| host.into_inner().0);
            let path_prefix = match table.path_prefix {
                Some(path) => path.into_inner().0.0,
                None => "/".to_owned(),
            };
            let key = (host.clone(), path_prefix.clone());
            self.unique(&mut matches, key, &span, "this host and path prefix");
            let named = table.upstream.get_ref();
            let upstream = upstreams.iter().position(|name| name == named);
            if upstream.is_none() {
                let known = listed(upstreams);
                let message = format!("{named:?} given, which is no upstream; there are {known}");
                self.mistake(&table.upstream.span(), message);
            }
            let limits = self.limits(table.limit, &id, known);
            routes.push(Route {
                id,
                host,
                strip_prefix: self.strip_prefix(table.strip_prefix, &path_prefix),
                request_headers: self.edits(table.request_headers),
                response_headers: self.edits(table.response_headers),
                path_prefix,
                upstream: upstream.unwrap_or(0),
                bodies: self.bodies(table.body_bytes_max, table.body_rate_min, bodies),
                limits,
            });
        }
        routes
    }

    fn strip_prefix(
        &mut self,
        given: Option<Spanned<StripPrefix>>,
        path_prefix: &str,
    ) -> Option<Box<str>> {
        let given = given?;
        let span = given.span();
        let prefix = match given.into_inner() {
            StripPrefix::All(false) => return None,
            StripPrefix::All(true) => path_prefix.to_owned(),
            StripPrefix::Path(prefix) => prefix,
        };
        let rest = path_prefix.strip_prefix(prefix.as_str());
        if prefix == "/" {
            let message = format!("{prefix:?} is to be stripped, which leaves every path as it is");
            self.mistake(&span, message);
        } else if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let message =
                format!("{prefix:?} given, which not every path under {path_prefix:?} begins with");
            self.mistake(&span, message);
        }
        Some(prefix.into())
    }

    fn edits(&mut self, table: Option<Spanned<EditsTable>>) -> FieldEdits {
        let Some(table) = table else {
            return FieldEdits::default();
        };
        let span = table.span();
        let EditsTable { remove, set, add } = table.into_inner();
        let count = remove.len() + set.len() + add.len();
        if count > EDITS_MAX {
            let message = format!("{count} fields given, at most {EDITS_MAX} are allowed");
            self.mistake(&span, message);
        }
        let mut removed = HashMap::new();
        let remove = remove.iter();
        FieldEdits {
            remove: remove
                .filter_map(|name| self.field_name(name, &mut removed))
                .collect(),
            set: self.fields(set),
            add: self.fields(add),
        }
    }

    fn fields(&mut self, values: edits::Values) -> Vec<(HeaderName, HeaderValue)> {
        let mut names = HashMap::new();
        let mut values: Vec<_> = values.into_iter().collect();
        // A name that is given twice, in two spellings, is a mistake where it stands second.
        values.sort_by_key(|(name, _)| name.span().start);
        let fields = values.into_iter().filter_map(|(name, value)| {
            let name = self.field_name(&name, &mut names)?;
            Some((name, value.0.0))
        });
        let mut fields: Vec<_> = fields.collect();
        fields.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        fields
    }

    fn field_name(
        &mut self,
        name: &Spanned<String>,
        seen: &mut HashMap<HeaderName, usize>,
    ) -> Option<HeaderName> {
        let (text, span) = (name.get_ref(), name.span());
        match edits::name(text) {
            Ok(name) => {
                self.unique(seen, name.clone(), &span, &format!("the field {text:?}"));
                Some(name)
            }
            Err(message) => {
                self.mistake(&span, message);
                None
            }
        }
    }

    fn unique<K: Hash + Eq>(
        &mut self,
        seen: &mut HashMap<K, usize>,
        key: K,
        span: &Range<usize>,
        what: &str,
    ) {
        match seen.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(span.start);
            }
            Entry::Occupied(entry) => {
                let before = self.text.get(..*entry.get()).unwrap_or("");
                let line = before.matches('\n').count() + 1;
                self.mistake(span, format!("{what} is given twice, first on line {line}"));
            }
        }
    }

    fn number(
        &mut self,
        given: Option<Spanned<usize>>,
        default: usize,
        allowed: RangeInclusive<usize>,
    ) -> usize {
        let Some(given) = given else {
            return default;
        };
        let value = *given.get_ref();
        if !allowed.contains(&value) {
            let (low, high) = allowed.into_inner();
            let message = format!("{value} given, from {low} to {high} is allowed");
            self.mistake(&given.span(), message);
        }
        value
    }

    fn ratio(&mut self, given: Option<Spanned<f64>>, default: f64) -> f64 {
        let Some(given) = given else {
            return default;
        };
        let value = *given.get_ref();
        if !(0.0..=1.0).contains(&value) {
            let message = format!("{value} given, from 0 to 1 is allowed");
            self.mistake(&given.span(), message);
        }
        value
    }

    fn size(
        &mut self,
        given: &Option<Written<Size>>,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> u64 {
        let Some(given) = given else {
            return default;
        };
        let value = given.get_ref().0.0;
        if !allowed.contains(&value) {
            let (low, high) = allowed.into_inner();
            let (value, low, high) = (Size(value), Size(low), Size(high));
            let message = format!("{value} given, from {low} to {high} is allowed");
            self.mistake(&given.span(), message);
        }
        value
    }

    fn duration(
        &mut self,
        given: Option<Written<Duration>>,
        default: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(given) = given else {
            return default;
        };
        let value = given.get_ref().0;
        if !allowed.contains(&value) {
            let (low, high) = allowed.into_inner();
            let message = format!("{value:?} given, from {low:?} to {high:?} is allowed");
            self.mistake(&given.span(), message);
        }
        value
    }

    fn mistake(&mut self, span: &Range<usize>, message: String) {
        let field = field_at(self.text, span.start);
        let mistake = Mistake::new(self.text, span.start, field, message);
        self.mistakes.push(mistake);
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

fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}
