//! What tables promise, whatever their algorithm.

use std::collections::BTreeSet;

use proptest::prelude::*;
use stanchion_hashing::{
    Anchor, ConsistentHash, InvalidTable, Jump, Maglev, Node, Rendezvous, Ring,
};

use crate::nodes::{self, Named, and_one, hashes, some};

type Build<T> = fn(&[Node<'_>]) -> Result<T, InvalidTable>;

const RING: Build<Ring> = Ring::new;
const RENDEZVOUS: Build<Rendezvous> = Rendezvous::new;
const MAGLEV: Build<Maglev> = |nodes| Maglev::with_size(nodes, 251);
const ANCHOR: Build<Anchor> = |nodes| Anchor::new(nodes, 1 << 20);
const SMALL_ANCHOR: Build<Anchor> = |nodes| Anchor::new(nodes, 20);
const JUMP: Build<Jump> = Jump::new;

fn table<T>(build: Build<T>, named: &[Named]) -> T {
    build(&nodes::of(named)).unwrap()
}

/// Each node that has a weight comes once, the owner first.
fn each_owner_once<T: ConsistentHash>(table: &T, named: &[Named], hashes: &[u64]) {
    let weighted: BTreeSet<usize> = (0..named.len()).filter(|&at| named[at].1 > 0).collect();
    for &hash in hashes {
        let owners: Vec<usize> = table.owners(hash).collect();
        assert_eq!(owners[0], table.owner(hash));
        assert_eq!(owners.len(), weighted.len());
        assert_eq!(owners.iter().copied().collect::<BTreeSet<_>>(), weighted);
        assert_eq!(
            table.owners(hash).size_hint(),
            (owners.len(), Some(owners.len()))
        );
    }
    for (at, (_, weight)) in named.iter().enumerate() {
        assert_eq!(table.weight(at), *weight);
    }
    assert_eq!(table.weight(named.len()), 0);
    let sum = named.iter().map(|(_, weight)| u64::from(*weight)).sum();
    assert_eq!(table.weight_sum(), sum);
}

/// The same owners, by name, whatever the order of the nodes.
fn order_makes_no_difference<T: ConsistentHash>(build: Build<T>, named: &[Named], hashes: &[u64]) {
    let mut sorted = named.to_vec();
    sorted.sort();
    let (any, sorted_table) = (table(build, named), table(build, &sorted));
    for &hash in hashes {
        let any = any.owners(hash).map(|at| &named[at]);
        assert!(any.eq(sorted_table.owners(hash).map(|at| &sorted[at])));
    }
}

/// Without one node, all owners of all keys are what they were, less that one.
fn only_the_keys_of_the_gone_move<T: ConsistentHash>(
    build: Build<T>,
    (named, gone): &(Vec<Named>, usize),
    hashes: &[u64],
) {
    let mut fewer = named.clone();
    let (gone, _) = fewer.remove(*gone);
    if fewer.iter().all(|(_, weight)| *weight == 0) {
        return;
    }
    let (before, after) = (table(build, named), table(build, &fewer));
    for &hash in hashes {
        let before = before.owners(hash).map(|at| &named[at].0);
        let after = after.owners(hash).map(|at| &fewer[at].0);
        assert!(before.filter(|id| **id != gone).eq(after));
    }
}

/// With more weight, a node comes earlier among the owners of a key, and the others stay.
fn more_weight_only_takes<T: ConsistentHash>(
    build: Build<T>,
    (named, larger): &(Vec<Named>, usize),
    more: u32,
    hashes: &[u64],
) {
    let mut after = named.clone();
    after[*larger].1 += more;
    let (before, after) = (table(build, named), table(build, &after));
    for &hash in hashes {
        let place = |table: &T| table.owners(hash).position(|at| at == *larger);
        assert!(place(&after) <= place(&before));
        let others = |table: &T| -> Vec<_> {
            let owners = table.owners(hash);
            owners.filter(|at| at != larger).collect()
        };
        assert_eq!(others(&before), others(&after));
    }
}

fn weights() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1), 0_u32..6]
}

proptest! {
    #[test]
    fn owners_are_all_nodes_once(named in some(weights()), hashes in hashes()) {
        each_owner_once(&table(RING, &named), &named, &hashes);
        each_owner_once(&table(RENDEZVOUS, &named), &named, &hashes);
        each_owner_once(&table(MAGLEV, &named), &named, &hashes);
    }

    #[test]
    fn owners_are_all_nodes_once_without_weights(named in some(Just(1)), hashes in hashes()) {
        each_owner_once(&table(SMALL_ANCHOR, &named), &named, &hashes);
        each_owner_once(&table(JUMP, &named), &named, &hashes);
    }

    #[test]
    fn the_order_of_nodes_makes_no_difference(named in some(weights()), hashes in hashes()) {
        order_makes_no_difference(RING, &named, &hashes);
        order_makes_no_difference(RENDEZVOUS, &named, &hashes);
        order_makes_no_difference(MAGLEV, &named, &hashes);
    }

    #[test]
    fn the_order_of_the_first_nodes_makes_no_difference(
        named in some(Just(1)), hashes in hashes(),
    ) {
        order_makes_no_difference(SMALL_ANCHOR, &named, &hashes);
    }

    #[test]
    fn no_key_moves_but_those_of_a_node_that_goes(
        nodes in and_one(weights()), hashes in hashes(),
    ) {
        only_the_keys_of_the_gone_move(RING, &nodes, &hashes);
        only_the_keys_of_the_gone_move(RENDEZVOUS, &nodes, &hashes);
    }

    #[test]
    fn a_node_of_more_weight_only_takes_keys(
        nodes in and_one(weights()), more in 1_u32..4, hashes in hashes(),
    ) {
        more_weight_only_takes(RING, &nodes, more, &hashes);
        more_weight_only_takes(RENDEZVOUS, &nodes, more, &hashes);
    }
}

#[test]
fn what_cannot_be_shared_out_is_refused_by_name() {
    fn refused<T>(build: Build<T>, nodes: &[Node<'_>]) -> String {
        build(nodes).err().expect("refused").to_string()
    }
    fn all<T>(build: Build<T>) {
        let (a, b) = (Node::from("a"), Node::from("b"));
        assert_eq!(refused(build, &[]), "there are 0 nodes, must be at least 1");
        assert_eq!(
            refused(build, &[a.with_weight(0), b.with_weight(0)]),
            "all weights are 0, one must be at least 1"
        );
        assert_eq!(
            refused(build, &[b, a, b.with_weight(0)]),
            "the nodes at 0 and 2 are both \"b\", each must have an id of its own"
        );
        let names: Vec<String> = (0..=1 << 20).map(|n: u32| n.to_string()).collect();
        let many: Vec<Node<'_>> = names.iter().map(Node::new).collect();
        assert_eq!(
            refused(build, &many),
            "there are 1048577 nodes, must be at most 1048576"
        );
    }
    all(RING);
    all(RENDEZVOUS);
    all(MAGLEV);
    all(ANCHOR);
    all(JUMP);
}
