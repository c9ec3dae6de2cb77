//! Our tables, over nodes that are numbers.

use stanchion_hashing::{Anchor, ConsistentHash, Jump, Maglev, Node, Rendezvous, Ring, key_hash};

use crate::hashes::Key;

pub(crate) fn maglev(numbers: &[u32]) -> Maglev {
    with_nodes(numbers, |nodes| Maglev::new(nodes).expect("valid nodes"))
}

pub(crate) fn ring(numbers: &[u32]) -> Ring {
    with_nodes(numbers, |nodes| Ring::new(nodes).expect("valid nodes"))
}

pub(crate) fn rendezvous(numbers: &[u32]) -> Rendezvous {
    with_nodes(numbers, |nodes| {
        Rendezvous::new(nodes).expect("valid nodes")
    })
}

pub(crate) fn jump(numbers: &[u32]) -> Jump {
    with_nodes(numbers, |nodes| Jump::new(nodes).expect("valid nodes"))
}

pub(crate) fn anchor(numbers: &[u32]) -> Anchor {
    let capacity = 2 * u32::try_from(numbers.len()).expect("few nodes");
    with_nodes(numbers, |nodes| {
        Anchor::new(nodes, capacity).expect("valid nodes")
    })
}

/// The table of other nodes that follows: a new one, but for those that have a history.
pub(crate) fn anchor_after(table: &Anchor, numbers: &[u32]) -> Anchor {
    with_nodes(numbers, |nodes| table.updated(nodes).expect("valid nodes"))
}

/// The place of a key's owner.
pub(crate) fn picks(table: impl ConsistentHash) -> impl Fn(&Key) -> usize {
    move |key| table.owner(key_hash(&key.0))
}

pub(crate) fn with_nodes<T>(numbers: &[u32], build: impl FnOnce(&[Node<'_>]) -> T) -> T {
    let names: Vec<String> = numbers
        .iter()
        .map(|number| format!("node-{number}"))
        .collect();
    let nodes: Vec<Node<'_>> = names.iter().map(Node::new).collect();
    build(&nodes)
}
