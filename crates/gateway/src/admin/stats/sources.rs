//! The counters that the figures come from, found once for each configuration.

use std::sync::Arc;

use stanchion_lb::Health;

use crate::balance::{Balance, Balancers};
use crate::breaker::{Breakers, Guards};
use crate::config::{self, Config};
use crate::metrics::{
    BUCKETS, EndpointCounts, EndpointMetrics, LimitMetrics, Metrics, RouteMetrics, STATUSES,
};

/// The counters of every route and endpoint.
pub(super) struct Sources {
    pub(super) routes: Vec<RouteSource>,
    pub(super) endpoints: Vec<EndpointSource>,
}

pub(super) struct RouteSource {
    pub(super) id: Arc<str>,
    /// Of those without a route there is none.
    pub(super) upstream: Option<Arc<str>>,
    metrics: Arc<RouteMetrics>,
    refused: Vec<LimitMetrics>,
    pub(super) guards: Guards,
}

pub(super) struct EndpointSource {
    balance: Balance,
    pub(super) upstream: Arc<str>,
    pub(super) endpoint: Arc<str>,
    metrics: EndpointMetrics,
    pub(super) guards: Guards,
}

/// What the counters of one route say, or the difference of two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RouteReading {
    pub(super) statuses: [u64; STATUSES.len()],
    pub(super) latency: [u64; BUCKETS],
    pub(super) refused: u64,
    pub(super) cut: u64,
}

impl Sources {
    pub(super) fn new(
        config: &Config,
        breakers: &Breakers,
        balancers: &Balancers,
        metrics: &Metrics,
    ) -> Self {
        let routes = config.routes.iter().map(|route| RouteSource {
            id: route.id.clone(),
            upstream: Some(config.upstreams[route.upstream].name.clone()),
            metrics: metrics.route(&route.id),
            refused: route
                .limits
                .iter()
                .map(|limit| metrics.limit(&route.id, &limit.name))
                .collect(),
            guards: breakers.route(&route.id),
        });
        let unmatched = RouteSource {
            id: config::UNMATCHED.into(),
            upstream: None,
            metrics: metrics.route(config::UNMATCHED),
            refused: Vec::new(),
            guards: Guards::default(),
        };
        let upstreams = config.upstreams.iter().zip(balancers.all());
        let endpoints = upstreams.flat_map(|(upstream, (_, balance))| {
            let endpoints = upstream.endpoints.iter();
            endpoints.map(|endpoint| EndpointSource {
                balance: balance.clone(),
                upstream: upstream.name.clone(),
                endpoint: endpoint.url.clone(),
                metrics: metrics.endpoint(&upstream.name, &endpoint.url),
                guards: breakers.endpoint(&upstream.name, &endpoint.url),
            })
        });
        Self {
            routes: routes.chain([unmatched]).collect(),
            endpoints: endpoints.collect(),
        }
    }
}

impl RouteSource {
    pub(super) fn read(&self) -> RouteReading {
        let counts = self.metrics.counts();
        RouteReading {
            statuses: counts.statuses,
            latency: counts.latency,
            refused: self.refused.iter().map(LimitMetrics::get).sum(),
            cut: counts.cut,
        }
    }
}

impl EndpointSource {
    /// As its balancer sees it.
    pub(super) fn health(&self) -> Option<Health> {
        self.balance.balancer().health(&self.endpoint)
    }

    pub(super) fn read(&self) -> EndpointCounts {
        self.metrics.counts()
    }
}

impl RouteReading {
    pub(super) fn requests(&self) -> u64 {
        self.statuses.iter().sum()
    }

    /// What was counted after `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            statuses: less(&self.statuses, &earlier.statuses),
            latency: less(&self.latency, &earlier.latency),
            refused: self.refused.saturating_sub(earlier.refused),
            cut: self.cut.saturating_sub(earlier.cut),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        add(&mut self.statuses, &other.statuses);
        add(&mut self.latency, &other.latency);
        self.refused += other.refused;
        self.cut += other.cut;
    }
}

fn less<const N: usize>(later: &[u64; N], earlier: &[u64; N]) -> [u64; N] {
    std::array::from_fn(|place| later[place].saturating_sub(earlier[place]))
}

fn add<const N: usize>(sums: &mut [u64; N], parts: &[u64; N]) {
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += part;
    }
}
