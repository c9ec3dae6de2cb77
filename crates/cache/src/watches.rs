//! Who waits for what becomes of a key, in one shard.

use std::borrow::Borrow;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::flight::Flight;
use crate::hash::spread;

/// A watch on a key stands until something happens to the key: it is inserted, removed or
/// invalidated. Who wants to put a value in that was made meanwhile has to find its watch still
/// standing, under the shard's lock, and takes it.
///
/// As many as there are loads and computations under way.
#[derive(Debug)]
pub(crate) struct Watches<K, V> {
    table: HashTable<Watch<K, V>>,
    next: u64,
}

#[derive(Debug)]
pub(crate) struct Watch<K, V> {
    hash: u32,
    id: u64,
    key: K,
    /// The load that others may join.
    flight: Option<Arc<Flight<V>>>,
}

impl<K, V> Watches<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            table: HashTable::new(),
            next: 0,
        }
    }

    /// Adds a watch, and gives its number.
    pub(crate) fn add(&mut self, hash: u32, key: K, flight: Option<Arc<Flight<V>>>) -> u64 {
        let id = self.next;
        self.next += 1;
        let watch = Watch {
            hash,
            id,
            key,
            flight,
        };
        self.table
            .insert_unique(spread(hash), watch, |other| spread(other.hash));
        id
    }

    /// The flight that loads `key`, and the number of its watch.
    pub(crate) fn flight<Q>(&self, hash: u32, key: &Q) -> Option<(u64, &Arc<Flight<V>>)>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let loads = |watch: &Watch<K, V>| watch.flight.is_some() && watch.key.borrow() == key;
        let watch = self.table.find(spread(hash), loads)?;
        Some((watch.id, watch.flight.as_ref()?))
    }

    /// Takes one watch, if it still stands.
    pub(crate) fn take(&mut self, hash: u32, id: u64) -> Option<Watch<K, V>> {
        let found = self
            .table
            .find_entry(spread(hash), |watch| watch.id == id && watch.hash == hash);
        Some(found.ok()?.remove().0)
    }

    /// Takes all watches on `key`, to be dropped after the lock.
    #[inline]
    pub(crate) fn take_key<Q>(&mut self, hash: u32, key: &Q) -> Vec<Watch<K, V>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut taken = Vec::new();
        if self.table.is_empty() {
            return taken;
        }
        let same = |watch: &Watch<K, V>| watch.key.borrow() == key;
        while let Ok(found) = self.table.find_entry(spread(hash), same) {
            taken.push(found.remove().0);
        }
        taken
    }

    /// Takes all watches, to be dropped after the lock.
    pub(crate) fn take_all(&mut self) -> Vec<Watch<K, V>> {
        self.table.drain().collect()
    }
}
