//! What a handful of samples says: the middle, and how far it may be trusted.

/// The share of samples below [`Summary::low`].
pub(crate) const LOW_QUANTILE: f64 = 0.1;
/// The share of samples below [`Summary::high`].
pub(crate) const HIGH_QUANTILE: f64 = 0.9;

/// The median of the samples and their spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// The 0.5 quantile.
    pub(crate) median: f64,
    /// The 0.1 quantile.
    pub(crate) low: f64,
    /// The 0.9 quantile.
    pub(crate) high: f64,
}

impl Summary {
    /// Summarises `samples`, in any order.
    ///
    /// # Panics
    /// If there is no sample, or one is not a number: a contestant that measured nothing is a
    /// mistake in the bench.
    pub(crate) fn of(samples: &[f64]) -> Self {
        assert!(!samples.is_empty(), "no samples");
        assert!(
            samples.iter().all(|sample| !sample.is_nan()),
            "a sample is not a number: {samples:?}"
        );
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: quantile(&sorted, 0.5),
            low: quantile(&sorted, LOW_QUANTILE),
            high: quantile(&sorted, HIGH_QUANTILE),
        }
    }

    /// Whether `value` lies between low and high.
    pub(crate) fn spans(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The `share` quantile of `sorted`, between two samples on the straight line that joins them.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len() - 1;
    let place = share * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the whole part of a place in a short list"
    )]
    let below = (place.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let (from, to) = (sorted[below], sorted[above]);
    // Without a straight line between the two: they are one, or infinite.
    if from.total_cmp(&to).is_eq() || !(to - from).is_finite() {
        return from;
    }
    from + (to - from) * (place - below as f64)
}

/// The index of the middle one of `values`; of an even number, the lower middle.
///
/// # Panics
/// If `values` is empty.
pub(crate) fn index_of_median(values: &[f64]) -> usize {
    assert!(!values.is_empty(), "no values");
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order[(order.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn the_median_and_the_quantiles_lie_between_neighbours() {
        let summary = Summary::of(&[5.0, 1.0, 3.0, 2.0, 4.0]);
        assert!(close(summary.median, 3.0), "{summary:?}");
        assert!(close(summary.low, 1.4), "{summary:?}");
        assert!(close(summary.high, 4.6), "{summary:?}");
        let even = Summary::of(&[4.0, 1.0, 2.0, 3.0]);
        assert!(close(even.median, 2.5), "{even:?}");
    }

    #[test]
    fn one_sample_has_no_spread() {
        let summary = Summary::of(&[7.0]);
        assert!(close(summary.low, 7.0) && close(summary.high, 7.0));
    }

    #[test]
    fn one_burst_gone_wrong_does_not_move_the_median() {
        let calm = Summary::of(&[10.0; 9]);
        let mut samples = [10.0; 9];
        samples[4] = 500.0;
        assert!(close(Summary::of(&samples).median, calm.median));
    }

    #[test]
    fn what_is_infinite_stays_so() {
        let summary = Summary::of(&[f64::INFINITY; 4]);
        assert!(
            summary.median.is_infinite() && summary.low.is_infinite(),
            "{summary:?}"
        );
        assert!(summary.spans(f64::INFINITY) && !summary.spans(1.0));
    }

    #[test]
    fn the_median_run_is_the_middle_one() {
        assert_eq!(index_of_median(&[3.0, 1.0, 2.0]), 2);
        assert_eq!(index_of_median(&[3.0, 1.0]), 1);
        assert_eq!(index_of_median(&[3.0]), 0);
    }
}
