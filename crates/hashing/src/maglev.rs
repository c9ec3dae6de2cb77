//! Maglev: a table that each node fills in an order of its own.

mod fill;

use crate::circle::{Circle, Walk};
use crate::hash::{node_hash, pair_hash};
use crate::prime::is_prime;
use crate::roster::{Roster, Weights};
use crate::{ConsistentHash, InvalidTable, Node};
use fill::{Preference, fill};

/// Maglev hashing: a table of places, in which each node has as many as its weight says.
///
/// The fastest lookup, and the most even: each node's share is exact to one place in the table if
/// all weights are equal, else to one for each node. The order of the nodes makes no difference. When a node goes, its keys move, and a
/// few others do too: at the size by default and a thousand nodes less than 1 % of them, and fewer
/// with fewer nodes or a larger table.
///
/// The size is part of the placement: tables of different sizes have little in common, so choose one
/// for as many nodes as there will ever be (a hundred places each keep shares within 1 %), and keep
/// it.
///
/// Of a table with *M* places, a hash belongs to place ⌊hash · *M* ÷ 2⁶⁴⌋. A node whose id has the
/// [`key_hash`](crate::key_hash) *h* wants the places *o*, *o* + *s*, *o* + 2*s* … modulo *M*, where
/// *o* is *h* modulo *M*, *s* is 1 more than *g* modulo *M* − 1, and *g* is XXH3-64 of *h* and 1, both
/// as 8 little-endian bytes. In rounds from 1 on, each node that has a turn takes the first place that it wants and that is
/// free: those of more weight first, then by their ids. A node has its turn *k* + 1 no sooner than in
/// round ⌈*k* · greatest weight ÷ its own⌉, and at most one in each round.
///
/// Further owners are those of the places that follow, each once.
///
/// # Complexity
///
/// A lookup takes one multiplication and one look into memory. Successive owners take O(places) for
/// all of them together. Building takes O(places · log places). Memory: 8 bytes a place, 512 KB for
/// the size by default, and 4 bytes a node.
///
/// # Source
///
/// Eisenbud et al., Maglev: A Fast and Reliable Software Network Load Balancer (NSDI 2016), section
/// 3.4; the turns by weight are Envoy's.
///
/// # Examples
///
/// ```
/// use stanchion_hashing::{ConsistentHash, Maglev, Node, key_hash};
///
/// let nodes = [Node::from("a"), Node::from("b").with_weight(2)];
/// let table = Maglev::new(&nodes)?;
/// assert_eq!(table.places(0) + table.places(1), table.size());
/// assert_eq!(table.places(0), 21_846);
/// println!("{:?}", nodes[table.owner(key_hash(b"user:1000"))]);
/// # Ok::<(), stanchion_hashing::InvalidTable>(())
/// ```
#[derive(Clone, Debug)]
pub struct Maglev {
    circle: Circle,
    weights: Weights,
}

impl Maglev {
    /// How many places there are, unless told otherwise: a prime, for up to some 650 nodes.
    pub const SIZE: u32 = 65_537;
    /// As many places as there may be: some 40 MB.
    pub const SIZE_MAX: u32 = 5_000_011;

    /// A table of `nodes` with [`SIZE`](Self::SIZE) places.
    ///
    /// # Errors
    ///
    /// There must be a node with a weight, no two with the same id, and no more than places.
    pub fn new(nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        Self::with_size(nodes, Self::SIZE)
    }

    /// A table of `nodes` with `size` places.
    ///
    /// # Errors
    ///
    /// There must be a node with a weight, no two with the same id, and no more than places. `size`
    /// must be a prime from 3 to [`SIZE_MAX`](Self::SIZE_MAX).
    pub fn with_size(nodes: &[Node<'_>], size: u32) -> Result<Self, InvalidTable> {
        if !(3..=Self::SIZE_MAX).contains(&size) || !is_prime(size) {
            return Err(InvalidTable::Size {
                size,
                max: Self::SIZE_MAX,
            });
        }
        let roster = Roster::new(nodes)?;
        let wanted = roster.by_id().len();
        if wanted > size as usize {
            return Err(InvalidTable::MoreNodesThanPlaces {
                nodes: wanted,
                size,
            });
        }
        let preferences = roster.by_id().map(|(index, node)| {
            let hash = node_hash(node.id());
            Preference {
                owner: index,
                weight: node.weight(),
                next: remainder(hash, size),
                skip: remainder(pair_hash(hash, 1), size - 1) + 1,
            }
        });
        let mut preferences: Vec<_> = preferences.collect();
        // Stable: those of one weight stay in the order of their ids.
        preferences.sort_by_key(|preference| std::cmp::Reverse(preference.weight));
        Ok(Self {
            circle: Circle::new(fill(&mut preferences, size), nodes.len()),
            weights: roster.weights(),
        })
    }

    /// How many places there are.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.circle.len()
    }

    /// How many places the node at `index` has: its share of all keys. O([`size`](Self::size)).
    #[must_use]
    pub fn places(&self, index: usize) -> usize {
        let owners = (0..self.size()).map(|place| self.circle.owner(place));
        owners.filter(|owner| *owner == index).count()
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the high half of a product of 64-bit numbers, below the size"
    )]
    const fn place_of(&self, hash: u64) -> usize {
        ((hash as u128 * self.size() as u128) >> 64) as usize
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder of 32 bits")]
const fn remainder(hash: u64, size: u32) -> u32 {
    (hash % size as u64) as u32
}

impl ConsistentHash for Maglev {
    type Owners<'a> = MaglevOwners<'a>;

    #[inline]
    fn owner(&self, hash: u64) -> usize {
        self.circle.owner(self.place_of(hash))
    }

    fn owners(&self, hash: u64) -> MaglevOwners<'_> {
        MaglevOwners(self.circle.walk(self.place_of(hash)))
    }

    fn weight(&self, index: usize) -> u32 {
        self.weights.get(index)
    }

    fn weight_sum(&self) -> u64 {
        self.weights.sum()
    }
}

/// The owners of a hash along a table of places.
#[derive(Clone, Debug)]
pub struct MaglevOwners<'a>(Walk<'a>);

impl Iterator for MaglevOwners<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}
