//! Nodes for tables without weights.

use crate::roster::Roster;
use crate::{InvalidTable, Node};

/// The nodes in the order of their ids, if they all have the same weight.
pub(crate) fn equals<'a>(nodes: &'a [Node<'a>]) -> Result<Roster<'a>, InvalidTable> {
    let roster = Roster::new(nodes)?;
    let expected = nodes[0].weight().max(1);
    match nodes.iter().position(|node| node.weight() != expected) {
        None => Ok(roster),
        Some(at) => Err(InvalidTable::Weighted {
            at,
            weight: nodes[at].weight(),
            expected,
        }),
    }
}
