use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A histogram of durations without a lock; clones share.
///
/// Observing is two relaxed additions. A reader may see one of them before the other, so the sum can
/// be off by what was observed while it read.
#[derive(Clone, Debug, Default)]
pub(crate) struct AtomicHistogram {
    cells: Arc<Cells>,
}

#[derive(Debug, Default)]
struct Cells {
    /// By upper bound; the last has none.
    buckets: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

/// From a tenth of a millisecond, which a proxy on loopback can reach, to the longest waits.
pub(crate) const BOUNDS_MICROS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000, 60_000_000,
];

/// One for each bound, and one for what is above the last.
pub(crate) const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

impl AtomicHistogram {
    pub(crate) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| bound * 1_000 < nanos);
        self.cells.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.cells.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many durations lie in each bucket.
    pub(crate) fn counts(&self) -> [u64; BUCKETS] {
        let buckets = self.cells.buckets.each_ref();
        buckets.map(|cell| cell.load(Ordering::Relaxed))
    }
}

impl EncodeMetric for AtomicHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.counts().into_iter();
        let bounds = BOUNDS_MICROS.iter().map(|micros| *micros as f64 / 1e6);
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.cells.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for AtomicHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        let histogram = AtomicHistogram::default();
        for micros in [100, 101, 70_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut registry = Registry::default();
        registry.register("wait", "a wait", histogram);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "wait_bucket{le=\"0.0001\"} 1",
            "wait_bucket{le=\"0.00025\"} 2",
            "wait_bucket{le=\"60.0\"} 2",
            "wait_bucket{le=\"+Inf\"} 3",
            "wait_count 3",
            "wait_sum 70.000201",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
