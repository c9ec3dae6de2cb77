//! A ring of 64-bit points.

#[cfg(feature = "ketama")]
mod ketama;

use std::num::NonZeroU32;

#[cfg(feature = "ketama")]
pub(crate) use ketama::widened;

use crate::circle::{Circle, Walk};
use crate::hash::{node_hash, pair_hash};
use crate::roster::{Roster, Weights};
use crate::{ConsistentHash, InvalidTable, Node};

/// As many points as a ring may have: some 170 MB.
const POINTS_MAX: u64 = 1 << 23;

/// A ring: each node has many points on a circle of 2⁶⁴ places, and owns what lies before them.
///
/// A hash belongs to the first point at or after it. A node that joins takes keys only for itself,
/// one that leaves gives up only its own, and more weight only takes keys: nothing else moves. The
/// order of the nodes makes no difference.
///
/// Point *i* of a node is XXH3-64 of 16 bytes: the [`key_hash`](crate::key_hash) of its id and *i*,
/// both little-endian. Where two nodes have the same point, the smaller id has it.
///
/// With 160 points a node's share is within some 8 % of what is fair in most cases (standard error
/// 1/√160), and the largest of 1000 nodes has about 1.3 times the mean.
///
/// # Complexity
///
/// A lookup takes O(1): one look into an index by the first bits, and on average one or two points.
/// Successive owners take O(points) for all of them together. Building takes O(points), without
/// sorting more than a few points at a time. Memory: 26 to 28 bytes a point, so about 4.5 KB for
/// a node of 160.
///
/// # Source
///
/// Karger et al., Consistent Hashing and Random Trees (1997).
///
/// # Examples
///
/// ```
/// use stanchion_hashing::{ConsistentHash, Node, Ring, key_hash};
///
/// let nodes = [Node::from("cache-1"), Node::from("cache-2").with_weight(2)];
/// let ring = Ring::new(&nodes)?;
/// let owner = ring.owner(key_hash(b"user:1000"));
/// assert_eq!(nodes[owner].id(), b"cache-2");
/// # Ok::<(), stanchion_hashing::InvalidTable>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ring {
    /// In ascending order, and then the greatest number, behind which no search goes.
    points: Box<[u64]>,
    /// Of each point, the upper 44 bits, and its owner in the lower 20: one look brings both. And then
    /// [`NEAR`] times the greatest place with the first one's owner, so that there are always so many
    /// to compare, and what lies behind the last belongs to the first.
    packed: Box<[u64]>,
    circle: Circle,
    /// For each value of a point's first bits, the first point that has it or a greater one.
    starts: Box<[u32]>,
    /// How far to the right the first bits are.
    shift: u32,
    weights: Weights,
}

/// The bits of an owner, of whom there are at most [`NODES_MAX`](crate::NODES_MAX).
const OWNER: u64 = (1 << 20) - 1;
const _: () = assert!(crate::NODES_MAX as u64 - 1 <= OWNER);

/// So many points are compared at once. Parts have one or two on average, of which half are before a
/// hash, so more are rarely needed.
const NEAR: usize = 4;

/// How many points a node has: 160 for a weight of 1, unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Points {
    count: NonZeroU32,
    weight: NonZeroU32,
}

impl Points {
    /// This many points for a node of weight 1.
    #[must_use]
    pub const fn new(count: NonZeroU32) -> Self {
        Self {
            count,
            weight: NonZeroU32::MIN,
        }
    }

    /// So many for a node of `weight`, in proportion for the others: rounded, but never 0. For
    /// weights that are large numbers.
    #[must_use]
    pub const fn per_weight(mut self, weight: NonZeroU32) -> Self {
        self.weight = weight;
        self
    }

    /// For a node of `weight`, which is not 0.
    fn of(self, weight: u32) -> u64 {
        let unit = u64::from(self.weight.get());
        let points = u64::from(weight) * u64::from(self.count.get());
        ((points + unit / 2) / unit).max(1)
    }
}

impl Default for Points {
    fn default() -> Self {
        Self::new(const { NonZeroU32::new(160).expect("160 is not 0") })
    }
}

impl Ring {
    /// A ring of `nodes`, with 160 points for each unit of weight.
    ///
    /// # Errors
    ///
    /// There must be a node with a weight, no two with the same id, and at most 2²³ points.
    pub fn new(nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        Self::with_points(nodes, Points::default())
    }

    /// A ring of `nodes`, with as many points as `points` says.
    ///
    /// # Errors
    ///
    /// There must be a node with a weight, no two with the same id, and at most 2²³ points.
    pub fn with_points(nodes: &[Node<'_>], points: Points) -> Result<Self, InvalidTable> {
        let roster = Roster::new(nodes)?;
        let total = roster
            .by_id()
            .map(|(_, node)| points.of(node.weight()))
            .fold(0, u64::saturating_add);
        let Some(total) = usize::try_from(total).ok().filter(|_| total <= POINTS_MAX) else {
            return Err(InvalidTable::TooManyPoints {
                points: total,
                max: POINTS_MAX,
            });
        };
        let mut drawn = Vec::with_capacity(total);
        for (index, node) in roster.by_id() {
            let hash = node_hash(node.id());
            drawn.extend((0..points.of(node.weight())).map(|i| (pair_hash(hash, i), index)));
        }
        Ok(Self::of(&drawn, roster.weights()))
    }

    /// A ring of these points, at least one, each with its owner.
    fn of(drawn: &[(u64, u32)], weights: Weights) -> Self {
        let (sorted, starts, shift) = sort(drawn);
        let owners = sorted.iter().map(|&(_, owner)| owner).collect();
        let points = sorted.iter().map(|&(point, _)| point);
        let pack = |&(point, owner): &(u64, u32)| point & !OWNER | u64::from(owner);
        let last = pack(&(u64::MAX, sorted[0].1));
        Self {
            points: points.chain([u64::MAX]).collect(),
            packed: sorted.iter().map(pack).chain([last; NEAR]).collect(),
            circle: Circle::new(owners, weights.len()),
            starts,
            shift,
            weights,
        }
    }

    /// How many points there are.
    #[must_use]
    pub const fn points(&self) -> usize {
        self.points.len() - 1
    }

    /// The first point at or after `hash`; behind the last one, where the first one is repeated.
    #[inline]
    fn point_of(&self, hash: u64) -> usize {
        let start = self.starts[first_bits(hash, self.shift)] as usize;
        // All at once: how far it is, is for the processor a guess that goes wrong half the time.
        let near = &self.packed[start..start + NEAR];
        let upper = hash & !OWNER;
        let before: usize = near.iter().map(|&point| usize::from(point < upper)).sum();
        let mut at = start + before;
        if before == NEAR || self.packed[at] & !OWNER == upper {
            // There may be more, or some that are the same in 44 bits: now the whole points decide.
            // What lies in a later part is greater, so the search ends by itself.
            while self.points[at] < hash {
                at += 1;
            }
        }
        at
    }
}

#[inline]
const fn owner_in(packed: u64) -> usize {
    (packed & OWNER) as usize
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "at most 24 bits are left, since there are at most 2^23 points"
)]
const fn first_bits(hash: u64, shift: u32) -> usize {
    (hash >> shift) as usize
}

/// Sorts points that are spread evenly: first into parts by their first bits, as many as there are
/// points, then each part. Points that are equal keep their order.
///
/// Also returns where each part begins, and the shift that leaves the first bits.
fn sort(drawn: &[(u64, u32)]) -> (Vec<(u64, u32)>, Box<[u32]>, u32) {
    let bits = drawn.len().ilog2().max(1);
    let shift = u64::BITS - bits;
    let mut starts = vec![0_u32; 1 << bits];
    for &(point, _) in drawn {
        starts[first_bits(point, shift)] += 1;
    }
    let mut begin = 0;
    for start in &mut starts {
        begin += std::mem::replace(start, begin);
    }
    let mut sorted = vec![(0, 0); drawn.len()];
    let mut ends = starts.clone();
    for &entry in drawn {
        let end = &mut ends[first_bits(entry.0, shift)];
        sorted[*end as usize] = entry;
        *end += 1;
    }
    for (&start, &end) in starts.iter().zip(&ends) {
        sorted[start as usize..end as usize].sort_by_key(|&(point, _)| point);
    }
    (sorted, starts.into(), shift)
}

impl ConsistentHash for Ring {
    type Owners<'a> = RingOwners<'a>;

    #[inline]
    fn owner(&self, hash: u64) -> usize {
        owner_in(self.packed[self.point_of(hash)])
    }

    fn owners(&self, hash: u64) -> RingOwners<'_> {
        let at = self.point_of(hash);
        let at = if at < self.points() { at } else { 0 };
        RingOwners(self.circle.walk(at))
    }

    fn weight(&self, index: usize) -> u32 {
        self.weights.get(index)
    }

    fn weight_sum(&self) -> u64 {
        self.weights.sum()
    }
}

/// The owners of a hash along a ring.
#[derive(Clone, Debug)]
pub struct RingOwners<'a>(Walk<'a>);

impl Iterator for RingOwners<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_points_keep_their_order_and_the_ends_of_the_circle_meet() {
        let drawn = [(7, 0), (u64::MAX, 1), (7, 2), (1 << 63, 3), (0, 4)];
        let (sorted, starts, shift) = sort(&drawn);
        assert_eq!(
            sorted,
            [(0, 4), (7, 0), (7, 2), (1 << 63, 3), (u64::MAX, 1)]
        );
        assert_eq!((&*starts, shift), (&[0, 3, 3, 4][..], 62));
    }

    #[test]
    fn points_follow_the_weight() {
        let points = |count, weight| {
            Points::new(NonZeroU32::new(count).unwrap())
                .per_weight(NonZeroU32::new(weight).unwrap())
        };
        assert_eq!(Points::default().of(3), 480);
        assert_eq!(points(100, 1_000).of(1_004), 100);
        assert_eq!(points(100, 1_000).of(1_005), 101);
        assert_eq!(points(100, 1_000).of(1), 1);
        assert_eq!(points(u32::MAX, 1).of(u32::MAX), u64::from(u32::MAX).pow(2));
    }
}
