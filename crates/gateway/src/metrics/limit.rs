use std::fmt;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;

use super::Metrics;
use super::labels::LimitLabels;

/// What is counted of one limit; clones share. The series goes with the last of them.
#[derive(Clone, Debug)]
pub(crate) struct LimitMetrics(Arc<LimitSeries>);

/// The series of one limit.
pub(super) struct LimitSeries {
    labels: LimitLabels,
    metrics: Metrics,
    refused: Counter,
    fell_back: Counter,
}

impl LimitMetrics {
    pub(super) fn find(metrics: &Metrics, labels: LimitLabels) -> Self {
        Self(metrics.limits.find(labels.clone(), || LimitSeries {
            refused: metrics.refused.get_or_create_owned(&labels),
            fell_back: metrics.fell_back.get_or_create_owned(&labels),
            metrics: metrics.clone(),
            labels,
        }))
    }

    pub(crate) fn inc(&self) {
        self.0.refused.inc();
    }

    /// The store did not answer in time.
    #[cfg(feature = "redis")]
    pub(crate) fn fell_back(&self) {
        self.0.fell_back.inc();
    }

    pub(crate) fn fallbacks(&self) -> u64 {
        self.0.fell_back.get()
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.refused.get()
    }
}

impl Drop for LimitSeries {
    fn drop(&mut self) {
        let Self {
            labels, metrics, ..
        } = self;
        metrics.limits.dropped(labels, || {
            metrics.refused.remove(labels);
            metrics.fell_back.remove(labels);
        });
    }
}

impl fmt::Debug for LimitSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitSeries")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}
