//! Maglev against places that are given out turn by turn, and what moves when nodes go.

use proptest::prelude::*;
use stanchion_hashing::{ConsistentHash, Maglev, Node, key_hash};
use xxhash_rust::xxh3::xxh3_64;

use crate::nodes::{self, Named, hashes, some};

/// Every node in every turn: does it have what is its due by now?
fn naive(named: &[Named], size: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..named.len()).filter(|&at| named[at].1 > 0).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&named[a], &named[b]);
        b.1.cmp(&a.1).then(a.0.cmp(&b.0))
    });
    let greatest = named
        .iter()
        .map(|(_, weight)| u64::from(*weight))
        .max()
        .unwrap();
    let mut taken = vec![0; named.len()];
    let mut places = vec![None; usize::try_from(size).unwrap()];
    for turn in 1.. {
        for &at in &order {
            let (id, weight) = &named[at];
            if turn * u64::from(*weight) < taken[at] * greatest {
                continue;
            }
            let hash = xxh3_64(id.as_bytes());
            let both = [hash.to_le_bytes(), 1_u64.to_le_bytes()].concat();
            let skip = xxh3_64(&both) % (size - 1) + 1;
            let wanted =
                (0..size).map(|k| usize::try_from((hash % size + k * skip) % size).unwrap());
            let Some(free) = wanted.into_iter().find(|place| places[*place].is_none()) else {
                return places.into_iter().flatten().collect();
            };
            places[free] = Some(at);
            taken[at] += 1;
        }
    }
    unreachable!("turns end when all places are taken")
}

/// The least hash of each place.
fn hash_of(place: usize, size: u64) -> u64 {
    let hash = ((place as u128) << 64).div_ceil(u128::from(size));
    u64::try_from(hash).unwrap()
}

proptest! {
    #[test]
    fn places_are_taken_in_turns(
        named in some(prop_oneof![Just(1), 0_u32..4, 1_u32..100]),
        size in prop::sample::select(vec![13_u32, 31, 101, 251]),
    ) {
        let table = Maglev::with_size(&nodes::of(&named), size).unwrap();
        let places = naive(&named, size.into());
        for (place, &owner) in places.iter().enumerate() {
            let hash = hash_of(place, size.into());
            prop_assert_eq!(table.owner(hash), owner);
            let mut owners = Vec::new();
            for &owner in places[place..].iter().chain(&places[..place]) {
                if !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
            prop_assert_eq!(table.owners(hash).collect::<Vec<_>>(), owners);
        }
        for at in 0..named.len() {
            prop_assert_eq!(table.places(at), places.iter().filter(|owner| **owner == at).count());
        }
    }

    #[test]
    fn shares_are_exact_to_a_place_for_each_other_node(
        named in prop_oneof![some(Just(3)), some(0_u32..100)],
    ) {
        let table = Maglev::with_size(&nodes::of(&named), 4_099).unwrap();
        let sum: f64 = named.iter().map(|(_, weight)| f64::from(*weight)).sum();
        for (at, (_, weight)) in named.iter().enumerate() {
            let fair = 4_099.0 * f64::from(*weight) / sum;
            let places = table.places(at) as f64;
            let equal = named.iter().all(|other| other.1 == *weight);
            let most = if equal { 1.0 } else { named.len() as f64 };
            prop_assert!((places - fair).abs() < most, "{places} places, {fair} are fair");
        }
    }

    #[test]
    fn any_hash_has_a_place(named in some(Just(1)), hashes in hashes()) {
        let table = Maglev::with_size(&nodes::of(&named), 13).unwrap();
        for hash in hashes.into_iter().chain([0, u64::MAX]) {
            prop_assert!(table.owner(hash) < named.len());
        }
    }
}

#[test]
fn weights_of_one_and_two_share_as_envoy_shares() {
    let nodes = [
        Node::from("127.0.0.1:90"),
        Node::from("127.0.0.1:91").with_weight(2),
    ];
    let table = Maglev::new(&nodes).unwrap();
    assert_eq!([table.places(0), table.places(1)], [21_846, 43_691]);
}

/// A node goes; of the keys that others own, at most so many in a hundred may move.
#[test]
fn few_keys_move_that_need_not() {
    for (count, percent_max) in [(10, 0.5), (100, 0.8), (1_000, 1.0)] {
        let names: Vec<String> = (0..count).map(|n| format!("node-{n}")).collect();
        let nodes: Vec<Node<'_>> = names.iter().map(Node::new).collect();
        let before = Maglev::new(&nodes).unwrap();
        let mut moved = 0;
        let mut kept = 0;
        let gone_ones = [0, count / 2, count - 1];
        for gone in gone_ones {
            let mut fewer = nodes.clone();
            fewer.remove(gone);
            let after = Maglev::new(&fewer).unwrap();
            for place in 0..before.size() {
                let hash = hash_of(place, 65_537);
                let owner = before.owner(hash);
                if owner != gone {
                    kept += 1;
                    moved += u32::from(nodes[owner] != fewer[after.owner(hash)]);
                }
            }
        }
        let percent = f64::from(moved) * 100.0 / f64::from(kept);
        assert!(percent <= percent_max, "{percent} % of {count} nodes' keys");
    }
}

#[test]
fn sizes_that_are_none_are_refused() {
    let nodes = ["a", "b", "c", "d"].map(Node::from);
    for size in [0, 1, 2, 4, 65_535, 5_000_013, u32::MAX] {
        let error = Maglev::with_size(&nodes, size).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("size is {size}, must be a prime from 3 to 5000011")
        );
    }
    let error = Maglev::with_size(&nodes, 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "4 nodes have a weight, must be at most one for each of the 3 places"
    );
    assert!(Maglev::with_size(&nodes[1..], 3).is_ok());
}

#[test]
fn placements_are_as_version_1_has_them() {
    let nodes = [
        Node::from("a"),
        Node::from("b").with_weight(2),
        Node::from("10.0.0.1:80"),
    ];
    let table = Maglev::new(&nodes).unwrap();
    let owners = |key: &str| table.owners(key_hash(key.as_bytes())).collect::<Vec<_>>();
    let keys = ["", "a", "user:1000", "user:1001", "user:1002", "日本"];
    let found = keys.map(owners);
    let expected = [
        [1, 2, 0],
        [2, 1, 0],
        [1, 2, 0],
        [0, 1, 2],
        [0, 1, 2],
        [1, 2, 0],
    ];
    assert_eq!(found, expected);
}
