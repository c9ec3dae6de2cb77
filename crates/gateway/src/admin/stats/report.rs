//! What the live page is told, as JSON. Rates are per second, times in milliseconds.

use serde::{Serialize, Serializer};

use super::quantile::quantile;
use super::sources::RouteReading;
use crate::admin::switches;
use crate::metrics::BUCKETS;

/// The figures of one moment.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    pub(super) version: &'static str,
    /// When the gateway started, in seconds of Unix time.
    pub(super) started: u64,
    pub(super) config: ConfigInForce,
    pub(super) ready: bool,
    /// `token`, `open` or `off`: what a change takes.
    pub(super) changes: &'static str,
    /// The last second.
    pub(super) now: Option<Point>,
    pub(super) totals: Totals,
    /// The seconds that the figures of routes and endpoints are taken over.
    pub(super) window: f64,
    pub(super) routes: Shown<Route<'a>>,
    pub(super) endpoints: Shown<Endpoint<'a>>,
    pub(super) switches: Vec<switches::Shown<'a>>,
}

#[derive(Clone, Debug, Serialize)]
pub(in crate::admin) struct ConfigInForce {
    /// Counted from 1 with each configuration that was taken.
    pub(in crate::admin) generation: u64,
    /// When that was, in seconds of Unix time.
    pub(in crate::admin) loaded: u64,
    /// Fields whose value in the file takes a restart.
    pub(in crate::admin) restart: Vec<&'static str>,
    /// Why a later one was not taken.
    pub(in crate::admin) error: Option<String>,
}

/// One second of all requests.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    /// Seconds since the start.
    pub(super) t: u64,
    #[serde(flatten)]
    pub(super) flow: Flow,
}

/// Requests over a time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Flow {
    #[serde(serialize_with = "short")]
    rps: f64,
    /// By class of status, from 1xx on; the last is none of the five.
    #[serde(serialize_with = "all_short")]
    statuses: [f64; 6],
    /// Of these, refused by a limit.
    #[serde(serialize_with = "short")]
    refused: f64,
    /// Broken off before the end.
    #[serde(serialize_with = "short")]
    cut: f64,
    latency: Latency,
}

/// How long requests took, to the end of the response.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Latency {
    #[serde(serialize_with = "maybe_short")]
    p50: Option<f64>,
    #[serde(serialize_with = "maybe_short")]
    p90: Option<f64>,
    #[serde(serialize_with = "maybe_short")]
    p99: Option<f64>,
}

/// Since the start.
#[derive(Debug, Serialize)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) refused: u64,
    pub(super) in_flight: i64,
    pub(super) connections: i64,
    pub(super) accept_errors: u64,
    pub(super) log_lines_dropped: u64,
}

/// The busiest of many, in the order of the configuration, and the sum of the others.
#[derive(Debug, Serialize)]
pub(super) struct Shown<T> {
    pub(super) shown: Vec<T>,
    /// How many others there are.
    pub(super) others: usize,
    pub(super) rest: Option<T>,
}

#[derive(Debug, Serialize)]
pub(super) struct Route<'a> {
    pub(super) id: &'a str,
    pub(super) upstream: Option<&'a str>,
    /// Requests since the start.
    pub(super) requests: u64,
    #[serde(flatten)]
    pub(super) flow: Flow,
    /// The state of its breaker, if it has one.
    pub(super) breaker: Option<String>,
    /// The share of requests that its throttle refuses, if it has one.
    #[serde(serialize_with = "maybe_short")]
    pub(super) throttled: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Endpoint<'a> {
    pub(super) upstream: &'a str,
    pub(super) endpoint: &'a str,
    #[serde(serialize_with = "short")]
    pub(super) rps: f64,
    /// Failed tries per second.
    #[serde(serialize_with = "short")]
    pub(super) failures: f64,
    /// Connections open now.
    pub(super) connections: u64,
    /// As its balancer sees it.
    pub(super) health: Option<String>,
    /// Since the start.
    pub(super) requests: u64,
    pub(super) failed: u64,
    /// The state of its breaker, if it has one.
    pub(super) breaker: Option<String>,
    /// The share of requests that its throttle refuses, if it has one.
    #[serde(serialize_with = "maybe_short")]
    pub(super) throttled: Option<f64>,
}

impl Flow {
    /// What was counted in so many seconds.
    pub(super) fn new(counted: &RouteReading, seconds: f64) -> Self {
        let rate = |count: u64| count as f64 / seconds;
        Self {
            rps: rate(counted.requests()),
            statuses: counted.statuses.map(rate),
            refused: rate(counted.refused),
            cut: rate(counted.cut),
            latency: Latency::new(&counted.latency),
        }
    }
}

impl Latency {
    fn new(counts: &[u64; BUCKETS]) -> Self {
        Self {
            p50: quantile(counts, 0.5),
            p90: quantile(counts, 0.9),
            p99: quantile(counts, 0.99),
        }
    }
}

/// To three places: more is noise, and makes the text long.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn short<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded(*value))
}

fn maybe_short<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(rounded).serialize(serializer)
}

fn all_short<S: Serializer>(values: &[f64; 6], serializer: S) -> Result<S::Ok, S::Error> {
    values.map(rounded).serialize(serializer)
}
