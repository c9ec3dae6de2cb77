//! Each policy against its definition.

use std::time::Duration;

use proptest::prelude::*;
use stanchion_core::{Clock, Outcome};
use stanchion_lb::policy::{
    Choice, InvalidTable, LeastConnections, Member, Needs, P2c, PeakEwma, Policy, Random,
    RoundRobin, Table, WeightedLeastConnections, WeightedRoundRobin,
};
use stanchion_lb::{Balancer, Draw, Endpoint, Mark, PickContext, Picked};

use crate::fleet::{balancer, name};

fn places(balancer: &Balancer<usize>, picks: usize) -> Vec<usize> {
    let mut places = Vec::new();
    for _ in 0..picks {
        let picked = balancer.pick(&PickContext::new());
        places.push(*picked.expect("all are fit").address());
    }
    places
}

fn counts(places: &[usize], of: usize) -> Vec<usize> {
    let mut counts = vec![0; of];
    for &place in places {
        counts[place] += 1;
    }
    counts
}

/// Picks that are held, by endpoint, so that so many are in flight.
fn hold(balancer: &Balancer<usize>, in_flight: &[usize]) -> Vec<Picked<usize>> {
    let hold_one = |place: usize| {
        let name = name(place);
        let context = PickContext::new().with_affinity(&name);
        balancer.pick(&context).expect("it is fit")
    };
    let all = in_flight.iter().enumerate();
    all.flat_map(|(place, &count)| (0..count).map(move |_| hold_one(place)))
        .collect()
}

proptest! {
    #[test]
    fn round_robin_goes_around(count in 1usize..20, rounds in 1usize..5) {
        let balancer = balancer(RoundRobin::new(), vec![1; count]);
        let places = places(&balancer, count * rounds);
        for pair in places.windows(2) {
            prop_assert_eq!(pair[1], (pair[0] + 1) % count);
        }
    }

    #[test]
    fn of_few_p2c_takes_the_least_loaded_for_its_weight(
        loads in proptest::collection::vec((0usize..5, 1u16..4), 1..=4),
    ) {
        let balancer = balancer(P2c::new(), loads.iter().map(|load| load.1));
        let in_flight: Vec<usize> = loads.iter().map(|load| load.0).collect();
        let _held = hold(&balancer, &in_flight);
        let load = |place: usize| (in_flight[place] as u64 + 1) * 840 / u64::from(loads[place].1);
        let least = (0..loads.len()).map(load).min().unwrap();
        for _ in 0..8 {
            let picked = balancer.pick(&PickContext::new()).unwrap();
            prop_assert_eq!(load(*picked.address()), least);
        }
    }

    #[test]
    fn weighted_round_robin_gives_each_its_share_of_a_round(
        weights in proptest::collection::vec(1u16..20, 1..10), factor in 1u16..100,
    ) {
        let scaled = weights.iter().map(|weight| weight * factor);
        let balancer = balancer(WeightedRoundRobin::new(), scaled);
        let round: usize = weights.iter().copied().map(usize::from).sum();
        let counts = counts(&places(&balancer, round), weights.len());
        let shares: Vec<usize> = weights.iter().copied().map(usize::from).collect();
        prop_assert_eq!(counts, shares);
    }

    #[test]
    fn least_connections_is_an_argmin(
        loads in proptest::collection::vec((0usize..5, 1u16..4), 1..=12),
    ) {
        let in_flight: Vec<usize> = loads.iter().map(|load| load.0).collect();
        let weighted = |place: usize| (in_flight[place] as u64 + 1) * 840 / u64::from(loads[place].1);
        let plain = |place: usize| in_flight[place] as u64;
        let weights = || loads.iter().map(|load| load.1);
        let by_calls = balancer(LeastConnections::new(), weights());
        let by_weight = balancer(WeightedLeastConnections::new(), weights());
        let loads_by: [&dyn Fn(usize) -> u64; 2] = [&plain, &weighted];
        for (balancer, load) in [by_calls, by_weight].into_iter().zip(loads_by) {
            let _held = hold(&balancer, &in_flight);
            let least = (0..loads.len()).map(load).min().unwrap();
            let mut seen = vec![false; loads.len()];
            for place in places(&balancer, 600) {
                prop_assert_eq!(load(place), least);
                seen[place] = true;
            }
            // Of up to 12 that tie, 600 picks miss one with a chance of 1e-22.
            prop_assert!((0..loads.len()).all(|place| load(place) > least || seen[place]));
        }
    }

    /// The most loaded one is never better than another, so two draws never end with it.
    #[test]
    fn p2c_never_takes_the_one_that_all_others_beat(
        count in 5usize..30, worst in 0usize..30, choices in 2u8..6,
    ) {
        let worst = worst % count;
        let policy = P2c::new().with_choices(choices).unwrap();
        let balancer = balancer(policy, vec![1; count]);
        let mut in_flight = vec![0; count];
        in_flight[worst] = 1;
        let _held = hold(&balancer, &in_flight);
        prop_assert_eq!(counts(&places(&balancer, 200), count)[worst], 0);
    }
}

#[test]
fn random_picks_by_weight() {
    let balancer = balancer(Random::new(), [1, 2, 5]);
    let mut counts = [0u32; 3];
    for seed in 0..8000 {
        let context = PickContext::new().with_random(seed);
        counts[*balancer.pick(&context).unwrap().address()] += 1;
    }
    // 6 standard deviations are about 180, 230 and 260.
    assert!((820..1180).contains(&counts[0]), "{counts:?}");
    assert!((1770..2230).contains(&counts[1]), "{counts:?}");
    assert!((4740..5260).contains(&counts[2]), "{counts:?}");
}

#[test]
fn idle_p2c_is_even_whatever_the_size() {
    for count in [2usize, 4, 5, 10] {
        let balancer = balancer(P2c::new(), vec![1; count]);
        let mut counts = vec![0usize; count];
        let picks = 2000 * count;
        for seed in 0..picks as u64 {
            let context = PickContext::new().with_random(seed);
            counts[*balancer.pick(&context).unwrap().address()] += 1;
        }
        // 6 standard deviations of 2000.
        let even = |share: &usize| (1730..2270).contains(share);
        assert!(counts.iter().all(even), "{counts:?}");
    }
}

#[test]
fn p2c_heeds_weights_when_all_are_idle_and_when_all_are_busy() {
    let weights = [1u16, 1, 1, 1, 4, 4];
    let balancer = balancer(P2c::new(), weights);
    let held: Vec<Picked<usize>> = (0..1200)
        .map(|seed| {
            balancer
                .pick(&PickContext::new().with_random(seed))
                .unwrap()
        })
        .collect();
    let counts = counts(
        &held
            .iter()
            .map(|picked| *picked.address())
            .collect::<Vec<_>>(),
        6,
    );
    for (count, weight) in counts.iter().zip(weights) {
        let owed = 100 * usize::from(weight);
        assert!(
            (owed - owed / 10..=owed + owed / 10).contains(count),
            "{counts:?}"
        );
    }
}

/// What an endpoint counts as before its first answer comes from its peers: with a fixed figure that is
/// far above theirs, it would never get to answer.
#[test]
fn peak_ewma_gives_all_a_chance_whose_latency_is_not_known() {
    let (clock, time) = Clock::manual();
    let balancer = Balancer::new(PeakEwma::new()).with_clock(clock);
    let endpoints = (0..3).map(|place| Endpoint::new(name(place), place));
    balancer.update(endpoints).unwrap();
    let mut counts = [0; 3];
    for _ in 0..300 {
        let picked = balancer.pick(&PickContext::new()).unwrap();
        counts[*picked.address()] += 1;
        time.advance(Duration::from_micros(300));
        picked.record(Outcome::Success);
    }
    assert!(counts.iter().all(|&count| count > 30), "{counts:?}");
}

#[test]
fn peak_ewma_leaves_slow_and_failing_endpoints_alone() {
    let (clock, time) = Clock::manual();
    let balancer = Balancer::new(PeakEwma::new()).with_clock(clock);
    balancer
        .update((0..3).map(|place| Endpoint::new(name(place), place)))
        .unwrap();
    let call = |place: usize, millis: u64, outcome: Outcome| {
        let picked = hold(
            &balancer,
            &[
                usize::from(place == 0),
                usize::from(place == 1),
                usize::from(place == 2),
            ],
        );
        time.advance(std::time::Duration::from_millis(millis));
        for picked in picked {
            picked.record(outcome);
        }
    };
    call(0, 10, Outcome::Success);
    call(1, 200, Outcome::Success);
    call(2, 1, Outcome::Failure);
    assert_eq!(counts(&places(&balancer, 100), 3), [100, 0, 0]);
    let latencies: Vec<_> = balancer
        .snapshot()
        .endpoints
        .iter()
        .map(|e| e.latency.unwrap().as_millis())
        .collect();
    assert!(
        latencies[0] < 12 && latencies[1] > 190 && latencies[2] > 4_900,
        "{latencies:?}"
    );
    // With so many in flight there, the slow one is the better choice.
    let _held = hold(&balancer, &[30]);
    assert_eq!(counts(&places(&balancer, 100), 3), [0, 100, 0]);
}

#[test]
fn a_new_endpoint_begins_with_the_median_of_the_others() {
    let (clock, time) = Clock::manual();
    let balancer = Balancer::new(PeakEwma::new()).with_clock(clock);
    let endpoints = |count| (0..count).map(|place| Endpoint::new(name(place), place));
    balancer.update(endpoints(3)).unwrap();
    for (place, millis) in [(0, 10), (1, 20), (2, 400)] {
        let mut in_flight = [0; 3];
        in_flight[place] = 1;
        let held = hold(&balancer, &in_flight);
        time.advance(std::time::Duration::from_millis(millis));
        drop(held);
    }
    balancer.update(endpoints(4)).unwrap();
    let new = balancer.snapshot().endpoints[3].latency.unwrap();
    assert!((19..=20).contains(&new.as_millis()), "{new:?}");
}

/// Above 65,536 turns in a round the order is another, the shares are not.
#[test]
fn weighted_round_robin_holds_its_shares_where_rounds_are_long() {
    let weights = [60_001u16, 30_001, 7_001];
    let balancer = balancer(WeightedRoundRobin::new(), weights);
    let counts = counts(&places(&balancer, 97_003), 3);
    for (count, weight) in counts.iter().zip(weights) {
        assert!(count.abs_diff(usize::from(weight)) < 300, "{counts:?}");
    }
}

/// One in a thousand has nearly all of the weight, so nearly no candidate is taken.
#[test]
fn weighted_round_robin_holds_its_shares_where_weights_are_extreme() {
    let mut weights = vec![1u16; 1000];
    weights[10] = u16::MAX;
    let balancer = balancer(WeightedRoundRobin::new(), weights);
    let counts = counts(&places(&balancer, 20_000), 1000);
    // Chance decides nearly all: 300 expected for the others together; 6 standard deviations are
    // 103. Where the order begins near their turns, which come one after the other, it adds one for
    // each time around the thousand, at 16 candidates a pick.
    let others = 20_000 - counts[10];
    let in_turn = 20_000 * 16 / 1000;
    assert!((197..403 + in_turn).contains(&others), "{others}");
}

/// Chooses the first whatever it is told of it.
#[derive(Debug)]
struct First;

impl Policy<usize> for First {
    fn table(
        &self,
        _members: &[Member<usize>],
        _draw: &mut Draw,
    ) -> Result<Box<dyn Table<usize>>, InvalidTable> {
        Ok(Box::new(Self))
    }

    fn needs(&self) -> Needs {
        Needs::default().with_whole_level()
    }
}

impl Table<usize> for First {
    fn choose(&self, _choice: &mut Choice<'_, usize>) -> Option<usize> {
        Some(0)
    }
}

#[test]
fn what_an_own_policy_may_not_choose_is_not_picked() {
    let balancer = balancer(First, [1, 1]);
    assert_eq!(places(&balancer, 5), [0; 5]);
    balancer.mark("e0", Mark::Unhealthy);
    assert_eq!(places(&balancer, 5), [1; 5]);
}
