//! Nodes for tables without weights, and ids that such a table keeps.

use std::fmt;

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

/// The id of a node, kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(Box<[u8]>);

impl Id {
    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Id {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
