//! Random lives: endpoints come and go, marks fall, calls begin and end.

use std::num::NonZeroU32;

use proptest::prelude::*;
use stanchion_core::Outcome;
use stanchion_lb::policy::{
    ConsistentHash, LeastConnections, P2c, PeakEwma, Policy, Random, RoundRobin, WeightedRoundRobin,
};
use stanchion_lb::{Balancer, Config, Endpoint, Health, Mark, PickContext, Picked, Unavailable};

use crate::fleet::{marks, name};

#[derive(Clone, Debug)]
enum Step {
    Update(Vec<Described>),
    Mark(usize, Mark),
    Pick {
        avoid: Option<usize>,
        bound: Option<usize>,
        seed: u64,
    },
    End(usize, Option<Outcome>),
    Panic(u8),
}

#[derive(Clone, Debug)]
struct Described {
    weight: u16,
    priority: u8,
    max: u32,
    address: u8,
}

fn described() -> impl Strategy<Value = Described> {
    (0u16..4, 0u8..3, 1u32..6, 0u8..2).prop_map(|(weight, priority, max, address)| Described {
        weight,
        priority,
        max,
        address,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = proptest::option::of(prop_oneof![
        Just(Outcome::Success),
        Just(Outcome::Failure),
        Just(Outcome::Overload)
    ]);
    let place = || proptest::option::weighted(0.2, 0usize..8);
    let step = prop_oneof![
        1 => proptest::collection::vec(described(), 0..8).prop_map(Step::Update),
        3 => (0usize..8, marks()).prop_map(|(place, mark)| Step::Mark(place, mark)),
        8 => (place(), place(), any::<u64>())
            .prop_map(|(avoid, bound, seed)| Step::Pick { avoid, bound, seed }),
        4 => (any::<usize>(), outcome).prop_map(|(place, outcome)| Step::End(place, outcome)),
        1 => (0u8..=100).prop_map(Step::Panic),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What a balancer should know of one endpoint.
#[derive(Clone, Debug)]
struct Known {
    described: Described,
    in_flight: u32,
    checks: Mark,
    ejected: bool,
    held: bool,
    operator: Mark,
}

impl Known {
    fn new(described: Described) -> Self {
        Self {
            described,
            in_flight: 0,
            checks: Mark::Unknown,
            ejected: false,
            held: false,
            operator: Mark::Enable,
        }
    }

    fn mark(&mut self, mark: Mark) {
        match mark {
            Mark::Eject => self.ejected = true,
            Mark::Readmit => self.ejected = false,
            Mark::Hold => self.held = true,
            Mark::Release => self.held = false,
            Mark::Drain | Mark::Disable | Mark::Enable => self.operator = mark,
            checks => self.checks = checks,
        }
    }

    fn health(&self) -> Health {
        match (self.operator, self.ejected || self.held, self.checks) {
            (Mark::Disable, ..) => Health::Disabled,
            (Mark::Drain, ..) => Health::Draining,
            (_, true, _) => Health::Ejected,
            (_, _, Mark::Unknown) => Health::Unknown,
            (_, _, Mark::Healthy) => Health::Healthy,
            (_, _, Mark::Degraded) => Health::Degraded,
            _ => Health::Unhealthy,
        }
    }

    fn is_full(&self) -> bool {
        self.in_flight >= self.described.max
    }

    fn takes_new(&self) -> bool {
        self.described.weight > 0 && matches!(self.operator, Mark::Enable)
    }
}

/// Whose call it is: the generation of the endpoint tells a removed one from its successor.
struct Call {
    picked: Picked<u8>,
    place: usize,
    generation: usize,
}

fn live(policy: impl Policy<u8> + 'static, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let balancer = Balancer::new(policy);
    let mut known: Vec<(Known, usize)> = Vec::new();
    let mut calls: Vec<Call> = Vec::new();
    let mut panic_threshold = 50;
    let mut generations = 0;
    for step in steps {
        match step {
            Step::Update(all) => {
                let endpoints = all.iter().enumerate().map(|(place, described)| {
                    Endpoint::new(name(place), described.address)
                        .with_weight(described.weight)
                        .with_priority(described.priority)
                        .with_in_flight_max(NonZeroU32::new(described.max).expect("at least 1"))
                });
                balancer.update(endpoints).expect("names differ");
                let before = std::mem::take(&mut known);
                for (place, described) in all.into_iter().enumerate() {
                    let same = before
                        .get(place)
                        .filter(|(known, _)| known.described.address == described.address);
                    known.push(match same {
                        Some((same, generation)) => (
                            Known {
                                described,
                                ..same.clone()
                            },
                            *generation,
                        ),
                        None => {
                            generations += 1;
                            (Known::new(described), generations)
                        }
                    });
                }
            }
            Step::Mark(place, mark) => {
                let health = balancer.mark(&name(place), mark);
                let expected = known.get_mut(place).map(|(known, _)| {
                    known.mark(mark);
                    known.health()
                });
                prop_assert_eq!(health, expected);
            }
            Step::Panic(percent) => {
                panic_threshold = percent;
                balancer.set_config(
                    Config::default()
                        .with_panic_threshold(percent)
                        .expect("a percentage"),
                );
            }
            Step::Pick { avoid, bound, seed } => {
                let avoid: Vec<_> = avoid
                    .iter()
                    .map(|place| name(*place).as_str().into())
                    .collect();
                let bound = bound.map(name);
                let mut context = PickContext::new().with_avoid(&avoid).with_random(seed);
                if let Some(bound) = &bound {
                    context = context.with_affinity(bound);
                }
                let result = balancer.pick(&context);
                let call = check(&known, result, panic_threshold, bound.as_deref(), &avoid)?;
                if let Some(call) = call {
                    known[call.place].0.in_flight += 1;
                    calls.push(call);
                }
            }
            Step::End(index, outcome) => {
                if calls.is_empty() {
                    continue;
                }
                let call = calls.swap_remove(index % calls.len());
                match outcome {
                    Some(outcome) => call.picked.record(outcome),
                    None => drop(call.picked),
                }
                if let Some((known, _)) = known
                    .get_mut(call.place)
                    .filter(|(_, now)| *now == call.generation)
                {
                    known.in_flight -= 1;
                }
            }
        }
        let seen: Vec<_> = balancer
            .snapshot()
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.health, endpoint.in_flight))
            .collect();
        let expected: Vec<_> = known
            .iter()
            .map(|(known, _)| (known.health(), known.in_flight))
            .collect();
        prop_assert_eq!(seen, expected);
    }
    drop(calls);
    let left: u32 = balancer
        .snapshot()
        .endpoints
        .iter()
        .map(|endpoint| endpoint.in_flight)
        .sum();
    prop_assert_eq!(left, 0);
    Ok(())
}

/// Whether a pick, or the refusal of one, is right; and whose call it is.
fn check(
    known: &[(Known, usize)],
    result: Result<Picked<u8>, Unavailable>,
    panic_threshold: u8,
    bound: Option<&str>,
    avoid: &[stanchion_lb::EndpointId],
) -> Result<Option<Call>, TestCaseError> {
    let avoided = |place: usize| avoid.iter().any(|id| id.as_str() == name(place));
    let fit = |one: &Known| {
        let waiting = one.health() == Health::Unknown
            && known.iter().any(|(other, _)| {
                other.takes_new()
                    && other.described.priority == one.described.priority
                    && other.health() == Health::Healthy
            });
        one.takes_new()
            && !waiting
            && matches!(
                one.health(),
                Health::Unknown | Health::Healthy | Health::Degraded
            )
    };
    let all = || known.iter().map(|(known, _)| known).enumerate();
    match result {
        Ok(picked) => {
            let place = all().find(|(place, _)| name(*place) == picked.id().as_str());
            let (place, one) = place.expect("it is one of them");
            prop_assert_eq!(*picked.address(), one.described.address);
            prop_assert!(!one.is_full(), "{} was full", place);
            prop_assert!(one.operator != Mark::Disable);
            if bound == Some(picked.id().as_str()) && !avoided(place) {
                // Affinity goes where nothing else would.
            } else {
                prop_assert!(one.takes_new());
                prop_assert!(fit(one) || (panic_threshold > 0 && !one.held), "{:?}", one);
            }
            if avoided(place) {
                let other = all().any(|(other, one)| !avoided(other) && fit(one) && !one.is_full());
                prop_assert!(!other, "{} was to be avoided", place);
            }
            let generation = known[place].1;
            Ok(Some(Call {
                picked,
                place,
                generation,
            }))
        }
        Err(unavailable) => {
            for (place, one) in all() {
                prop_assert!(
                    !fit(one) || one.is_full(),
                    "{} is fit, {:?}",
                    place,
                    unavailable
                );
            }
            let none = !all().any(|(_, one)| one.takes_new());
            prop_assert_eq!(none, unavailable == Unavailable::NoEndpoints);
            let overloaded = unavailable == Unavailable::Overloaded;
            prop_assert!(!overloaded || all().any(|(_, one)| one.is_full()));
            prop_assert!(overloaded || !all().any(|(_, one)| fit(one)));
            Ok(None)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn round_robin_lives(steps in steps()) {
        live(RoundRobin::new(), steps)?;
    }

    #[test]
    fn weighted_round_robin_lives(steps in steps()) {
        live(WeightedRoundRobin::new(), steps)?;
    }

    #[test]
    fn least_connections_lives(steps in steps()) {
        live(LeastConnections::new(), steps)?;
    }

    #[test]
    fn consistent_hash_lives(steps in steps()) {
        live(ConsistentHash::ring(), steps.clone())?;
        live(ConsistentHash::rendezvous().with_bound(1.25).expect("above 1"), steps)?;
    }

    #[test]
    fn random_lives(steps in steps()) {
        live(Random::new(), steps)?;
    }

    #[test]
    fn p2c_lives(steps in steps()) {
        live(P2c::new(), steps)?;
    }

    #[test]
    fn peak_ewma_lives(steps in steps()) {
        live(PeakEwma::new(), steps)?;
    }
}
