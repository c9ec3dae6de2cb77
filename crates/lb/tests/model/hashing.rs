//! Keys and their owners.

use proptest::prelude::*;
use stanchion_lb::policy::{ConsistentHash, Policy};
use stanchion_lb::{Balancer, Config, Endpoint, Mark, PickContext};

use crate::fleet::{balancer, name};

const KEYS: u64 = 400;

fn owner(balancer: &Balancer<usize>, key: u64) -> usize {
    let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let picked = balancer.pick(&PickContext::new().with_hash(hash));
    *picked.expect("there is an endpoint").address()
}

fn owners(balancer: &Balancer<usize>) -> Vec<usize> {
    (0..KEYS).map(|key| owner(balancer, key)).collect()
}

/// Whom keys go to when one endpoint cannot be used: only its own keys move, and they come back.
fn only_its_keys_move(policy: impl Policy<usize> + 'static, count: usize, lost: usize) {
    let balancer = balancer(policy, vec![1; count]);
    let before = owners(&balancer);
    for mark in [Mark::Unhealthy, Mark::Eject, Mark::Hold] {
        balancer.mark(&name(lost), mark);
        let now = owners(&balancer);
        for (before, now) in before.iter().zip(now) {
            assert!(now != lost && (*before == lost || *before == now));
        }
        for mark in [Mark::Unknown, Mark::Readmit, Mark::Release] {
            balancer.mark(&name(lost), mark);
        }
        assert_eq!(owners(&balancer), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn keys_of_a_lost_endpoint_go_elsewhere_and_come_back(count in 4usize..12, lost in 0usize..12) {
        let lost = lost % count;
        only_its_keys_move(ConsistentHash::ring(), count, lost);
        only_its_keys_move(ConsistentHash::maglev_of_size(251).unwrap(), count, lost);
        only_its_keys_move(ConsistentHash::rendezvous(), count, lost);
    }

    /// Nobody has more than his share by the factor, the call that comes counted; and who is not
    /// full keeps his keys.
    #[test]
    fn bounded_loads_hold(
        weights in proptest::collection::vec(1u16..4, 2..10), calls in 1usize..200, one_key: bool,
    ) {
        let sum: u64 = weights.iter().copied().map(u64::from).sum();
        let balancer = balancer(ConsistentHash::ring().with_bound(1.5).unwrap(), weights.clone());
        let mut held = Vec::new();
        let mut in_flight = vec![0u64; weights.len()];
        for call in 0..calls as u64 {
            let hash = if one_key { 7 } else { call.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
            let picked = balancer.pick(&PickContext::new().with_hash(hash)).unwrap();
            let place = *picked.address();
            in_flight[place] += 1;
            held.push(picked);
            let capacity = (3 * (call + 1) * u64::from(weights[place])).div_ceil(2 * sum);
            prop_assert!(in_flight[place] <= capacity, "{} of {}", in_flight[place], capacity);
        }
        let plain = balancer_of_ring(&weights);
        drop(held);
        prop_assert_eq!(owners(&balancer), owners(&plain));
    }
}

fn balancer_of_ring(weights: &[u16]) -> Balancer<usize> {
    balancer(ConsistentHash::ring(), weights.iter().copied())
}

#[test]
fn the_order_of_endpoints_does_not_matter() {
    let there = balancer(ConsistentHash::ring(), [1; 9]);
    let back = Balancer::new(ConsistentHash::ring());
    let endpoints = (0..9).rev().map(|place| Endpoint::new(name(place), place));
    back.update(endpoints).unwrap();
    assert_eq!(owners(&there), owners(&back));
}

/// By Maglev, too, where keys of others would move if a table were made without it.
#[test]
fn a_drained_endpoint_takes_only_its_own_keys_away() {
    for policy in [
        ConsistentHash::rendezvous(),
        ConsistentHash::maglev_of_size(251).unwrap(),
    ] {
        let balancer = balancer(policy, [1; 6]);
        let before = owners(&balancer);
        balancer.mark("e2", Mark::Drain);
        for (before, now) in before.iter().zip(owners(&balancer)) {
            assert!(now != 2 && (*before == 2 || *before == now));
        }
        balancer.mark("e2", Mark::Enable);
        assert_eq!(owners(&balancer), before);
    }
}

/// A key's level is its hash's matter, too, and does not change from call to call.
#[test]
fn a_key_stays_while_levels_share() {
    let balancer = Balancer::new(ConsistentHash::maglev_of_size(251).unwrap());
    let endpoint =
        |place: usize| Endpoint::new(name(place), place).with_priority(u8::from(place > 3));
    balancer.update((0..8).map(endpoint)).unwrap();
    balancer.set_config(Config::default().with_panic_threshold(0).unwrap());
    for lost in ["e0", "e1"] {
        balancer.mark(lost, Mark::Unhealthy);
    }
    let first = owners(&balancer);
    assert_eq!(owners(&balancer), first);
    let above = first.iter().filter(|place| **place > 3).count();
    // 30 in a hundred of 400; 6 standard deviations are 55.
    assert!((65..175).contains(&above), "{above}");
}

#[test]
fn what_makes_no_policy_is_refused() {
    let error = ConsistentHash::maglev_of_size(100).unwrap_err();
    assert_eq!(error.field(), "size");
    assert!(ConsistentHash::ring().with_bound(f64::NAN).is_err());
    assert!(ConsistentHash::ring().with_bound(1.0).is_err());
}
