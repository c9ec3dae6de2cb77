//! Anchor tables whose nodes come and go.

use std::collections::BTreeSet;

use proptest::prelude::*;
use stanchion_hashing::{Anchor, ConsistentHash, Node, key_hash};

use crate::nodes::hashes;

/// Sets of ids, one after the other.
fn sets() -> impl Strategy<Value = Vec<Vec<String>>> {
    let set = prop::collection::btree_set("[a-d][0-3]", 1..14);
    let shuffled = set.prop_map(|set| set.into_iter().collect::<Vec<_>>());
    prop::collection::vec(shuffled.prop_shuffle(), 1..6)
}

fn nodes(ids: &[String]) -> Vec<Node<'_>> {
    ids.iter().map(Node::new).collect()
}

proptest! {
    #[test]
    fn nothing_moves_but_from_those_that_leave_and_to_those_that_join(
        sets in sets(), hashes in hashes(),
    ) {
        let mut before = nodes(&sets[0]);
        let mut table = Anchor::new(&before, 16).unwrap();
        for set in &sets[1..] {
            let after = nodes(set);
            let next = table.updated(&after).unwrap();
            let (old, new): (BTreeSet<_>, BTreeSet<_>) = (
                before.iter().map(Node::id).collect(),
                after.iter().map(Node::id).collect(),
            );
            for &hash in &hashes {
                let was = before[table.owner(hash)].id();
                let is = after[next.owner(hash)].id();
                prop_assert!(was == is || !new.contains(was) || !old.contains(is));
                let owners: BTreeSet<_> = next.owners(hash).collect();
                prop_assert_eq!(owners.len(), after.len());
                prop_assert_eq!(next.owners(hash).next(), Some(next.owner(hash)));
            }
            let ids: BTreeSet<_> = next.history().ids().collect();
            prop_assert_eq!(&ids, &new);
            (before, table) = (after, next);
        }
    }

    #[test]
    fn who_returns_at_once_owns_what_it_had(ids in sets(), hashes in hashes()) {
        let all = nodes(&ids[0]);
        let table = Anchor::new(&all, 16).unwrap();
        let rest = &all[..1.max(all.len() / 2)];
        let back = table.updated(rest).unwrap().updated(&all).unwrap();
        if all.len() - rest.len() <= 1 {
            prop_assert_eq!(back.history(), table.history());
        }
        for hash in hashes {
            let (was, is) = (all[table.owner(hash)], all[back.owner(hash)]);
            prop_assert!(was == is || !rest.contains(&was));
        }
    }
}

#[test]
fn shares_are_even_after_many_have_left() {
    let ids: Vec<String> = (0..50).map(|n| format!("node-{n}")).collect();
    let all = nodes(&ids);
    let rest = [&all[..4], &all[20..26]].concat();
    let table = Anchor::new(&all, 64).unwrap().updated(&rest).unwrap();
    let mut counts = [0_u32; 10];
    for key in 0..100_000_u64 {
        counts[table.owner(key_hash(&key.to_le_bytes()))] += 1;
    }
    // Six standard deviations of chance are 569.
    assert!(
        counts.iter().all(|&count| count.abs_diff(10_000) <= 569),
        "{counts:?}"
    );
}

/// What the unhealthy node had is spread over all others.
#[test]
fn the_keys_of_one_go_on_to_all_others_alike() {
    let ids: Vec<String> = (0..10).map(|n| format!("node-{n}")).collect();
    let table = Anchor::new(&nodes(&ids), 16).unwrap();
    let mut counts = [0_u32; 10];
    let mut owned = 0;
    for key in 0..1_000_000_u64 {
        let hash = key_hash(&key.to_le_bytes());
        if table.owner(hash) == 3 {
            owned += 1;
            counts[table.owners(hash).nth(1).unwrap()] += 1;
        }
    }
    assert_eq!(counts[3], 0);
    counts[3] = owned / 9;
    let fair = owned / 9;
    // Six standard deviations of chance are some 600.
    assert!(
        counts.iter().all(|count| count.abs_diff(fair) <= 600),
        "{counts:?}"
    );
}

#[test]
fn what_has_no_room_is_refused() {
    let nodes = ["a", "b", "c"].map(Node::from);
    let refused = |capacity| Anchor::new(&nodes, capacity).unwrap_err().to_string();
    assert_eq!(refused(0), "capacity is 0, must be 1 to 1048576");
    assert_eq!(
        refused(1 << 20 | 1),
        "capacity is 1048577, must be 1 to 1048576"
    );
    assert_eq!(
        refused(2),
        "there are 3 nodes, must be at most the capacity of 2"
    );
    let full = Anchor::new(&nodes[..2], 2).unwrap();
    assert!(full.updated(&nodes).is_err());
    assert!(full.updated(&nodes[2..]).is_ok());
    let weighted = [nodes[0], nodes[1].with_weight(3)];
    assert_eq!(
        full.updated(&weighted).unwrap_err().to_string(),
        "the weight of the node at 1 is 3, must be 1 as in all: this table knows no weights"
    );
    assert!(
        full.updated(&nodes.map(|node| node.with_weight(7))[1..])
            .is_ok()
    );
}

#[test]
fn placements_are_as_version_1_has_them() {
    let nodes = ["a", "b", "10.0.0.1:80"].map(Node::from);
    let table = Anchor::new(&nodes, 6).unwrap();
    let owners = |key: &str| table.owners(key_hash(key.as_bytes())).collect::<Vec<_>>();
    let keys = ["", "a", "user:1000", "user:1001", "user:1002", "日本"];
    let found = keys.map(owners);
    let expected = [
        [0, 2, 1],
        [2, 0, 1],
        [0, 1, 2],
        [1, 2, 0],
        [1, 2, 0],
        [0, 2, 1],
    ];
    assert_eq!(found, expected);
}
