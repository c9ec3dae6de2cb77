//! Histories of tables, from anywhere: whatever is read is written back and read the same, and tables
//! that go on from it keep their promises.

use std::collections::BTreeSet;

use stanchion_hashing::{Anchor, AnchorHistory, ConsistentHash, Jump, JumpHistory, Node, key_hash};

/// Nodes of a table beyond which it is not looked into: the walks take their square.
const NODES_MAX: usize = 100;

pub(crate) fn run(data: &[u8]) {
    let hash = key_hash(data);
    if let Ok(history) = serde_json::from_slice::<AnchorHistory>(data) {
        let json = serde_json::to_string(&history).expect("a history can be written");
        assert_eq!(serde_json::from_str(&json).ok().as_ref(), Some(&history));
        anchor(&history, hash);
    }
    if let Ok(history) = serde_json::from_slice::<JumpHistory>(data) {
        let json = serde_json::to_string(&history).expect("a history can be written");
        assert_eq!(serde_json::from_str(&json).ok().as_ref(), Some(&history));
        jump(&history, hash);
    }
}

fn anchor(history: &AnchorHistory, hash: u64) {
    let mut nodes: Vec<Node<'_>> = history.ids().map(Node::new).collect();
    let table = Anchor::resume(history, &nodes).expect("the same nodes as before");
    assert_eq!(table.history(), history);
    check(&table, nodes.len(), hash);

    // One leaves, and comes back.
    let owner = table.owner(hash);
    let left = nodes.remove(owner);
    if let Ok(without) = table.updated(&nodes) {
        check(&without, nodes.len(), hash);
        nodes.insert(owner, left);
        let again = without.updated(&nodes).expect("it was there before");
        assert_eq!(again.history(), history);
        assert_eq!(again.owner(hash), owner);
    }
}

fn jump(history: &JumpHistory, hash: u64) {
    let mut nodes: Vec<Node<'_>> = history.ids().map(Node::new).collect();
    let table = Jump::resume(history, &nodes).expect("the same nodes as before");
    assert_eq!(table.history(), history);
    check(&table, nodes.len(), hash);
    nodes.pop();
    if let Ok(without) = table.updated(&nodes) {
        let (was, is) = (table.owner(hash), without.owner(hash));
        assert!(was == is || was == nodes.len());
    }
}

/// Each node is an owner once.
fn check<T: ConsistentHash>(table: &T, nodes: usize, hash: u64) {
    if nodes > NODES_MAX {
        return;
    }
    let owners: Vec<usize> = table.owners(hash).collect();
    assert_eq!(owners[0], table.owner(hash));
    let distinct: BTreeSet<usize> = owners.iter().copied().collect();
    assert!(owners.len() == nodes && distinct.into_iter().eq(0..nodes));
}
