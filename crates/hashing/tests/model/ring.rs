//! The ring against all points, sorted.

use std::num::NonZeroU32;

use proptest::prelude::*;
use stanchion_hashing::{ConsistentHash, Node, Points, Ring, key_hash};
use xxhash_rust::xxh3::xxh3_64;

use crate::nodes::{self, Named, hashes, some};

/// All points, by place, those of the same place by id.
fn all_points(named: &[Named], count: u32, unit: u32) -> Vec<(u64, &str, usize)> {
    let mut all = Vec::new();
    for (at, (id, weight)) in named.iter().enumerate() {
        let points = (2 * weight * count + unit) / (2 * unit);
        let points = if *weight == 0 {
            0
        } else {
            points.max(1).into()
        };
        for i in 0_u64..points {
            let both = [xxh3_64(id.as_bytes()).to_le_bytes(), i.to_le_bytes()].concat();
            all.push((xxh3_64(&both), &**id, at));
        }
    }
    all.sort();
    all
}

fn owners(all: &[(u64, &str, usize)], hash: u64) -> Vec<usize> {
    let after = all.iter().filter(|(point, ..)| *point >= hash);
    let before = all.iter().filter(|(point, ..)| *point < hash);
    let mut owners = Vec::new();
    for (_, _, owner) in after.chain(before) {
        if !owners.contains(owner) {
            owners.push(*owner);
        }
    }
    owners
}

proptest! {
    #[test]
    fn a_hash_belongs_to_the_first_point_at_or_after_it(
        named in some(0_u32..8), count in 1_u32..8, unit in 1_u32..8, hashes in hashes(),
    ) {
        let nonzero = |n| NonZeroU32::new(n).unwrap();
        let points = Points::new(nonzero(count)).per_weight(nonzero(unit));
        let ring = Ring::with_points(&nodes::of(&named), points).unwrap();
        let all = all_points(&named, count, unit);
        prop_assert_eq!(ring.points(), all.len());
        let near = all.iter().flat_map(|(point, ..)| {
            [point.wrapping_sub(1), *point, point.wrapping_add(1)]
        });
        for hash in near.chain(hashes).chain([0, u64::MAX]) {
            let expected = owners(&all, hash);
            prop_assert_eq!(ring.owner(hash), expected[0]);
            prop_assert_eq!(ring.owners(hash).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn placements_are_as_version_1_has_them() {
    let nodes = [
        Node::from("a"),
        Node::from("b").with_weight(2),
        Node::from("10.0.0.1:80"),
    ];
    let ring = Ring::new(&nodes).unwrap();
    let owners = |key: &str| ring.owners(key_hash(key.as_bytes())).collect::<Vec<_>>();
    let keys = ["", "a", "user:1000", "user:1001", "user:1002", "日本"];
    let found = keys.map(owners);
    let expected = [
        [1, 0, 2],
        [2, 1, 0],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
        [1, 2, 0],
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_ring_of_too_many_points_is_refused() {
    let nodes = [Node::from("a").with_weight(u32::MAX), Node::from("b")];
    let error = Ring::new(&nodes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the ring has 687194767360 points, must be at most 8388608"
    );
    let per = Points::default().per_weight(NonZeroU32::MAX);
    assert_eq!(Ring::with_points(&nodes, per).unwrap().points(), 161);
}
