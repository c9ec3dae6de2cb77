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
    /// A size of a [`Maglev`](crate::Maglev) table that is no prime, or too large.
    Size {
        /// The size.
        size: u32,
        /// How large it may be.
        max: u32,
    },
    /// More nodes than places in a [`Maglev`](crate::Maglev) table.
    MoreNodesThanPlaces {
        /// How many nodes have a weight.
        nodes: usize,
        /// How many places there are.
        size: u32,
    },
    /// A capacity of an [`Anchor`](crate::Anchor) table that is 0 or too large.
    Capacity {
        /// The capacity.
        capacity: u32,
        /// How large it may be.
        max: u32,
    },
    /// More nodes than an [`Anchor`](crate::Anchor) table has room for.
    BeyondCapacity {
        /// How many nodes there are.
        nodes: usize,
        /// For how many there is room.
        capacity: u32,
    },
    /// Nodes of different weights, or of none, in a table that knows no weights.
    Weighted {
        /// The place of the node.
        at: usize,
        /// Its weight.
        weight: u32,
        /// What it must be.
        expected: u32,
    },
    /// A node that came or went elsewhere than at the end of a [`Jump`](crate::Jump) table.
    NotAtTheEnd {
        /// The place of the node.
        at: usize,
        /// Who was there.
        was: Box<[u8]>,
        /// Who is there.
        is: Box<[u8]>,
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
            Self::Size { size, max } => {
                write!(f, "size is {size}, must be a prime from 3 to {max}")
            }
            Self::MoreNodesThanPlaces { nodes, size } => write!(
                f,
                "{nodes} nodes have a weight, must be at most one for each of the {size} places"
            ),
            Self::Capacity { capacity, max } => {
                write!(f, "capacity is {capacity}, must be 1 to {max}")
            }
            Self::BeyondCapacity { nodes, capacity } => write!(
                f,
                "there are {nodes} nodes, must be at most the capacity of {capacity}"
            ),
            Self::Weighted {
                at,
                weight,
                expected,
            } => write!(
                f,
                "the weight of the node at {at} is {weight}, must be {expected} as in all: \
                 this table knows no weights"
            ),
            Self::NotAtTheEnd { at, was, is } => write!(
                f,
                "the node at {at} is \"{}\", must be \"{}\": \
                 only at the end may nodes come and go",
                is.escape_ascii(),
                was.escape_ascii()
            ),
        }
    }
}

impl fmt::Debug for InvalidTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvalidTable({self})")
    }
}

impl Error for InvalidTable {}

/// A [`LoadFactor`](crate::LoadFactor) that bounds nothing, or leaves no room.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvalidLoadFactor(pub(crate) f64);

impl fmt::Display for InvalidLoadFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(factor) = self;
        write!(
            f,
            "load factor is {factor:?}, must be more than 1 and at most 1000"
        )
    }
}

impl Error for InvalidLoadFactor {}
