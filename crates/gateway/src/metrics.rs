//! What the gateway counts, in Prometheus' terms.
//!
//! Every label is a name from the configuration or one of a fixed list, never text from a request.
//! Handles are found once, when the stack is built or a combination is first met; after that a
//! request touches atomics only.

mod histogram;
mod labels;
mod reload;
mod route;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use histogram::AtomicHistogram;
pub(crate) use histogram::{BOUNDS_MICROS, BUCKETS};
use labels::{CutLabels, EndpointLabels, FailureLabels, LimitLabels, RequestLabels, RouteLabels};
pub(crate) use reload::ReloadMetrics;
pub(crate) use route::{RouteMetrics, STATUSES};

/// The families of metrics; clones share.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, AtomicHistogram>,
    cut: Family<CutLabels, Counter>,
    refused: Family<LimitLabels, Counter>,
    upstream_requests: Family<EndpointLabels, Counter>,
    upstream_failures: Family<FailureLabels, Counter>,
    upstream_connections_opened: Family<EndpointLabels, Counter>,
    upstream_connections: Family<EndpointLabels, Gauge>,
    /// The failures of an endpoint, whatever their cause; not shown, being a sum of what is.
    upstream_failed: Family<EndpointLabels, Counter>,
    routes: Arc<Mutex<HashMap<String, Arc<RouteMetrics>>>>,
    pub(crate) in_flight: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) accepted: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) http2: Http2Metrics,
    pub(crate) log_lines_dropped: Counter,
    pub(crate) reload: ReloadMetrics,
}

/// The counters of clients that speak HTTP/2.
#[derive(Clone, Debug, Default)]
pub(crate) struct Http2Metrics {
    pub(crate) connections: Counter,
    pub(crate) streams: Gauge,
    pub(crate) floods: Counter,
}

/// The counters of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct EndpointMetrics {
    upstream: Arc<str>,
    endpoint: Arc<str>,
    failures: Family<FailureLabels, Counter>,
    failed: Counter,
    opened: Counter,
    open: Gauge,
    pub(crate) requests: Counter,
}

/// What the counters of one endpoint say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndpointCounts {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// Connections open now.
    pub(crate) connections: u64,
}

/// A connection to an endpoint, counted as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    open: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("stanchion_gateway"))),
            requests: Family::default(),
            latency: Family::default(),
            cut: Family::default(),
            refused: Family::default(),
            upstream_requests: Family::default(),
            upstream_failures: Family::default(),
            upstream_connections_opened: Family::default(),
            upstream_connections: Family::default(),
            upstream_failed: Family::default(),
            routes: Arc::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            accept_errors: Counter::default(),
            http2: Http2Metrics::default(),
            log_lines_dropped: Counter::default(),
            reload: ReloadMetrics::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let registry = &mut *self.registry.lock();
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register(
            "request_duration_seconds",
            "Time from a request's head to the end of its response",
            self.latency.clone(),
        );
        registry.register(
            "responses_cut",
            "Responses that did not come to their end, by who broke off",
            self.cut.clone(),
        );
        registry.register(
            "requests_refused",
            "Requests refused by a limit",
            self.refused.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests being answered",
            self.in_flight.clone(),
        );
        registry.register(
            "upstream_requests",
            "Requests sent to an endpoint",
            self.upstream_requests.clone(),
        );
        registry.register(
            "upstream_failures",
            "Tries at an endpoint that gave no response",
            self.upstream_failures.clone(),
        );
        registry.register(
            "upstream_connections_opened",
            "Connections opened to an endpoint",
            self.upstream_connections_opened.clone(),
        );
        registry.register(
            "upstream_connections",
            "Connections open to an endpoint",
            self.upstream_connections.clone(),
        );
        registry.register(
            "connections",
            "Client connections open",
            self.connections.clone(),
        );
        registry.register(
            "connections_accepted",
            "Client connections accepted",
            self.accepted.clone(),
        );
        registry.register(
            "accept_errors",
            "Client connections that could not be accepted",
            self.accept_errors.clone(),
        );
        registry.register(
            "http2_connections_accepted",
            "Client connections that turned out to be HTTP/2",
            self.http2.connections.clone(),
        );
        registry.register(
            "http2_streams",
            "Streams of clients open",
            self.http2.streams.clone(),
        );
        registry.register(
            "http2_floods",
            "HTTP/2 connections closed because the client went too far",
            self.http2.floods.clone(),
        );
        registry.register(
            "access_log_lines_dropped",
            "Lines of the access log that were lost because the writer was behind",
            self.log_lines_dropped.clone(),
        );
        self.reload.register(registry);
    }

    /// All metrics as text, in the OpenMetrics format.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock())?;
        Ok(text)
    }

    /// The counters of a route: the same for everyone who asks.
    pub(crate) fn route(&self, route: &str) -> Arc<RouteMetrics> {
        let mut routes = self.routes.lock();
        if let Some(metrics) = routes.get(route) {
            return metrics.clone();
        }
        let metrics = Arc::new(RouteMetrics::new(self, route));
        routes.insert(route.to_owned(), metrics.clone());
        metrics
    }

    pub(crate) fn limit(&self, route: &str, limit: &str) -> Counter {
        self.refused.get_or_create_owned(&LimitLabels {
            route: route.to_owned(),
            limit: limit.to_owned(),
        })
    }

    pub(crate) fn endpoint(&self, upstream: &Arc<str>, endpoint: &Arc<str>) -> EndpointMetrics {
        let labels = EndpointLabels {
            upstream: upstream.to_string(),
            endpoint: endpoint.to_string(),
        };
        EndpointMetrics {
            upstream: upstream.clone(),
            endpoint: endpoint.clone(),
            failures: self.upstream_failures.clone(),
            failed: self.upstream_failed.get_or_create_owned(&labels),
            opened: self
                .upstream_connections_opened
                .get_or_create_owned(&labels),
            open: self.upstream_connections.get_or_create_owned(&labels),
            requests: self.upstream_requests.get_or_create_owned(&labels),
        }
    }
}

impl EndpointMetrics {
    /// Counts a failure, by one of the causes of `upstream::Failure`. It looks the counter up:
    /// failures are rare.
    pub(crate) fn failed(&self, cause: &'static str) {
        let labels = FailureLabels {
            upstream: self.upstream.to_string(),
            endpoint: self.endpoint.to_string(),
            cause,
        };
        self.failures.get_or_create_owned(&labels).inc();
        self.failed.inc();
    }

    /// Counts a connection that was just opened.
    pub(crate) fn opened(&self) -> OpenConnection {
        self.opened.inc();
        self.open.inc();
        OpenConnection {
            open: self.open.clone(),
        }
    }

    pub(crate) fn counts(&self) -> EndpointCounts {
        EndpointCounts {
            requests: self.requests.get(),
            failures: self.failed.get(),
            connections: u64::try_from(self.open.get()).unwrap_or(0),
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
