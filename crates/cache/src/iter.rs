use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::vec;

use ahash::RandomState;

use crate::Cache;

/// The entries of a [`Cache`], made by [`Cache::iter`]. Holds the clones of one shard at a time, and
/// no lock between two entries.
pub struct Iter<K, V, S = RandomState> {
    cache: Cache<K, V, S>,
    next_shard: usize,
    entries: vec::IntoIter<(K, V)>,
}

impl<K, V, S> Iter<K, V, S> {
    pub(crate) fn new(cache: Cache<K, V, S>) -> Self {
        Self {
            cache,
            next_shard: 0,
            entries: Vec::new().into_iter(),
        }
    }
}

impl<K, V, S> Iterator for Iter<K, V, S>
where
    K: Clone + Eq + Hash,
    V: Clone,
    S: BuildHasher,
{
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(entry);
            }
            if self.next_shard == self.cache.shards() {
                return None;
            }
            self.entries = self.cache.entries_of(self.next_shard).into_iter();
            self.next_shard += 1;
        }
    }
}

impl<K, V, S> fmt::Debug for Iter<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter")
            .field("next_shard", &self.next_shard)
            .finish_non_exhaustive()
    }
}
