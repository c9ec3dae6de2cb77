//! Rendezvous hashing: the highest score wins.

use std::cmp::Ordering;
use std::ops::Range;

use crate::hash::{node_hash, pair_hash};
use crate::ln::ln;
use crate::roster::{Roster, Weights};
use crate::{ConsistentHash, InvalidTable, Node};

/// Rendezvous hashing (HRW): every node bids for every hash, and the highest bid wins.
///
/// As even as chance allows, for any weights; what moves is only what must, and more weight only
/// takes keys. The owners of a hash are exactly those that would follow if the ones before left, so
/// [`top`](Self::top) is how to choose replicas. The order of the nodes makes no difference.
///
/// A node draws XXH3-64 of 16 bytes: the hash, and the [`key_hash`](crate::key_hash) of its id,
/// both little-endian. The first 52 bits of that, and a half, are a number *u* between 0 and 1, and
/// its bid is weight ÷ −ln *u*. Where two bids are the same, the draw decides, then the smaller id.
///
/// # Complexity
///
/// A lookup takes O(nodes), about 1.5 ns for each, and one logarithm for each weight that is
/// different. Use it for up to some dozens of nodes, or for few lookups. Each further owner takes as
/// long again. Memory: 16 bytes a node.
///
/// # Source
///
/// Thaler and Ravishankar, Using name-based mappings to increase hit rates (1998); the weights are
/// those of Schindler and Schomaker, Weighted distributed hash tables (2005).
///
/// # Examples
///
/// ```
/// use stanchion_hashing::{ConsistentHash, Node, Rendezvous, key_hash};
///
/// let nodes = ["a", "b", "c", "d"].map(Node::from);
/// let table = Rendezvous::new(&nodes)?;
/// let hash = key_hash(b"user:1000");
/// let replicas: Vec<usize> = table.top::<3>(hash).collect();
/// assert!(table.owners(hash).take(3).eq(replicas));
/// # Ok::<(), stanchion_hashing::InvalidTable>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rendezvous {
    /// Those of one weight together, and those in the order of their ids.
    bidders: Box<[Bidder]>,
    groups: Box<[Group]>,
    weights: Weights,
}

#[derive(Clone, Copy, Debug)]
struct Bidder {
    hash: u64,
    index: u32,
    /// Its place among all ids.
    rank: u32,
}

#[derive(Clone, Debug)]
struct Group {
    weight: u32,
    members: Range<usize>,
}

/// A bid; the greater one wins.
#[derive(Clone, Copy, Debug)]
struct Bid {
    score: f64,
    draw: u64,
    bidder: Bidder,
}

impl Rendezvous {
    /// A table of `nodes`.
    ///
    /// # Errors
    ///
    /// There must be a node with a weight, and no two with the same id.
    pub fn new(nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        let roster = Roster::new(nodes)?;
        let mut bidders: Vec<_> = (0..)
            .zip(roster.by_id())
            .map(|(rank, (index, node))| Bidder {
                hash: node_hash(node.id()),
                index,
                rank,
            })
            .collect();
        let weight = |bidder: &Bidder| nodes[bidder.index as usize].weight();
        bidders.sort_by_key(weight);
        let mut begin = 0;
        let groups = bidders.chunk_by(|a, b| weight(a) == weight(b));
        let groups = groups.map(|members| {
            let range = begin..begin + members.len();
            begin = range.end;
            Group {
                weight: weight(&members[0]),
                members: range,
            }
        });
        Ok(Self {
            groups: groups.collect(),
            bidders: bidders.into(),
            weights: roster.weights(),
        })
    }

    /// The first `K` owners of `hash`, or all if there are fewer, best first.
    ///
    /// The same as so many [`owners`](ConsistentHash::owners), in one pass.
    #[must_use]
    pub fn top<const K: usize>(&self, hash: u64) -> impl ExactSizeIterator<Item = usize> + use<K> {
        let mut best = [0; K].map(|_: u8| None::<Bid>);
        for group in &self.groups {
            for &bidder in &self.bidders[group.members.clone()] {
                let mut bid = self.bid(group, bidder, pair_hash(hash, bidder.hash));
                for place in &mut best {
                    match place {
                        Some(other) if bid.cmp(other).is_lt() => {}
                        Some(other) => std::mem::swap(other, &mut bid),
                        None => {
                            *place = Some(bid);
                            break;
                        }
                    }
                }
            }
        }
        let found = self.bidders.len().min(K);
        best.into_iter()
            .take(found)
            .map(|bid| bid.map_or(0, |bid| bid.bidder.index as usize))
    }

    /// The highest bid below `limit`.
    fn best_below(&self, hash: u64, limit: Option<&Bid>) -> Option<Bid> {
        let bids = self.groups.iter().filter_map(|group| {
            let mut best: Option<(u64, Bidder)> = None;
            for &bidder in &self.bidders[group.members.clone()] {
                let draw = pair_hash(hash, bidder.hash);
                // In one group the draw decides, and of the same the first.
                if best.is_none_or(|(other, _)| draw > other)
                    && limit.is_none_or(|limit| self.bid(group, bidder, draw).cmp(limit).is_lt())
                {
                    best = Some((draw, bidder));
                }
            }
            best.map(|(draw, bidder)| self.bid(group, bidder, draw))
        });
        bids.max_by(Bid::cmp)
    }

    #[inline]
    fn bid(&self, group: &Group, bidder: Bidder, draw: u64) -> Bid {
        // Among equals the draw says it all.
        let score = if self.groups.len() == 1 {
            0.0
        } else {
            score(group.weight, draw)
        };
        Bid {
            score,
            draw,
            bidder,
        }
    }
}

/// `weight` ÷ −ln *u*. With 52 bits and a half, *u* is never 0 nor rounded to 1.
fn score(weight: u32, draw: u64) -> f64 {
    const STEPS: f64 = (1_u64 << 52) as f64;
    #[expect(clippy::cast_precision_loss, reason = "52 bits are exact")]
    let u = ((draw >> 12) as f64 + 0.5) / STEPS;
    f64::from(weight) / -ln(u)
}

impl Bid {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then(self.draw.cmp(&other.draw))
            .then(other.bidder.rank.cmp(&self.bidder.rank))
    }
}

impl ConsistentHash for Rendezvous {
    type Owners<'a> = RendezvousOwners<'a>;

    fn owner(&self, hash: u64) -> usize {
        let bid = self.best_below(hash, None);
        bid.map_or(0, |bid| bid.bidder.index as usize)
    }

    fn owners(&self, hash: u64) -> RendezvousOwners<'_> {
        RendezvousOwners {
            table: self,
            hash,
            last: None,
            left: self.bidders.len(),
        }
    }

    fn weight(&self, index: usize) -> u32 {
        self.weights.get(index)
    }

    fn weight_sum(&self) -> u64 {
        self.weights.sum()
    }
}

/// The owners of a hash by their bids, the highest first.
#[derive(Clone, Debug)]
pub struct RendezvousOwners<'a> {
    table: &'a Rendezvous,
    hash: u64,
    last: Option<Bid>,
    left: usize,
}

impl Iterator for RendezvousOwners<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let bid = self.table.best_below(self.hash, self.last.as_ref())?;
        self.last = Some(bid);
        Some(bid.bidder.index as usize)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_draw_bids_nothing_or_without_bound() {
        for draw in [0, 1, u64::MAX, 1 << 63] {
            let score = score(1, draw);
            assert!(score.is_normal() && score > 0.0, "{draw}: {score}");
        }
        assert!(score(1, u64::MAX) > score(u32::MAX, 1 << 63));
    }
}
