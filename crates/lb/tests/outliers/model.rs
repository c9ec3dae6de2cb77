//! Streaks, ejections and their end against a list of what was ejected when.

use std::time::Duration;

use proptest::prelude::*;
use stanchion_core::{Clock, Outcome};
use stanchion_lb::policy::Random;
use stanchion_lb::{Balancer, Config, Endpoint, Health, Mark, Outliers, PickContext, Picked};

#[derive(Clone, Debug)]
enum Step {
    /// A call to the endpoint at this place ends.
    End(usize, Outcome),
    Pass(u64),
    CheckPasses(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        1 => Just(Outcome::Success),
        6 => Just(Outcome::Failure),
        1 => Just(Outcome::Overload),
        1 => Just(Outcome::Ignore),
    ];
    let step = prop_oneof![
        6 => (0usize..6, outcome).prop_map(|(place, outcome)| Step::End(place, outcome)),
        2 => (0u64..40).prop_map(Step::Pass),
        1 => (0usize..6).prop_map(Step::CheckPasses),
    ];
    proptest::collection::vec(step, 1..150)
}

#[derive(Clone, Debug, Default)]
struct One {
    streak: u32,
    /// Second by second, so that nothing is divided: how many ejections count.
    recent: u64,
    inside_for: u64,
    out_for: u64,
}

impl One {
    fn second_passes(&mut self) {
        if self.out_for > 0 {
            self.out_for -= 1;
            if self.out_for == 0 {
                (self.streak, self.inside_for) = (0, 0);
            }
        } else {
            self.inside_for += 1;
            if self.inside_for.is_multiple_of(10) {
                self.recent = self.recent.saturating_sub(1);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn who_is_out_is_as_in_the_list(
        steps in steps(),
        count in 1usize..6,
        consecutive in 1u32..4,
        percent in 1u8..=100,
        by_checks: bool,
    ) {
        let (clock, time) = Clock::manual();
        let mut outliers = Outliers::default()
            .with_consecutive(consecutive)
            .and_then(|outliers| outliers.with_ejection_percent_max(percent))
            .and_then(|outliers| outliers.with_ejection_max(Duration::from_secs(100)))
            .unwrap();
        if !by_checks {
            outliers = outliers.without_readmission_by_checks();
        }
        let balancer = Balancer::new(Random::new())
            .with_clock(clock)
            .with_config(Config::default().with_outliers(outliers));
        let endpoint = |place: usize| Endpoint::new(place.to_string(), place);
        balancer.update((0..count).map(endpoint)).unwrap();
        // Calls that go on, so that one can end at an endpoint that is out.
        let begin = |place: usize| -> Vec<Picked<usize>> {
            let id = place.to_string();
            let context = PickContext::new().with_affinity(&id);
            (0..150).map(|_| balancer.pick(&context).unwrap()).collect()
        };
        let mut calls: Vec<Vec<Picked<usize>>> = (0..count).map(begin).collect();
        let mut all = vec![One::default(); count];
        let max = (count * usize::from(percent) / 100).max(1);

        for step in steps {
            match step {
                Step::End(place, outcome) => {
                    let place = place % count;
                    calls[place].pop().unwrap().record(outcome);
                    let out = all.iter().filter(|one| one.out_for > 0).count();
                    let one = &mut all[place];
                    match outcome {
                        Outcome::Success => one.streak = 0,
                        Outcome::Failure => one.streak += 1,
                        _ => {}
                    }
                    if one.streak == consecutive {
                        one.streak = 0;
                        if one.out_for == 0 && out < max {
                            one.recent += 1;
                            one.out_for = (30 * one.recent).min(100);
                        }
                    }
                }
                Step::Pass(seconds) => {
                    // In the list time passes at once; a pick is what lets in.
                    for _ in 0..seconds {
                        time.advance(Duration::from_secs(1));
                        let _ = balancer.pick(&PickContext::new());
                        all.iter_mut().for_each(One::second_passes);
                    }
                }
                Step::CheckPasses(place) => {
                    let place = place % count;
                    balancer.mark(&place.to_string(), Mark::Healthy);
                    let one = &mut all[place];
                    if by_checks && one.out_for > 0 {
                        (one.out_for, one.streak, one.inside_for) = (0, 0, 0);
                    }
                }
            }
            let out: Vec<bool> = all.iter().map(|one| one.out_for > 0).collect();
            let seen: Vec<bool> = (0..count)
                .map(|place| balancer.health(&place.to_string()) == Some(Health::Ejected))
                .collect();
            prop_assert_eq!(seen, out);
            let recent: Vec<u64> = all.iter().map(|one| one.recent).collect();
            let seen: Vec<u64> = balancer
                .snapshot()
                .endpoints
                .iter()
                .map(|endpoint| u64::from(endpoint.ejections))
                .collect();
            prop_assert_eq!(seen, recent);
        }
    }
}
