//! What the balancers say of their endpoints, read when somebody asks for metrics.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use stanchion_lb::Health;

use super::labels::{EndpointLabels, UpstreamLabels};
use crate::balance::Balancers;

/// The families of metrics of balancers; clones share.
#[derive(Clone, Default)]
pub(super) struct BalanceMetrics {
    health: Family<EndpointLabels, Gauge>,
    in_flight: Family<EndpointLabels, Gauge>,
    panic: Family<UpstreamLabels, Gauge>,
}

impl BalanceMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "endpoint_health",
            "0 unknown, 1 healthy, 2 degraded, 3 unhealthy, 4 ejected, 5 draining, 6 disabled",
            self.health.clone(),
        );
        registry.register(
            "endpoint_in_flight",
            "Requests that an endpoint has now",
            self.in_flight.clone(),
        );
        registry.register(
            "upstream_panic",
            "Priorities whose endpoints are all used, because too few are fit",
            self.panic.clone(),
        );
    }

    /// Takes the figures of these balancers, and forgets those of others.
    pub(super) fn read(&self, balancers: &Balancers) {
        self.health.clear();
        self.in_flight.clear();
        self.panic.clear();
        for (upstream, balance) in balancers.all() {
            let now = balance.balancer().snapshot();
            let labels = UpstreamLabels {
                upstream: upstream.to_string(),
            };
            let panics = now.levels.iter().filter(|level| level.panic).count();
            let panic = self.panic.get_or_create(&labels);
            panic.set(i64::try_from(panics).unwrap_or(i64::MAX));
            for now in now.endpoints {
                let labels = EndpointLabels {
                    upstream: upstream.to_string(),
                    endpoint: now.id.as_str().to_owned(),
                };
                let health = match now.health {
                    Health::Healthy => 1,
                    Health::Degraded => 2,
                    Health::Unhealthy => 3,
                    Health::Ejected => 4,
                    Health::Draining => 5,
                    Health::Disabled => 6,
                    _ => 0,
                };
                self.health.get_or_create(&labels).set(health);
                let in_flight = self.in_flight.get_or_create(&labels);
                in_flight.set(now.in_flight.into());
            }
        }
    }
}
