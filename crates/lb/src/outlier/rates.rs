use std::num::NonZeroU32;

use crate::InvalidConfig;

use super::Outliers;
use crate::EjectionCause;

/// Ejects endpoints whose success rate in an interval is below the mean of all by more than a
/// multiple of the standard deviation.
///
/// Only endpoints with enough calls in the interval take part, and only if there are enough of them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a rule that does nothing until outlier detection has it"]
pub struct SuccessRate {
    stdev_factor: f64,
    endpoints_min: NonZeroU32,
    calls_min: NonZeroU32,
}

/// Ejects endpoints of whose calls in an interval too large a share failed.
///
/// Only endpoints with enough calls in the interval take part, and only if there are enough of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a rule that does nothing until outlier detection has it"]
pub struct FailurePercentage {
    percent: u8,
    endpoints_min: NonZeroU32,
    calls_min: NonZeroU32,
}

const FIVE: NonZeroU32 = NonZeroU32::new(5).expect("not 0");
const FIFTY: NonZeroU32 = NonZeroU32::new(50).expect("not 0");
const HUNDRED: NonZeroU32 = NonZeroU32::new(100).expect("not 0");

impl Default for SuccessRate {
    /// 1.9 standard deviations, of at least 5 endpoints with 100 calls each; as in Envoy.
    fn default() -> Self {
        Self {
            stdev_factor: 1.9,
            endpoints_min: FIVE,
            calls_min: HUNDRED,
        }
    }
}

impl Default for FailurePercentage {
    /// 85 %, of at least 5 endpoints with 50 calls each; as in Envoy.
    fn default() -> Self {
        Self {
            percent: 85,
            endpoints_min: FIVE,
            calls_min: FIFTY,
        }
    }
}

impl SuccessRate {
    /// How many standard deviations below the mean are too many, from 0 to 100. Default: 1.9.
    ///
    /// Envoy's `success_rate_stdev_factor`, which is given in thousandths. Of n endpoints none is
    /// ever more than √(n − 1) deviations below the mean, so with 5 a factor of 2 ejects nobody.
    ///
    /// # Errors
    ///
    /// If `factor` is out of range, or not a number.
    pub fn with_stdev_factor(mut self, factor: f64) -> Result<Self, InvalidConfig> {
        if !(0.0..=100.0).contains(&factor) {
            return Err(InvalidConfig::new("stdev_factor", factor, "from 0 to 100"));
        }
        self.stdev_factor = factor;
        Ok(self)
    }

    /// How many endpoints must have enough calls. Default: 5.
    ///
    /// Envoy's `success_rate_minimum_hosts`.
    pub fn with_endpoints_min(mut self, endpoints: NonZeroU32) -> Self {
        self.endpoints_min = endpoints;
        self
    }

    /// How many calls in an interval are enough. Default: 100.
    ///
    /// Envoy's `success_rate_request_volume`.
    pub fn with_calls_min(mut self, calls: NonZeroU32) -> Self {
        self.calls_min = calls;
        self
    }
}

impl FailurePercentage {
    /// The share of failures from which on an endpoint is ejected, from 1 to 100. Default: 85.
    ///
    /// Envoy's `failure_percentage_threshold`.
    ///
    /// # Errors
    ///
    /// If `percent` is out of range.
    pub fn with_percent(mut self, percent: u8) -> Result<Self, InvalidConfig> {
        if !(1..=100).contains(&percent) {
            return Err(InvalidConfig::new(
                "percent",
                percent,
                "from 1 to 100 percent",
            ));
        }
        self.percent = percent;
        Ok(self)
    }

    /// How many endpoints must have enough calls. Default: 5.
    ///
    /// Envoy's `failure_percentage_minimum_hosts`.
    pub fn with_endpoints_min(mut self, endpoints: NonZeroU32) -> Self {
        self.endpoints_min = endpoints;
        self
    }

    /// How many calls in an interval are enough. Default: 50.
    ///
    /// Envoy's `failure_percentage_request_volume`.
    pub fn with_calls_min(mut self, calls: NonZeroU32) -> Self {
        self.calls_min = calls;
        self
    }
}

/// How the calls to one endpoint ended in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) successes: u32,
    pub(crate) failures: u32,
}

impl Counts {
    fn calls(self) -> u64 {
        u64::from(self.successes) + u64::from(self.failures)
    }

    /// In percent; 100 without any call.
    fn success_rate(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count has 33 bits")]
        let calls = self.calls().max(1) as f64;
        100.0 - 100.0 * f64::from(self.failures) / calls
    }
}

/// The places of those that are to be ejected for these counts, the worst first. `None` stands for
/// an endpoint that is out already.
pub(crate) fn outliers(rules: &Outliers, counts: &[Option<Counts>]) -> Vec<(usize, EjectionCause)> {
    let by_rate = rules.success_rate.map(|rule| below_others(rule, counts));
    let by_percent = rules.failure_percentage.map(|rule| failing(rule, counts));
    let mut found: Vec<(usize, EjectionCause)> =
        by_rate.into_iter().chain(by_percent).flatten().collect();
    found.sort_by_key(|(place, _)| *place);
    found.dedup_by_key(|(place, _)| *place);
    let rate = |place: usize| counts[place].unwrap_or_default().success_rate();
    found.sort_by(|(one, _), (other, _)| rate(*one).total_cmp(&rate(*other)));
    found
}

fn below_others(rule: SuccessRate, counts: &[Option<Counts>]) -> Vec<(usize, EjectionCause)> {
    let known = with_enough_calls(counts, rule.calls_min, rule.endpoints_min);
    let rates: Vec<f64> = known
        .iter()
        .map(|(_, counts)| counts.success_rate())
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "at most 65,536")]
    let count = rates.len().max(1) as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
    let least = mean - rule.stdev_factor * variance.sqrt();
    let outliers = known.iter().zip(&rates).filter(|(_, rate)| **rate < least);
    let outlier = |(&(place, _), &rate): (&(usize, Counts), &f64)| {
        (place, EjectionCause::SuccessRate { rate, least })
    };
    outliers.map(outlier).collect()
}

fn failing(rule: FailurePercentage, counts: &[Option<Counts>]) -> Vec<(usize, EjectionCause)> {
    let known = with_enough_calls(counts, rule.calls_min, rule.endpoints_min);
    // In whole numbers, so that 17 of 20 reach 85 %.
    let failing = |counts: &Counts| {
        u64::from(counts.failures) * 100 >= counts.calls() * u64::from(rule.percent)
    };
    let outliers = known.into_iter().filter(|(_, counts)| failing(counts));
    let outlier = |(place, counts): (usize, Counts)| {
        let percent = 100.0 - counts.success_rate();
        (place, EjectionCause::FailurePercentage { percent })
    };
    outliers.map(outlier).collect()
}

/// Those with enough calls, by their places; none, if they are too few.
fn with_enough_calls(
    counts: &[Option<Counts>],
    calls_min: NonZeroU32,
    endpoints_min: NonZeroU32,
) -> Vec<(usize, Counts)> {
    let enough = |(place, counts): (usize, &Option<Counts>)| {
        let counts = (*counts)?;
        (counts.calls() >= u64::from(calls_min.get())).then_some((place, counts))
    };
    let known: Vec<_> = counts.iter().enumerate().filter_map(enough).collect();
    match known.len() < endpoints_min.get() as usize {
        true => Vec::new(),
        false => known,
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(successes: u32, failures: u32) -> Option<Counts> {
        Some(Counts {
            successes,
            failures,
        })
    }

    fn places(rules: &Outliers, counts: &[Option<Counts>]) -> Vec<usize> {
        let found = outliers(rules, counts);
        found.into_iter().map(|(place, _)| place).collect()
    }

    /// Envoy's own example: rates of 90 and 10, and a factor of 1.9.
    #[test]
    fn a_rate_far_below_the_mean_is_an_outlier() {
        let rules = Outliers::default();
        let mut all = vec![counts(180, 20); 4];
        all.push(counts(20, 180));
        assert_eq!(places(&rules, &all), [4]);
        // The mean is 74, the deviation 32.
        let [(_, EjectionCause::SuccessRate { rate, least })] = outliers(&rules, &all)[..] else {
            panic!("one, by its success rate");
        };
        assert!((rate - 10.0).abs() < 1e-9);
        assert!((least - (74.0 - 1.9 * 32.0)).abs() < 1e-9, "{least}");
        let two = SuccessRate::default().with_stdev_factor(2.0).unwrap();
        assert_eq!(places(&rules.with_success_rate(two), &all), [0; 0]);
    }

    #[test]
    fn too_few_endpoints_or_calls_prove_nothing() {
        let rules = Outliers::default().with_failure_percentage(FailurePercentage::default());
        let mut all = vec![counts(200, 0); 4];
        assert_eq!(
            places(&rules, &[&all[..], &[counts(0, 49)]].concat()),
            [0; 0]
        );
        assert_eq!(places(&rules, &[&all[..], &[counts(0, 50)]].concat()), [4]);
        all.pop();
        assert_eq!(
            places(&rules, &[&all[..], &[counts(0, 500)]].concat()),
            [0; 0]
        );
        // One that is out is not one of five.
        let out = [&all[..], &[None, counts(0, 500)]].concat();
        assert_eq!(places(&rules, &out), [0; 0]);
    }

    #[test]
    fn what_is_not_a_number_is_no_factor() {
        for factor in [f64::NAN, -0.1, 100.1, f64::INFINITY] {
            let error = SuccessRate::default()
                .with_stdev_factor(factor)
                .unwrap_err();
            let told = format!("stdev_factor is {factor}, must be from 0 to 100");
            assert_eq!(error.to_string(), told);
        }
        let error = FailurePercentage::default().with_percent(0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "percent is 0, must be from 1 to 100 percent"
        );
    }

    /// The definition, one endpoint at a time, each sum made anew.
    fn is_outlier(
        place: usize,
        all: &[Option<Counts>],
        rate: Option<SuccessRate>,
        share: Option<FailurePercentage>,
    ) -> bool {
        let Some(own) = all[place] else { return false };
        let total = |counts: &Counts| counts.successes + counts.failures;
        let with = |calls: NonZeroU32| {
            let all = all.iter().flatten().copied();
            all.filter(move |counts| total(counts) >= calls.get())
        };
        let by_rate = rate.is_some_and(|rule| {
            let rates: Vec<f64> = with(rule.calls_min)
                .map(|counts| {
                    100.0 - 100.0 * f64::from(counts.failures) / f64::from(total(&counts))
                })
                .collect();
            let n = rates.len() as f64;
            let mean = rates.iter().sum::<f64>() / n;
            let deviation = (rates
                .iter()
                .map(|rate| (rate - mean) * (rate - mean))
                .sum::<f64>()
                / n)
                .sqrt();
            let own_rate = 100.0 - 100.0 * f64::from(own.failures) / f64::from(total(&own));
            rates.len() >= rule.endpoints_min.get() as usize
                && total(&own) >= rule.calls_min.get()
                && own_rate < mean - rule.stdev_factor * deviation
        });
        let by_share = share.is_some_and(|rule| {
            with(rule.calls_min).count() >= rule.endpoints_min.get() as usize
                && total(&own) >= rule.calls_min.get()
                && 100 * own.failures >= u32::from(rule.percent) * total(&own)
        });
        by_rate || by_share
    }

    proptest! {
        #[test]
        fn outliers_are_those_of_the_definition(
            all in proptest::collection::vec(
                proptest::option::weighted(0.9, (0u32..150, 0u32..150)), 0..12),
            factor in proptest::option::of(0.0f64..3.0),
            percent in proptest::option::of(1u8..=100),
            endpoints_min in 1u32..8,
            calls_min in 1u32..200,
        ) {
            let all: Vec<Option<Counts>> = all
                .into_iter()
                .map(|one| one.and_then(|(good, bad)| counts(good, bad)))
                .collect();
            let least = |min| NonZeroU32::new(min).unwrap();
            let rate = factor.map(|factor| {
                let rule = SuccessRate::default().with_stdev_factor(factor).unwrap();
                rule.with_endpoints_min(least(endpoints_min)).with_calls_min(least(calls_min))
            });
            let share = percent.map(|percent| {
                let rule = FailurePercentage::default().with_percent(percent).unwrap();
                rule.with_endpoints_min(least(endpoints_min)).with_calls_min(least(calls_min))
            });
            let mut rules = Outliers::default().without_success_rate();
            rules.success_rate = rate;
            rules.failure_percentage = share;
            let mut found = places(&rules, &all);
            let rates: Vec<f64> = found
                .iter()
                .map(|place| all[*place].unwrap().success_rate())
                .collect();
            prop_assert!(rates.is_sorted(), "the worst first: {:?}", rates);
            found.sort_unstable();
            let expected: Vec<usize> = (0..all.len())
                .filter(|place| is_outlier(*place, &all, rate, share))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
