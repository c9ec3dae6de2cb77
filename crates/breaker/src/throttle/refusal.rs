//! The formula: with what probability a call is refused.

use super::ThrottleConfig;

/// ```text
///            ⎛ requests − multiplier · accepts ⎞ 1 / aggression
/// min( max,  ⎜ ――――――――――――――――――――――――――――――― ⎟                )
///            ⎝          requests + 1           ⎠
/// ```
///
/// 0 where the numerator is not positive, and while there are too few requests.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2⁵³")]
pub(super) fn probability(config: &ThrottleConfig, requests: u64, accepts: u64) -> f64 {
    let (all, accepted) = (requests as f64, accepts as f64);
    let excess = all - config.multiplier * accepted;
    if excess <= 0.0 || all / config.window.as_secs_f64() < config.min_rate {
        return 0.0;
    }
    let share = (excess / (all + 1.0)).powf(1.0 / config.aggression);
    share.min(config.max_rejection.get())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::Ratio;

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    /// Worked out by hand from the formulas in the SRE book (K = 2 and 1.1) and in Envoy's
    /// documentation (threshold 0.8 and 0.95, that is K = 1.25 and 1 / 0.95).
    #[test]
    fn vectors() {
        let google = ThrottleConfig::default();
        for (requests, accepts, wanted) in [
            (0, 0, 0.0),
            (1, 0, 0.5),
            (9, 0, 0.9),
            (99, 50, 0.0),
            (99, 49, 0.01),
            (99, 25, 0.49),
            (999, 0, 0.999),
        ] {
            let found = probability(&google, requests, accepts);
            assert!(close(found, wanted), "{requests} {accepts}: {found}");
        }
        let eager = google.with_multiplier(1.1).unwrap();
        assert!(close(probability(&eager, 99, 80), 0.11));

        let envoy = google.with_success_threshold(Ratio::new(0.8).unwrap());
        let envoy = envoy.with_max_rejection(Ratio::new(0.8).unwrap());
        assert!(close(probability(&envoy, 99, 80), 0.0));
        assert!(close(probability(&envoy, 99, 40), 0.49));
        assert!(close(probability(&envoy, 99, 0), 0.8), "the most");
        let squared = envoy.with_aggression(2.0).unwrap();
        assert!(close(probability(&squared, 99, 40), 0.7));
    }

    #[test]
    fn too_few_requests_for_the_rate_are_let_through() {
        let config = ThrottleConfig::default();
        let config = config.with_window(Duration::from_secs(10)).unwrap();
        let config = config.with_min_rate(5.0).unwrap();
        assert!(close(probability(&config, 49, 0), 0.0));
        assert!(close(probability(&config, 50, 0), 50.0 / 51.0));
    }

    proptest! {
        /// With aggression 1 the test is in whole numbers: `random < p` is
        /// `random · (requests + 1) < 10 · requests − k · accepts`, all by ten.
        #[test]
        fn it_is_the_ratio_of_whole_numbers(
            requests in 0_u64..1_000_000,
            part in 0.0_f64..=1.0,
            tenths in 10_u32..50,
            max in 1_u32..=100,
        ) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "a part of the requests"
            )]
            let accepts = (requests as f64 * part) as u64;
            let max = f64::from(max) / 100.0;
            let config = ThrottleConfig::default()
                .with_multiplier(f64::from(tenths) / 10.0)
                .unwrap()
                .with_max_rejection(Ratio::new(max).unwrap());
            let numerator = i128::from(10 * requests) - i128::from(u64::from(tenths) * accepts);
            let found = probability(&config, requests, accepts);
            if numerator <= 0 {
                prop_assert!(found < 1e-9);
            } else {
                #[expect(clippy::cast_precision_loss, reason = "the oracle's only rounding")]
                let wanted = numerator as f64 / (10.0 * (requests + 1) as f64);
                prop_assert!(close(found, wanted.min(max)), "{found} {wanted}");
            }
        }

        /// More accepts, or more patience, never refuse more; and no share is above the most.
        #[test]
        fn it_falls_with_accepts_and_rises_with_aggression(
            requests in 1_u64..10_000, accepts in 0_u64..10_000, aggression in 1.0_f64..10.0,
        ) {
            let accepts = accepts.min(requests);
            let calm = ThrottleConfig::default();
            let eager = calm.with_aggression(aggression).unwrap();
            let found = probability(&calm, requests, accepts);
            prop_assert!((0.0..1.0).contains(&found));
            prop_assert!(probability(&calm, requests, accepts + 1) <= found);
            prop_assert!(probability(&eager, requests, accepts) >= found - 1e-12);
        }
    }
}
