//! What the breakers and throttles say of themselves, read when somebody asks for metrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use stanchion_breaker::State;

use super::labels::BreakerLabels;
use crate::breaker::Breakers;

/// The families of metrics of breakers and throttles; clones share.
#[derive(Clone, Default)]
pub(super) struct BreakerMetrics {
    state: Family<BreakerLabels, Gauge>,
    rejected: Family<BreakerLabels, Counter>,
    failed: Family<BreakerLabels, Counter>,
    slow: Family<BreakerLabels, Counter>,
    throttled: Family<BreakerLabels, Counter>,
    throttle_share: Family<BreakerLabels, Gauge<f64, AtomicU64>>,
}

impl BreakerMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "breaker_state",
            "0 closed, 1 half-open, 2 open, 3 forced open, 4 disabled, 5 metrics only",
            self.state.clone(),
        );
        registry.register(
            "breaker_rejected",
            "Requests that a breaker did not let through",
            self.rejected.clone(),
        );
        registry.register(
            "breaker_failed",
            "Requests that failed and counted for a breaker",
            self.failed.clone(),
        );
        registry.register(
            "breaker_slow",
            "Requests that were slow and counted for a breaker",
            self.slow.clone(),
        );
        registry.register(
            "throttle_rejected",
            "Requests that a throttle did not let through",
            self.throttled.clone(),
        );
        registry.register(
            "throttle_rejection_ratio",
            "The share of requests that a throttle refuses, 0 to 1",
            self.throttle_share.clone(),
        );
    }

    /// Takes the figures of these breakers, and forgets those of others.
    pub(super) fn read(&self, breakers: &Breakers) {
        self.state.clear();
        self.rejected.clear();
        self.failed.clear();
        self.slow.clear();
        self.throttled.clear();
        self.throttle_share.clear();
        for (place, throttle) in breakers.throttles() {
            let labels = BreakerLabels {
                kind: place.kind(),
                name: place.name(),
            };
            let now = throttle.snapshot();
            let share = self.throttle_share.get_or_create(&labels);
            share.set(now.rejection_probability);
            drop(share);
            let rejected = self.throttled.get_or_create(&labels);
            rejected.inc_by(now.rejected_total);
        }
        for (place, breaker) in breakers.all() {
            let labels = BreakerLabels {
                kind: place.kind(),
                name: place.name(),
            };
            let now = breaker.snapshot();
            let state = match now.state {
                State::HalfOpen => 1,
                State::Open => 2,
                State::ForcedOpen => 3,
                State::Disabled => 4,
                State::MetricsOnly => 5,
                _ => 0,
            };
            self.state.get_or_create(&labels).set(state);
            for (family, total) in [
                (&self.rejected, now.rejected_total),
                (&self.failed, now.failed_total),
                (&self.slow, now.slow_total),
            ] {
                family.get_or_create(&labels).inc_by(total);
            }
        }
    }
}
