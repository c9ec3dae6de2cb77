use crate::metrics::{BOUNDS_MICROS, BUCKETS};

/// The time in milliseconds that a share `q` of the counted durations did not exceed; `None` where
/// nothing was counted.
///
/// The durations of one bucket are taken as spread evenly over it, as Prometheus'
/// `histogram_quantile` does, so the error is at most the width of a bucket. What lies above the
/// last bound is told as that bound.
pub(super) fn quantile(counts: &[u64; BUCKETS], q: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = q * total as f64;
    let mut below = 0.0;
    let mut low = 0.0;
    for (count, bound) in counts.iter().zip(BOUNDS_MICROS) {
        let (count, high) = (*count as f64, bound as f64 / 1e3);
        if count > 0.0 && below + count >= rank {
            return Some(low + (high - low) * (rank - below) / count);
        }
        below += count;
        low = high;
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quantile_lies_within_its_bucket_as_far_as_its_rank() {
        let mut counts = [0; BUCKETS];
        assert_eq!(quantile(&counts, 0.5), None);
        // Ten durations above 0.5 and up to 1 ms, ten above 1 and up to 2.5 ms.
        counts[3] = 10;
        counts[4] = 10;
        for (q, millis) in [
            (0.0, 0.5),
            (0.25, 0.75),
            (0.5, 1.0),
            (0.75, 1.75),
            (1.0, 2.5),
        ] {
            let found = quantile(&counts, q).unwrap();
            assert!((found - millis).abs() < 1e-9, "{q}: {found}");
        }
        let mut beyond = [0; BUCKETS];
        beyond[BUCKETS - 1] = 1;
        assert!((quantile(&beyond, 0.5).unwrap() - 60_000.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_true_quantile_lies_in_the_same_bucket(
            mut micros in proptest::collection::vec(1_u64..60_000_000, 1..200),
            percent in 1_usize..=100,
        ) {
            let bucket = |micros: u64| BOUNDS_MICROS.partition_point(|bound| *bound < micros);
            let mut counts = [0; BUCKETS];
            for micros in &micros {
                counts[bucket(*micros)] += 1;
            }
            micros.sort_unstable();
            let rank = (percent * micros.len()).div_ceil(100);
            let truth = bucket(micros[rank - 1]);
            let found = quantile(&counts, percent as f64 / 100.0).unwrap() * 1e3;
            let low = if truth == 0 { 0.0 } else { BOUNDS_MICROS[truth - 1] as f64 };
            prop_assert!(found >= low - 1e-6 && found <= BOUNDS_MICROS[truth] as f64 + 1e-6);
        }
    }
}
