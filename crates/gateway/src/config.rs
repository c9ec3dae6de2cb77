//! What a gateway is told: a value that cannot be wrong once it is built.

mod balancing;
mod breaker;
mod checks;
mod discovery;
mod edits;
mod error;
mod field;
mod file;
pub(crate) mod keys;
mod limit;
mod running;
mod show;
mod source;
mod text;
mod throttle;

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::guard;

pub(crate) use balancing::Balancing;
pub(crate) use breaker::{Breaker, BreakerWindow, Share};
pub(crate) use checks::{Checks, HttpCheck};
pub(crate) use discovery::Discovery;
pub(crate) use edits::FieldEdits;
pub use error::{ConfigError, Mistake, ReadError};
pub(crate) use limit::{LIMITS_MAX, Limit, LimitBy, Outage, Redis, RedisLimit, Tier};
pub(crate) use show::{missing_word, rate};
pub(crate) use source::Source;
pub(crate) use throttle::{Decimal, Throttle};

/// The configuration of one gateway; clones copy.
///
/// It is read from TOML; the crate's page lists every field with its default. Whatever one field
/// or several together could get wrong is refused here, so that a gateway can only fail to start
/// for want of a port, a file or a thread.
///
/// # Examples
///
/// ```
/// use stanchion_gateway::Config;
///
/// let config = Config::from_toml(r#"
///     [listen]
///     address = "127.0.0.1:8080"
///     [upstream.users]
///     endpoints = ["http://127.0.0.1:9001", "http://127.0.0.1:9002"]
///     [[route]]
///     id = "users"
///     path_prefix = "/users"
///     upstream = "users"
/// "#)?;
/// assert_eq!(config.to_string(), "1 route, 1 upstream, 2 endpoints");
///
/// let error = Config::from_toml("[listen]\naddress = 8080").unwrap_err();
/// let mistake = &error.mistakes()[0];
/// assert_eq!((mistake.line(), mistake.field()), (2, "listen.address"));
/// # Ok::<(), stanchion_gateway::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) workers: NonZeroUsize,
    pub(crate) access_log: LogTarget,
    /// Of the traces begun here, those that are sampled; from 0 to 1.
    pub(crate) trace_ratio: f64,
    pub(crate) listen: Listen,
    pub(crate) admin: Admin,
    pub(crate) shutdown: Shutdown,
    /// In the order of their names.
    pub(crate) tiers: Vec<Tier>,
    /// In the order of their names.
    pub(crate) redis: Vec<Redis>,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) routes: Vec<Route>,
    /// Where it was read from, if from a file.
    pub(crate) source: Option<Source>,
    pub(crate) overrides: Overrides,
}

/// What was said besides the file, and holds for its next versions too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    listen: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

/// Where clients come in, and how long each of them may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    pub(crate) connections_max: usize,
    /// Open at a time in one connection of HTTP/2.
    pub(crate) streams_max: u32,
    #[serde(serialize_with = "show::duration")]
    pub(crate) header_timeout: Duration,
    #[serde(serialize_with = "show::duration")]
    pub(crate) body_timeout: Duration,
    #[serde(serialize_with = "show::duration")]
    pub(crate) idle_timeout: Duration,
    #[serde(flatten, serialize_with = "show::heads")]
    pub(crate) heads: guard::Limits,
    #[serde(flatten)]
    pub(crate) bodies: BodyLimits,
    pub(crate) encoded_slash: EncodedSlash,
    #[serde(serialize_with = "show::texts")]
    pub(crate) trusted: Vec<IpNet>,
}

/// How much the body of a request may be, and how slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BodyLimits {
    #[serde(rename = "body_bytes_max", serialize_with = "show::size")]
    pub(crate) bytes_max: u64,
    /// Bytes a second that a body which is waited for must bring; 0 for none.
    #[serde(rename = "body_rate_min", serialize_with = "show::size")]
    pub(crate) rate_min: u64,
}

/// What is done with a path in which a slash or a backslash is percent-encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EncodedSlash {
    /// Servers that decode it before they take the path apart would see another path.
    #[default]
    Refuse,
    /// It is part of its segment, and stays encoded.
    Pass,
}

/// Where the operators come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    /// The file of the token that changes need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// Names besides the bound address and `localhost`, in lower case.
    pub(crate) hosts: Vec<Box<str>>,
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogTarget {
    Off,
    #[default]
    Stdout,
    File(PathBuf),
}

/// How the gateway takes its leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Shutdown {
    #[serde(serialize_with = "show::duration")]
    pub(crate) announce: Duration,
    #[serde(serialize_with = "show::duration")]
    pub(crate) idle_grace: Duration,
    #[serde(serialize_with = "show::duration")]
    pub(crate) deadline: Duration,
}

/// Servers that can answer the same requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Upstream {
    #[serde(skip)]
    pub(crate) name: Arc<str>,
    /// At least one, unless they are found.
    #[serde(serialize_with = "show::endpoints")]
    #[serde(skip_serializing_if = "show::are_found")]
    pub(crate) endpoints: Vec<Endpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) discovery: Option<Discovery>,
    pub(crate) policy: Policy,
    /// There where the policy goes by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hash: Option<keys::Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) affinity: Option<keys::Affinity>,
    #[serde(flatten)]
    pub(crate) balancing: Balancing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checks: Option<Checks>,
    pub(crate) protocol: Protocol,
    pub(crate) forwarded: Telling,
    /// Requests at a time on one connection of HTTP/2.
    pub(crate) streams_max: usize,
    #[serde(serialize_with = "show::duration")]
    pub(crate) connect_timeout: Duration,
    #[serde(serialize_with = "show::duration")]
    pub(crate) response_timeout: Duration,
    pub(crate) connections_max: usize,
    pub(crate) idle_max: usize,
    #[serde(serialize_with = "show::duration")]
    pub(crate) idle_timeout: Duration,
    /// One for each endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) breaker: Option<Breaker>,
    /// One for each endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) throttle: Option<Throttle>,
}

/// The most servers of one upstream.
pub(crate) const ENDPOINTS_MAX: usize = 256;

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port, as `connect` takes them.
    pub(crate) url: Arc<str>,
    /// 0 takes nothing new.
    pub(crate) weight: u16,
    /// The lowest is used first.
    pub(crate) priority: u8,
    /// Where it stands; empty where that is not said.
    pub(crate) zone: Arc<str>,
    /// The most requests that it has at a time, of all workers together.
    pub(crate) in_flight_max: Option<NonZeroU32>,
    /// Tells a server from an earlier one at its address.
    pub(crate) incarnation: u64,
    /// By discovery, and so not listed in the file.
    pub(crate) found: bool,
}

/// Which server a request is sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Policy {
    #[default]
    RoundRobin,
    WeightedRoundRobin,
    Random,
    LeastConnections,
    WeightedLeastConnections,
    P2c,
    PeakEwma,
    Ring,
    Maglev,
    Rendezvous,
}

impl Policy {
    /// How that is done, in a few words.
    pub(crate) const fn does(self) -> &'static str {
        match self {
            Self::RoundRobin => "in turn",
            Self::WeightedRoundRobin => "in turn, by weight",
            Self::Random => "at random",
            Self::LeastConnections => "where the fewest requests are",
            Self::WeightedLeastConnections => "where the fewest requests are, by weight",
            Self::P2c => "to the one of two with fewer requests",
            Self::PeakEwma => "to the one of two that answers sooner",
            Self::Ring | Self::Maglev | Self::Rendezvous => "to whom its key belongs",
        }
    }
}

/// What the servers of an upstream speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Protocol {
    #[default]
    #[serde(rename = "http/1.1")]
    Http1,
    /// With prior knowledge.
    #[serde(rename = "h2")]
    Http2,
}

/// In which fields a server is told who asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Telling {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    #[default]
    #[serde(rename = "x-forwarded")]
    Unofficial,
    /// `Forwarded`, of RFC 7239.
    #[serde(rename = "forwarded")]
    Standard,
    #[serde(rename = "both")]
    Both,
}

/// Which requests go to which upstream, and under which limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Route {
    #[serde(serialize_with = "show::name")]
    pub(crate) id: Arc<str>,
    #[serde(skip_serializing_if = "HostPattern::is_any")]
    pub(crate) host: HostPattern,
    /// Begins with `/`, and ends with it only if that is all.
    pub(crate) path_prefix: String,
    /// An index into the upstreams.
    #[serde(skip)]
    pub(crate) upstream: usize,
    /// At most [`LIMITS_MAX`].
    #[serde(rename = "limit")]
    pub(crate) limits: Vec<Limit>,
    #[serde(flatten)]
    pub(crate) bodies: BodyLimits,
    /// Segments that the path prefix begins with, and that the server is not sent.
    #[serde(serialize_with = "show::strip_prefix")]
    pub(crate) strip_prefix: Option<Box<str>>,
    #[serde(serialize_with = "edits::without_values")]
    pub(crate) request_headers: FieldEdits,
    pub(crate) response_headers: FieldEdits,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) breaker: Option<Breaker>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) throttle: Option<Throttle>,
}

/// What metrics and the log call the route of requests that have none.
pub(crate) const UNMATCHED: &str = "unmatched";

/// Which hosts a route answers for; names are in lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HostPattern {
    Any,
    Exact(String),
    /// Every name that ends with a dot and this one.
    Under(String),
}

impl HostPattern {
    pub(crate) fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }
}

impl Config {
    /// Reads a configuration from TOML.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists the mistakes, each with its line, its field, what was given and what
    /// is allowed: all of them, or only the first where the text is no TOML or a value has the
    /// wrong type.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        file::read(text)
    }

    /// Reads a configuration from a TOML file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or its text is refused by [`from_toml`](Self::from_toml).
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let path = path.as_ref();
        Self::from_source(path, Source::text(path)?)
    }

    /// Reads a configuration from what a file says.
    pub(crate) fn from_source(path: &Path, text: Arc<str>) -> Result<Self, ReadError> {
        let mut config =
            Self::from_toml(&text).map_err(|error| ReadError::mistakes(path, error))?;
        config.source = Some(Source {
            path: path.to_owned(),
            text,
            watched: false,
        });
        Ok(config)
    }

    /// Has a gateway take over changes of the file by itself, within about a second. Without a
    /// file there is nothing to watch. Default: only [`Gateway::reload`](crate::Gateway::reload)
    /// reads it again.
    #[must_use]
    pub fn watched(mut self) -> Self {
        if let Some(source) = &mut self.source {
            source.watched = true;
        }
        self
    }

    /// Takes another address for the clients' listener, whatever the file says now and later. Port
    /// 0 takes a free port.
    #[must_use]
    pub fn with_listen_address(mut self, address: SocketAddr) -> Self {
        self.listen.address = address;
        self.overrides.listen = Some(address);
        self
    }

    /// Takes another address for the admin listener, whatever the file says now and later. Port 0
    /// takes a free port.
    #[must_use]
    pub fn with_admin_address(mut self, address: SocketAddr) -> Self {
        self.admin.address = address;
        self.overrides.admin = Some(address);
        self
    }

    /// The address that clients connect to, as configured.
    #[must_use]
    pub fn listen_address(&self) -> SocketAddr {
        self.listen.address
    }

    /// The address of the admin listener, as configured.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }
}

/// Tells its size in one line.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = self.upstreams.iter().map(|u| u.endpoints.len()).sum();
        write!(
            f,
            "{}, {}, {}",
            counted(self.routes.len(), "route"),
            counted(self.upstreams.len(), "upstream"),
            counted(endpoints, "endpoint"),
        )
    }
}

/// The host and the port of a server.
pub(crate) fn address(text: &str) -> Option<Arc<str>> {
    let text::Endpoint(address) = text::FromText::from_text(&format!("http://{text}"))?;
    Some(address)
}

/// A time as it is written in the file.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    text::FromText::from_text(text)
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
