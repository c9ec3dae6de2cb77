//! Keys and their owners.

use proptest::prelude::*;
use stanchion_hashing::AnchorHistory;
use stanchion_lb::policy::{ConsistentHash, Histories, Policy};
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

fn anchor(histories: &Histories<AnchorHistory>) -> ConsistentHash {
    ConsistentHash::anchor(32, histories.clone()).expect("room for all")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn keys_of_a_lost_endpoint_go_elsewhere_and_come_back(count in 4usize..12, lost in 0usize..12) {
        let lost = lost % count;
        only_its_keys_move(ConsistentHash::ring(), count, lost);
        only_its_keys_move(ConsistentHash::maglev_of_size(251).unwrap(), count, lost);
        only_its_keys_move(ConsistentHash::rendezvous(), count, lost);
        only_its_keys_move(ConsistentHash::jump(Histories::new()), count, lost);
        only_its_keys_move(anchor(&Histories::new()), count, lost);
    }

    /// Nobody has more than his share by the factor, the call that comes counted; and who is not
    /// full keeps his keys.
    #[test]
    fn bounded_loads_hold(
        weights in proptest::collection::vec(1u16..4, 2..10), calls in 1usize..200, one_key: bool,
        anchored: bool,
    ) {
        let weights = if anchored { vec![3; weights.len()] } else { weights };
        let sum: u64 = weights.iter().copied().map(u64::from).sum();
        let policy = || match anchored {
            true => anchor(&Histories::new()),
            false => ConsistentHash::ring(),
        };
        let balancer = balancer_of(policy().with_bound(1.5).unwrap(), &weights);
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
        let plain = balancer_of(policy(), &weights);
        drop(held);
        prop_assert_eq!(owners(&balancer), owners(&plain));
    }
}

fn balancer_of(policy: ConsistentHash, weights: &[u16]) -> Balancer<usize> {
    balancer(policy, weights.iter().copied())
}

fn endpoints(places: &[usize]) -> impl Iterator<Item = Endpoint<usize>> {
    places
        .iter()
        .map(|&place| Endpoint::new(name(place), place))
}

/// The order in which endpoints are listed says nothing, the one in which they came does.
#[test]
fn shards_are_added_and_only_the_last_one_may_go() {
    let histories = Histories::new();
    let balancer = Balancer::new(ConsistentHash::jump(histories.clone()));
    balancer.update(endpoints(&[5, 4])).unwrap();
    let two = owners(&balancer);
    balancer.update(endpoints(&[1, 5, 4])).unwrap();
    let three = owners(&balancer);
    assert!(
        two.iter()
            .zip(&three)
            .all(|(two, three)| two == three || *three == 1)
    );
    let error = balancer.update(endpoints(&[1, 5])).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        source,
        "the node at 0 is \"e5\", must be \"e4\": only at the end may nodes come and go"
    );
    assert_eq!(owners(&balancer), three);
    // Drained, or without weight, a shard keeps its number.
    balancer.mark("e5", Mark::Drain);
    assert!(!owners(&balancer).contains(&5));
    balancer.mark("e5", Mark::Enable);
    let light = |each: Endpoint<usize>| match *each.address() {
        5 => each.with_weight(0),
        _ => each,
    };
    balancer.update(endpoints(&[4, 5, 1]).map(light)).unwrap();
    assert!(!owners(&balancer).contains(&5));

    let kept = Histories::from_levels(histories.levels());
    let next = Balancer::new(ConsistentHash::jump(kept));
    next.update(endpoints(&[4, 1, 5])).unwrap();
    assert_eq!(owners(&next), three);
    balancer.update(endpoints(&[4, 5])).unwrap();
    assert_eq!(owners(&balancer), two);
}

#[test]
fn anchors_go_on_from_what_was_kept_and_not_from_what_was_refused() {
    let histories = Histories::new();
    let balancer = Balancer::new(anchor(&histories));
    balancer.update(endpoints(&[0, 1, 2, 3, 4, 5])).unwrap();
    let six = owners(&balancer);
    balancer.update(endpoints(&[5, 0, 2, 3])).unwrap();
    let four = owners(&balancer);
    let stays = |(six, four): (&usize, &usize)| [1, 4].contains(six) || six == four;
    assert!(
        six.iter().zip(&four).all(stays),
        "only keys of those that went move"
    );

    let kept = histories.levels();
    let weighted = endpoints(&[0, 2]).map(|each| match *each.address() {
        2 => each.with_weight(2),
        _ => each,
    });
    assert!(balancer.update(weighted).is_err());
    assert_eq!(histories.levels(), kept);
    let next = Balancer::new(anchor(&Histories::from_levels(kept)));
    next.update(endpoints(&[0, 2, 3, 5])).unwrap();
    assert_eq!(owners(&next), four);
    // Without its history it would be another table.
    let forgets = Balancer::new(anchor(&Histories::new()));
    forgets.update(endpoints(&[0, 2, 3, 5])).unwrap();
    assert_ne!(owners(&forgets), four);
    for capacity in [0, 65_537] {
        let error = ConsistentHash::anchor(capacity, Histories::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("capacity is {capacity}, must be from 1 to 65536")
        );
    }
}

#[cfg(feature = "ketama")]
#[test]
fn keys_meet_where_nginx_and_libketama_send_them() {
    use stanchion_hashing::engine::{libketama_hash, nginx_hash};

    let picks = |balancer: &Balancer<usize>, hash: u64| {
        *balancer
            .pick(&PickContext::new().with_hash(hash))
            .unwrap()
            .address()
    };
    let nginx = Balancer::new(ConsistentHash::nginx());
    let servers = [7777, 7778].map(|port| Endpoint::new(format!("127.0.0.1:{port}"), port));
    nginx.update(servers).unwrap();
    assert_eq!(picks(&nginx, nginx_hash(b"/some/path")), 7778);
    assert_eq!(picks(&nginx, nginx_hash(b"/some/longer/path")), 7777);

    let ketama = Balancer::new(ConsistentHash::libketama());
    let weights = [600, 300, 200, 350, 1_000, 800, 950, 100];
    let servers = (1..).zip(weights).map(|(last, weight)| {
        Endpoint::new(format!("10.0.1.{last}:11211"), last).with_weight(weight)
    });
    ketama.update(servers).unwrap();
    assert_eq!(picks(&ketama, libketama_hash(b"0")), 1);
    assert_eq!(picks(&ketama, libketama_hash(b"1")), 5);
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
