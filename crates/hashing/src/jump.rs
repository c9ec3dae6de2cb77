//! Jump consistent hashing: numbered buckets, no table.

mod history;

use std::num::NonZeroU32;

pub use history::JumpHistory;

use crate::scatter::Scatter;
use crate::{ConsistentHash, InvalidTable, Node};

/// The bucket of `hash` among `buckets` that are numbered from 0.
///
/// Frozen: it is the published function, the same in every implementation. With one more bucket, a
/// hash stays or goes to the new one. Takes O(ln `buckets`).
///
/// # Source
///
/// Lamping and Veach, A Fast, Minimal Memory, Consistent Hash Algorithm (arXiv 1406.2294).
///
/// # Examples
///
/// ```
/// use std::num::NonZeroU32;
/// use stanchion_hashing::jump;
///
/// let ten = NonZeroU32::new(10).expect("10 is not 0");
/// assert_eq!(jump(u64::MAX, ten), 9);
/// ```
#[must_use]
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "each quotient is that of two integers below 2^33, and the last one returned is below `buckets`"
)]
pub fn jump(hash: u64, buckets: NonZeroU32) -> u32 {
    const SCALE: f64 = (1_u64 << 31) as f64;
    // Signed, which processors convert faster.
    let buckets = i64::from(buckets.get());
    let (mut key, mut bucket, mut next) = (hash, 0, 0);
    while next < buckets {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket + 1) as f64 * (SCALE / ((key >> 33).cast_signed() + 1) as f64)) as i64;
    }
    bucket as u32
}

/// Jump consistent hashing over a list of nodes that grows and shrinks at its end only.
///
/// As even as chance allows and without a table. A node that joins at the end takes keys only for
/// itself, and the last one gives up only its own when it leaves. No other can leave: a bucket is
/// a number, and all behind it would get the keys of others. So a table knows which nodes it has,
/// and what follows it must have the same at the beginning ([`updated`](Self::updated)). There are
/// no weights. Use it for shards, which are added and never lost; for servers, [`Anchor`](crate::Anchor).
///
/// Further owners are all others in an order that belongs to the hash. It changes when the number
/// of nodes passes a power of two.
///
/// # Complexity
///
/// A lookup takes O(ln nodes), with a division in each step. Successive owners take O(nodes) for all
/// of them together. Memory: the ids.
///
/// # Source
///
/// [`jump`].
///
/// # Examples
///
/// ```
/// use stanchion_hashing::{ConsistentHash, Jump, Node, key_hash};
///
/// let shards = ["s0", "s1", "s2"].map(Node::from);
/// let table = Jump::new(&shards[..2])?;
/// let hash = key_hash(b"user:1000");
/// let grown = table.updated(&shards)?;
/// assert!(grown.owner(hash) == table.owner(hash) || grown.owner(hash) == 2);
///
/// let refused = grown.updated(&[shards[0], shards[2]]).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "the node at 1 is \"s2\", must be \"s1\": only at the end may nodes come and go"
/// );
/// # Ok::<(), stanchion_hashing::InvalidTable>(())
/// ```
#[derive(Clone, Debug)]
pub struct Jump {
    history: JumpHistory,
    buckets: NonZeroU32,
}

impl Jump {
    /// A table of `nodes`, the first one of its history.
    ///
    /// # Errors
    ///
    /// There must be a node, no two with the same id, and all of one weight, which is not 0.
    pub fn new(nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        Self::of(JumpHistory::new(nodes)?)
    }

    /// A table of `nodes` that goes on where `history` ended, in another process maybe.
    ///
    /// # Errors
    ///
    /// As [`updated`](Self::updated).
    pub fn resume(history: &JumpHistory, nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        Self::of(history.followed_by(nodes)?)
    }

    /// The table of `nodes` that follows this one.
    ///
    /// # Errors
    ///
    /// `nodes` must begin with all that this table has, or be the first of them. There must be a
    /// node, no two with the same id, and all of one weight, which is not 0.
    pub fn updated(&self, nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        Self::resume(&self.history, nodes)
    }

    fn of(history: JumpHistory) -> Result<Self, InvalidTable> {
        let buckets = NonZeroU32::new(history.len()).ok_or(InvalidTable::NoNodes)?;
        Ok(Self { history, buckets })
    }

    /// What a table of other nodes has to go on from.
    #[must_use]
    pub const fn history(&self) -> &JumpHistory {
        &self.history
    }
}

impl ConsistentHash for Jump {
    type Owners<'a> = JumpOwners;

    #[inline]
    fn owner(&self, hash: u64) -> usize {
        jump(hash, self.buckets) as usize
    }

    fn owners(&self, hash: u64) -> JumpOwners {
        JumpOwners {
            hash,
            first: jump(hash, self.buckets),
            others: None,
            buckets: self.buckets.get(),
            left: self.buckets.get(),
        }
    }

    fn weight(&self, index: usize) -> u32 {
        u32::from(index < self.buckets.get() as usize)
    }

    fn weight_sum(&self) -> u64 {
        self.buckets.get().into()
    }
}

/// The owners of a hash: its bucket, then all others.
#[derive(Clone, Debug)]
pub struct JumpOwners {
    hash: u64,
    first: u32,
    /// Once they are asked for.
    others: Option<Scatter>,
    buckets: u32,
    left: u32,
}

impl Iterator for JumpOwners {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let begins = self.left == self.buckets;
        self.left = self.left.checked_sub(1)?;
        if begins {
            return Some(self.first as usize);
        }
        let (first, buckets) = (self.first, self.buckets);
        let bits = buckets.next_power_of_two().ilog2();
        let others = self
            .others
            .get_or_insert_with(|| Scatter::new(self.hash, bits));
        let other = others.find(|&bucket| bucket < buckets && bucket != first)?;
        Some(other as usize)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(key: u64, buckets: u32) -> u32 {
        jump(key, NonZeroU32::new(buckets).unwrap())
    }

    /// As the paper's authors and others publish them.
    #[test]
    fn buckets_are_those_of_every_implementation() {
        let hundred: Vec<u32> = (0..10).map(|key| bucket(key, 100)).collect();
        assert_eq!(hundred, [0, 55, 62, 8, 45, 59, 86, 97, 82, 59]);
        assert_eq!(bucket(10_863_919_174_838_991, 11), 6);
        assert_eq!(bucket(2_016_238_256_797_177_309, 11), 3);
        assert_eq!(bucket(2, 100_001), 80_343);
        assert_eq!(bucket(u64::MAX, 10), 9);
        let growing: Vec<u32> = (1..20).map(|buckets| bucket(1, buckets)).collect();
        let expected = [[0; 6].as_slice(), &[6; 11], &[17; 2]].concat();
        assert_eq!(growing, expected);
    }

    #[test]
    fn the_greatest_number_of_buckets_is_one() {
        for key in [0, 1, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
            assert!(bucket(key, u32::MAX) < u32::MAX);
            assert_eq!(bucket(key, 1), 0);
        }
    }
}
