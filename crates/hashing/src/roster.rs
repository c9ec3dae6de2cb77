//! Nodes that have been checked, in an order that does not depend on the caller's.

use crate::{InvalidTable, Node};

/// As many nodes as a table may have.
pub const NODES_MAX: usize = 1 << 20;

/// The nodes of a table: at least one that has a weight, no two with one id.
pub(crate) struct Roster<'a> {
    nodes: &'a [Node<'a>],
    by_id: Vec<u32>,
}

impl<'a> Roster<'a> {
    pub(crate) fn new(nodes: &'a [Node<'a>]) -> Result<Self, InvalidTable> {
        if nodes.is_empty() {
            return Err(InvalidTable::NoNodes);
        }
        let count = u32::try_from(nodes.len()).ok();
        let Some(count) = count.filter(|_| nodes.len() <= NODES_MAX) else {
            return Err(InvalidTable::TooManyNodes {
                nodes: nodes.len(),
                max: NODES_MAX,
            });
        };
        let mut by_id: Vec<u32> = (0..count).collect();
        let id = |index: u32| nodes[index as usize].id();
        // Of two that are the same, the first comes first.
        by_id.sort_by_key(|&index| id(index));
        if let Some(twins) = by_id.windows(2).find(|pair| id(pair[0]) == id(pair[1])) {
            return Err(InvalidTable::DuplicateId {
                id: id(twins[0]).into(),
                first: twins[0] as usize,
                second: twins[1] as usize,
            });
        }
        by_id.retain(|&index| nodes[index as usize].weight() > 0);
        if by_id.is_empty() {
            return Err(InvalidTable::NoWeight);
        }
        Ok(Self { nodes, by_id })
    }

    /// The nodes that have a weight, in the order of their ids, with their places.
    pub(crate) fn by_id(&self) -> impl ExactSizeIterator<Item = (u32, Node<'a>)> {
        let place = |&index: &u32| (index, self.nodes[index as usize]);
        self.by_id.iter().map(place)
    }

    pub(crate) fn weights(&self) -> Weights {
        let each: Box<[u32]> = self.nodes.iter().map(Node::weight).collect();
        let sum = each.iter().map(|&weight| u64::from(weight)).sum();
        Weights { each, sum }
    }
}

/// The weights of all nodes, by their places.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    each: Box<[u32]>,
    sum: u64,
}

impl Weights {
    pub(crate) fn get(&self, index: usize) -> u32 {
        self.each.get(index).copied().unwrap_or(0)
    }

    pub(crate) const fn sum(&self) -> u64 {
        self.sum
    }

    pub(crate) const fn len(&self) -> usize {
        self.each.len()
    }
}
