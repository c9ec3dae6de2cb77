use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::Metrics;
use super::labels::{CheckLabels, EndpointLabels, FailureLabels};

/// The counters of one endpoint; clones share. The series go with the last of them.
#[derive(Clone, Debug)]
pub(crate) struct EndpointMetrics(Arc<EndpointSeries>);

/// The series of one endpoint.
pub(crate) struct EndpointSeries {
    labels: EndpointLabels,
    metrics: Metrics,
    /// By cause; found when first met.
    failures: Mutex<Vec<(&'static str, Counter)>>,
    failed: Counter,
    opened: Counter,
    open: Gauge,
    pub(crate) requests: Counter,
    /// By outlier detection.
    pub(crate) ejected: Counter,
    pub(crate) ejections_skipped: Counter,
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
    endpoint: EndpointMetrics,
}

impl EndpointMetrics {
    pub(super) fn find(metrics: &Metrics, labels: EndpointLabels) -> Self {
        Self(metrics.endpoints.find(labels.clone(), || {
            EndpointSeries {
                failures: Mutex::default(),
                failed: metrics.upstream_failed.get_or_create_owned(&labels),
                opened: metrics
                    .upstream_connections_opened
                    .get_or_create_owned(&labels),
                open: metrics.upstream_connections.get_or_create_owned(&labels),
                requests: metrics.upstream_requests.get_or_create_owned(&labels),
                ejected: metrics.ejections.get_or_create_owned(&labels),
                ejections_skipped: metrics.ejections_skipped.get_or_create_owned(&labels),
                metrics: metrics.clone(),
                labels,
            }
        }))
    }

    /// Counts a failure, by one of the causes of `upstream::Failure`. It looks the counter up:
    /// failures are rare.
    pub(crate) fn failed(&self, cause: &'static str) {
        self.failed.inc();
        let mut failures = self.failures.lock();
        if let Some((_, counter)) = failures.iter().find(|(known, _)| *known == cause) {
            counter.inc();
            return;
        }
        let labels = failure(&self.labels, cause);
        let counter = self.metrics.upstream_failures.get_or_create_owned(&labels);
        counter.inc();
        failures.push((cause, counter));
    }

    /// Counts a connection that was just opened.
    pub(crate) fn opened(&self) -> OpenConnection {
        self.opened.inc();
        self.open.inc();
        OpenConnection {
            endpoint: self.clone(),
        }
    }

    /// Counts an active check. It looks the counter up: checks are rare.
    pub(crate) fn checked(&self, result: &'static str) {
        let labels = check(&self.labels, result);
        self.metrics.checks.get_or_create_owned(&labels).inc();
    }

    pub(crate) fn counts(&self) -> EndpointCounts {
        EndpointCounts {
            requests: self.requests.get(),
            failures: self.failed.get(),
            connections: u64::try_from(self.open.get()).unwrap_or(0),
        }
    }
}

fn failure(labels: &EndpointLabels, cause: &'static str) -> FailureLabels {
    FailureLabels {
        upstream: labels.upstream.clone(),
        endpoint: labels.endpoint.clone(),
        cause,
    }
}

/// What an active check may find.
const RESULTS: [&str; 3] = ["passed", "degraded", "failed"];

fn check(labels: &EndpointLabels, result: &'static str) -> CheckLabels {
    CheckLabels {
        upstream: labels.upstream.clone(),
        endpoint: labels.endpoint.clone(),
        result,
    }
}

impl Deref for EndpointMetrics {
    type Target = EndpointSeries;

    fn deref(&self) -> &EndpointSeries {
        &self.0
    }
}

impl Drop for EndpointSeries {
    fn drop(&mut self) {
        let Self {
            labels, metrics, ..
        } = self;
        metrics.endpoints.dropped(labels, || {
            for (cause, _) in self.failures.lock().iter() {
                metrics.upstream_failures.remove(&failure(labels, cause));
            }
            metrics.upstream_failed.remove(labels);
            metrics.upstream_connections_opened.remove(labels);
            metrics.upstream_connections.remove(labels);
            metrics.upstream_requests.remove(labels);
            metrics.ejections.remove(labels);
            for result in RESULTS {
                metrics.checks.remove(&check(labels, result));
            }
            metrics.ejections_skipped.remove(labels);
        });
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.endpoint.open.dec();
    }
}

impl fmt::Debug for EndpointSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointSeries")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}
