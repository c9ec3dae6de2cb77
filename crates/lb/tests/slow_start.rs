//! Slow start through the policies, on a clock that is moved by hand.

use std::time::Duration;

use stanchion_core::{Clock, ManualClock, Outcome};
use stanchion_lb::policy::{
    LeastConnections, P2c, Policy, Random, RoundRobin, WeightedLeastConnections, WeightedRoundRobin,
};
use stanchion_lb::{Balancer, Config, Endpoint, Mark, Outliers, PickContext, SlowStart};

fn balancer(
    policy: impl Policy<usize> + 'static,
    endpoints: usize,
) -> (Balancer<usize>, ManualClock) {
    let (clock, time) = Clock::manual();
    time.advance(Duration::from_secs(1000));
    let balancer = Balancer::new(policy)
        .with_clock(clock)
        .with_config(Config::default().with_slow_start(SlowStart::default()));
    update(&balancer, endpoints);
    (balancer, time)
}

fn update(balancer: &Balancer<usize>, endpoints: usize) {
    let endpoint = |place: usize| Endpoint::new(place.to_string(), place);
    balancer
        .update((0..endpoints).map(endpoint))
        .expect("as it should be");
}

fn shares(balancer: &Balancer<usize>) -> Vec<u32> {
    let endpoints = balancer.snapshot().endpoints;
    endpoints
        .iter()
        .map(|endpoint| endpoint.share_percent)
        .collect()
}

/// How often each is picked, of so many calls that are over at once.
fn picked(balancer: &Balancer<usize>, picks: u64) -> Vec<u64> {
    let mut counts = vec![0; balancer.snapshot().endpoints.len()];
    for seed in 0..picks {
        let context = PickContext::new().with_random(seed);
        counts[*balancer.pick(&context).expect("as it should be").address()] += 1;
    }
    counts
}

#[test]
fn one_that_comes_later_gets_a_tenth_that_grows_to_all() {
    let (balancer, time) = balancer(RoundRobin::new(), 4);
    assert_eq!(shares(&balancer), [100; 4]);
    update(&balancer, 5);
    // Four whole ones and a tenth: 41 turns, exactly.
    assert_eq!(picked(&balancer, 41), [10, 10, 10, 10, 1]);
    for seconds in [3, 3, 3, 3, 3] {
        time.advance(Duration::from_secs(seconds));
        let _ = balancer.pick(&PickContext::new());
    }
    assert_eq!(shares(&balancer)[4], 50);
    assert_eq!(picked(&balancer, 9), [2, 2, 2, 2, 1]);
    // A refresh starts nothing again.
    update(&balancer, 5);
    assert_eq!(picked(&balancer, 9), [2, 2, 2, 2, 1]);
    time.advance(Duration::from_secs(15));
    assert_eq!(picked(&balancer, 10), [2; 5]);
}

#[test]
fn where_all_are_new_none_starts_slowly() {
    let (balancer, _time) = balancer(WeightedRoundRobin::new(), 3);
    for place in 0..3 {
        balancer.mark(&place.to_string(), Mark::Healthy);
    }
    assert_eq!(shares(&balancer), [100; 3]);
    assert_eq!(picked(&balancer, 30), [10; 3]);
}

#[test]
fn it_starts_with_the_first_check_and_each_time_it_is_back() {
    let (balancer, time) = balancer(RoundRobin::new(), 2);
    for id in ["0", "1"] {
        balancer.mark(id, Mark::Healthy);
    }
    update(&balancer, 3);
    time.advance(Duration::from_secs(20));
    // It waited for this.
    balancer.mark("2", Mark::Healthy);
    assert_eq!(shares(&balancer), [100, 100, 10]);
    time.advance(Duration::from_secs(30));
    assert_eq!(shares(&balancer), [100; 3]);

    for (down, up) in [
        (Mark::Unhealthy, Mark::Healthy),
        (Mark::Unhealthy, Mark::Degraded),
        (Mark::Eject, Mark::Readmit),
        (Mark::Drain, Mark::Enable),
        (Mark::Disable, Mark::Enable),
    ] {
        balancer.mark("0", down);
        time.advance(Duration::from_secs(60));
        balancer.mark("0", up);
        assert_eq!(shares(&balancer), [10, 100, 100], "{up:?}");
        time.advance(Duration::from_secs(60));
    }
    // A breaker has ways of its own, and what changes while it is fit is no start.
    for mark in [Mark::Hold, Mark::Release, Mark::Degraded, Mark::Healthy] {
        balancer.mark("0", mark);
        assert_eq!(shares(&balancer), [100; 3], "{mark:?}");
    }
}

#[test]
fn outlier_detection_lets_in_slowly() {
    let (balancer, time) = balancer(RoundRobin::new(), 2);
    let config = Config::default()
        .with_slow_start(SlowStart::default())
        .with_outliers(Outliers::default());
    balancer.set_config(config);
    for _ in 0..5 {
        let context = PickContext::new().with_affinity("0");
        balancer.pick(&context).unwrap().record(Outcome::Failure);
    }
    time.advance(Duration::from_secs(30));
    let _ = balancer.pick(&PickContext::new());
    assert_eq!(shares(&balancer), [10, 100]);
    assert_eq!(picked(&balancer, 11), [1, 10]);
}

#[test]
fn each_policy_heeds_it() {
    fn part_of_new(policy: impl Policy<usize> + 'static) -> u64 {
        let (balancer, _time) = balancer(policy, 9);
        update(&balancer, 10);
        picked(&balancer, 9_100)[9]
    }
    // Of 9 whole ones and a tenth, one in 91.
    assert_eq!(part_of_new(RoundRobin::new()), 100);
    assert_eq!(part_of_new(WeightedRoundRobin::new()), 100);
    let chance = 50..=160;
    assert!(chance.contains(&part_of_new(Random::new())));
    // The one with the least to do for its weight is never one of a tenth while all are idle.
    assert!(part_of_new(P2c::new()) < 160);
    assert_eq!(part_of_new(LeastConnections::new()), 0);
    assert_eq!(part_of_new(WeightedLeastConnections::new()), 0);
}

#[test]
fn of_calls_that_stay_one_that_starts_has_its_share() {
    for policy in [0, 1] {
        let (balancer, _time) = balancer(LeastConnections::new(), 2);
        if policy == 1 {
            let policy = WeightedLeastConnections::new();
            balancer.set_policy(policy).unwrap();
        }
        update(&balancer, 3);
        let held: Vec<_> = (0..210)
            .map(|_| balancer.pick(&PickContext::new()).unwrap())
            .collect();
        let of_new = held.iter().filter(|picked| *picked.address() == 2).count();
        assert_eq!(of_new, 10);
    }
}
