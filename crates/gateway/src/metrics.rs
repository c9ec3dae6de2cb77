//! What the gateway counts, in Prometheus' terms.
//!
//! Every label is a name from the configuration or one of a fixed list, never text from a request.
//! Handles are found once, when the stack is built or a combination is first met; after that a
//! request touches atomics only. Series live for as long as a configuration or a request uses them, so
//! that names which a reload brings and takes do not pile up.

mod balance;
mod breaker;
mod endpoint;
mod histogram;
mod labels;
mod limit;
mod live;
mod reload;
mod route;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::balance::Balancers;
use crate::breaker::Breakers;
use balance::BalanceMetrics;
use breaker::BreakerMetrics;
use endpoint::EndpointSeries;
pub(crate) use endpoint::{EndpointCounts, EndpointMetrics};
use histogram::AtomicHistogram;
pub(crate) use histogram::{BOUNDS_MICROS, BUCKETS};
use labels::{
    CheckLabels, CutLabels, EndpointLabels, FailureLabels, LimitLabels, RequestLabels, RouteLabels,
};
pub(crate) use limit::LimitMetrics;
use limit::LimitSeries;
use live::Live;
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
    fell_back: Family<LimitLabels, Counter>,
    upstream_requests: Family<EndpointLabels, Counter>,
    upstream_failures: Family<FailureLabels, Counter>,
    upstream_connections_opened: Family<EndpointLabels, Counter>,
    upstream_connections: Family<EndpointLabels, Gauge>,
    /// The failures of an endpoint, whatever their cause; not shown, being a sum of what is.
    upstream_failed: Family<EndpointLabels, Counter>,
    ejections: Family<EndpointLabels, Counter>,
    checks: Family<CheckLabels, Counter>,
    ejections_skipped: Family<EndpointLabels, Counter>,
    routes: Live<RouteLabels, RouteMetrics>,
    limits: Live<LimitLabels, LimitSeries>,
    breakers: BreakerMetrics,
    balance: BalanceMetrics,
    endpoints: Live<EndpointLabels, EndpointSeries>,
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

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("stanchion_gateway"))),
            requests: Family::default(),
            latency: Family::default(),
            cut: Family::default(),
            refused: Family::default(),
            fell_back: Family::default(),
            upstream_requests: Family::default(),
            upstream_failures: Family::default(),
            upstream_connections_opened: Family::default(),
            upstream_connections: Family::default(),
            upstream_failed: Family::default(),
            ejections: Family::default(),
            checks: Family::default(),
            ejections_skipped: Family::default(),
            routes: Live::default(),
            limits: Live::default(),
            breakers: BreakerMetrics::default(),
            balance: BalanceMetrics::default(),
            endpoints: Live::default(),
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
            "limit_fallbacks",
            "Requests on which the store of a limit did not decide in time",
            self.fell_back.clone(),
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
            "endpoint_ejections",
            "Times that outlier detection took an endpoint out",
            self.ejections.clone(),
        );
        registry.register(
            "endpoint_ejections_skipped",
            "Times that it did not, because as many as may be were out",
            self.ejections_skipped.clone(),
        );
        registry.register(
            "endpoint_checks",
            "Active checks of an endpoint, by what they found",
            self.checks.clone(),
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
        self.breakers.register(registry);
        self.balance.register(registry);
        self.reload.register(registry);
    }

    /// All metrics as text, in the OpenMetrics format, with what breakers and balancers say.
    pub(crate) fn encode(
        &self,
        breakers: &Breakers,
        balancers: &Balancers,
    ) -> Result<String, fmt::Error> {
        self.breakers.read(breakers);
        self.balance.read(balancers);
        let mut text = String::new();
        encode(&mut text, &self.registry.lock())?;
        Ok(text)
    }

    /// The counters of a route: the same for everyone who asks.
    pub(crate) fn route(&self, route: &str) -> Arc<RouteMetrics> {
        let labels = RouteLabels {
            route: route.to_owned(),
        };
        self.routes.find(labels, || RouteMetrics::new(self, route))
    }

    /// The counters of a limit: the same for everyone who asks.
    pub(crate) fn limit(&self, route: &str, limit: &str) -> LimitMetrics {
        let labels = LimitLabels {
            route: route.to_owned(),
            limit: limit.to_owned(),
        };
        LimitMetrics::find(self, labels)
    }

    /// The counters of an endpoint: the same for everyone who asks.
    pub(crate) fn endpoint(&self, upstream: &str, endpoint: &str) -> EndpointMetrics {
        let labels = EndpointLabels {
            upstream: upstream.to_owned(),
            endpoint: endpoint.to_owned(),
        };
        EndpointMetrics::find(self, labels)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
