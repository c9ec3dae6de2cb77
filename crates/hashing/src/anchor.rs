//! Anchor hashing: buckets that remember in which order they were emptied.

mod buckets;
mod history;

pub use history::AnchorHistory;

use crate::scatter::Scatter;
use crate::{ConsistentHash, InvalidTable, Node};

/// Anchor hashing: as even as chance allows, and nothing moves but what must, in little memory.
///
/// Any node may leave or join, up to a capacity that is fixed at the beginning. Which keys a node
/// owns depends on the order in which nodes left and joined before it. So processes agree only if
/// they share that history: make one table, pass its [`history`](Self::history) on (with feature
/// `serde`, as text or bytes), and [`resume`](Self::resume) from it. There are no weights.
///
/// A node that joins takes the place of one that left, the last one first. Where some leave and
/// others join at once, those that join take the places of those that leave, both in the order of
/// their ids.
///
/// The first buckets are those of the nodes in the order of their ids; the others are emptied from the
/// last one on. A hash meets bucket ⌊hash · capacity ÷ 2⁶⁴⌋ first, and from an empty one draws the
/// upper half, exclusive or the lower, of its product with an odd multiple of 2⁶⁴ ÷ φ (that which is
/// twice the bucket and one more).
///
/// Further owners are all others in an order that belongs to the hash.
///
/// # Complexity
///
/// A lookup takes about 1 + ln(capacity ÷ nodes) steps of a hash and some looks into memory each.
/// Successive owners take O(capacity) for all of them together. Building takes O(capacity) and a sort
/// of the ids. Memory: 24 bytes for each node of the capacity, and the ids. A capacity of twice the
/// nodes is a good choice.
///
/// # Source
///
/// Mendelson et al., AnchorHash: A Scalable Consistent Hash (2021), algorithm 3.
///
/// # Examples
///
/// ```
/// use stanchion_hashing::{Anchor, ConsistentHash, Node, key_hash};
///
/// let nodes = ["a", "b", "c", "d"].map(Node::from);
/// let table = Anchor::new(&nodes, 8)?;
/// let hash = key_hash(b"user:1000");
/// let owner = nodes[table.owner(hash)];
///
/// // Another node leaves; this one keeps the key, wherever it is in the slice.
/// let others: Vec<Node<'_>> = nodes.into_iter().filter(|node| node.id() != b"a").collect();
/// let after = table.updated(&others)?;
/// assert_eq!(owner.id(), b"b");
/// assert_eq!(others[after.owner(hash)], owner);
/// # Ok::<(), stanchion_hashing::InvalidTable>(())
/// ```
#[derive(Clone, Debug)]
pub struct Anchor {
    history: AnchorHistory,
    /// Of each bucket, where its node is in the caller's slice.
    places: Box<[u32]>,
}

impl Anchor {
    /// As much as a capacity may be.
    pub const CAPACITY_MAX: u32 = 1 << 20;

    /// A table of `nodes`, the first one of its history, for up to `capacity` nodes.
    ///
    /// # Errors
    ///
    /// There must be a node, no two with the same id, all of one weight, which is not 0, and no
    /// more than `capacity`, which must be at most [`CAPACITY_MAX`](Self::CAPACITY_MAX).
    pub fn new(nodes: &[Node<'_>], capacity: u32) -> Result<Self, InvalidTable> {
        Ok(Self::of(AnchorHistory::new(nodes, capacity)?, nodes))
    }

    /// A table of `nodes` that goes on where `history` ended, in another process maybe.
    ///
    /// # Errors
    ///
    /// As [`updated`](Self::updated).
    pub fn resume(history: &AnchorHistory, nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        Ok(Self::of(history.followed_by(nodes)?, nodes))
    }

    /// The table of `nodes` that follows this one.
    ///
    /// # Errors
    ///
    /// There must be a node, no two with the same id, all of one weight, which is not 0, and no
    /// more than the capacity.
    pub fn updated(&self, nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        Self::resume(&self.history, nodes)
    }

    fn of(history: AnchorHistory, nodes: &[Node<'_>]) -> Self {
        Self {
            places: history.places_in(nodes),
            history,
        }
    }

    /// What a table of other nodes has to go on from.
    #[must_use]
    pub const fn history(&self) -> &AnchorHistory {
        &self.history
    }
}

impl ConsistentHash for Anchor {
    type Owners<'a> = AnchorOwners<'a>;

    #[inline]
    fn owner(&self, hash: u64) -> usize {
        self.places[self.history.buckets().owner(hash) as usize] as usize
    }

    fn owners(&self, hash: u64) -> AnchorOwners<'_> {
        let buckets = self.history.buckets();
        AnchorOwners {
            table: self,
            first: buckets.owner(hash),
            hash,
            others: None,
            left: buckets.working(),
        }
    }

    fn weight(&self, index: usize) -> u32 {
        u32::from(index < self.history.buckets().working() as usize)
    }

    fn weight_sum(&self) -> u64 {
        self.history.buckets().working().into()
    }
}

/// The owners of a hash: its bucket, then all others.
#[derive(Clone, Debug)]
pub struct AnchorOwners<'a> {
    table: &'a Anchor,
    hash: u64,
    first: u32,
    /// Once they are asked for.
    others: Option<Scatter>,
    left: u32,
}

impl Iterator for AnchorOwners<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let (first, buckets) = (self.first, self.table.history.buckets());
        let begins = self.left == buckets.working();
        self.left = self.left.checked_sub(1)?;
        let bucket = if begins {
            first
        } else {
            let bits = buckets.capacity().next_power_of_two().ilog2();
            let others = self
                .others
                .get_or_insert_with(|| Scatter::new(self.hash, bits));
            others.find(|&bucket| bucket != first && buckets.works(bucket))?
        };
        Some(self.table.places[bucket as usize] as usize)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}
