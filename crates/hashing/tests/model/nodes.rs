//! Sets of nodes, in any order.

use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::Index;
use stanchion_hashing::Node;

/// An id, and a weight.
pub(crate) type Named = (String, u32);

pub(crate) fn of(named: &[Named]) -> Vec<Node<'_>> {
    let nodes = named.iter();
    nodes
        .map(|(id, weight)| Node::new(id).with_weight(*weight))
        .collect()
}

/// At least one node, in any order, with weights of which one is not 0.
pub(crate) fn some(weights: impl Strategy<Value = u32>) -> impl Strategy<Value = Vec<Named>> {
    let ids = "[a-c]{1,2}[0-9]{0,3}";
    btree_map(ids, weights, 1..12)
        .prop_map(|nodes| nodes.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
        .prop_filter("all weights are 0", |nodes: &Vec<Named>| {
            nodes.iter().any(|(_, weight)| *weight > 0)
        })
}

/// Nodes, and the place of one of them that has a weight.
pub(crate) fn and_one(
    weights: impl Strategy<Value = u32>,
) -> impl Strategy<Value = (Vec<Named>, usize)> {
    (some(weights), any::<Index>()).prop_map(|(nodes, one)| {
        let weighted = (0..nodes.len()).filter(|&node| nodes[node].1 > 0);
        let weighted: Vec<_> = weighted.collect();
        let one = *one.get(&weighted);
        (nodes, one)
    })
}

/// Hashes that are spread as those of keys are.
pub(crate) fn hashes() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(any::<u64>(), 1..50)
}
