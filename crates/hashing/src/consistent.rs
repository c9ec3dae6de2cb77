/// Says which node owns a hash, and who would own it without that one.
///
/// A node is told by its place in the slice that the table was made of. Every table has at least
/// one node that owns something, so there is always an owner.
///
/// Lookups allocate nothing, change nothing and take no lock.
///
/// # Examples
///
/// The owner that is up, in the same order each time, so that a key returns to its owner when that
/// one is back:
///
/// ```
/// use stanchion_hashing::{ConsistentHash, Node, Ring, key_hash};
///
/// fn pick(table: &impl ConsistentHash, hash: u64, up: &[bool]) -> Option<usize> {
///     table.owners(hash).find(|&node| up[node])
/// }
///
/// let ring = Ring::new(&["a", "b", "c"].map(Node::from))?;
/// let hash = key_hash(b"user:1000");
/// let mut up = [true; 3];
/// assert_eq!(pick(&ring, hash, &up), Some(ring.owner(hash)));
/// up[ring.owner(hash)] = false;
/// assert_eq!(pick(&ring, hash, &up), ring.owners(hash).nth(1));
/// # Ok::<(), stanchion_hashing::InvalidTable>(())
/// ```
pub trait ConsistentHash {
    /// The owners of one hash, in order.
    type Owners<'a>: Iterator<Item = usize>
    where
        Self: 'a;

    /// The node that owns `hash`.
    #[must_use]
    fn owner(&self, hash: u64) -> usize;

    /// The node that owns `hash`, then the one that would own it if that one were not there, and so
    /// on: each node that has a weight exactly once.
    fn owners(&self, hash: u64) -> Self::Owners<'_>;

    /// The weight of the node at `index`; 0 if there is none.
    #[must_use]
    fn weight(&self, index: usize) -> u32;

    /// The sum of all weights.
    #[must_use]
    fn weight_sum(&self) -> u64;
}

impl<T: ConsistentHash + ?Sized> ConsistentHash for &T {
    type Owners<'a>
        = T::Owners<'a>
    where
        Self: 'a;

    #[inline]
    fn owner(&self, hash: u64) -> usize {
        (**self).owner(hash)
    }

    fn owners(&self, hash: u64) -> Self::Owners<'_> {
        (**self).owners(hash)
    }

    fn weight(&self, index: usize) -> u32 {
        (**self).weight(index)
    }

    fn weight_sum(&self) -> u64 {
        (**self).weight_sum()
    }
}
