use std::error::Error;
use std::fmt;

/// A table that cannot be built; the message names what is wrong, its value, and what is allowed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTable {
    /// Among no nodes nothing can be shared out.
    NoNodes,
    /// Nodes that all have weight 0 own nothing.
    NoWeight,
    /// More nodes than [`NODES_MAX`](crate::NODES_MAX).
    TooManyNodes {
        /// How many there are.
        nodes: usize,
        /// How many there may be.
        max: usize,
    },
    /// Two nodes that are the same.
    DuplicateId {
        /// The id of both.
        id: Box<[u8]>,
        /// The place of the one.
        first: usize,
        /// The place of the other.
        second: usize,
    },
    /// More points on a ring than it may have.
    TooManyPoints {
        /// How many there would be.
        points: u64,
        /// How many there may be.
        max: u64,
    },
}

impl fmt::Display for InvalidTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNodes => f.write_str("there are 0 nodes, must be at least 1"),
            Self::NoWeight => f.write_str("all weights are 0, one must be at least 1"),
            Self::TooManyNodes { nodes, max } => {
                write!(f, "there are {nodes} nodes, must be at most {max}")
            }
            Self::DuplicateId { id, first, second } => write!(
                f,
                "the nodes at {first} and {second} are both \"{}\", each must have an id of its own",
                id.escape_ascii()
            ),
            Self::TooManyPoints { points, max } => {
                write!(f, "the ring has {points} points, must be at most {max}")
            }
        }
    }
}

impl fmt::Debug for InvalidTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvalidTable({self})")
    }
}

impl Error for InvalidTable {}
