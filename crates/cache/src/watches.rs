//! Who waits for what becomes of a key, in one shard.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashTable;
use stanchion_core::Instant;

use crate::flight::Flight;
use crate::hash::spread;

/// A watch on a key stands until something happens to the key: it is inserted, removed or
/// invalidated. Who wants to put a value in that was made meanwhile has to find its watch still
/// standing, under the shard's lock, and takes it.
///
/// As many as there are loads and computations under way, and errors that are kept: of those up to
/// [`KEPT_MAX`].
#[derive(Debug)]
pub(crate) struct Watches<K, V> {
    table: HashTable<Watch<K, V>>,
    next: u64,
    /// The watches of errors that are kept, or were, the oldest first.
    kept: VecDeque<(u32, u64)>,
    /// The tags that were purged since a watch was set that stands, and the first watch for which each
    /// was purged before.
    purged: Vec<(u64, Arc<str>)>,
}

/// How many purges a shard remembers for the sake of its watches; one more takes them all.
const PURGED_MAX: usize = 64;

/// How many errors a shard keeps; the oldest make room.
const KEPT_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Watch<K, V> {
    hash: u32,
    id: u64,
    key: K,
    /// The load that others may join.
    flight: Option<Arc<Flight<V>>>,
    /// Whether others may join the flight.
    is_shared: bool,
    /// Until when the error in which the flight ended is kept, if it is.
    kept_until: Option<Instant>,
}

impl<K, V> Watches<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            table: HashTable::new(),
            next: 0,
            kept: VecDeque::new(),
            purged: Vec::new(),
        }
    }

    /// Adds a watch, and gives its number.
    pub(crate) fn add(
        &mut self,
        hash: u32,
        key: K,
        flight: Option<Arc<Flight<V>>>,
        is_shared: bool,
    ) -> u64 {
        let id = self.next;
        self.next += 1;
        let watch = Watch {
            hash,
            id,
            key,
            flight,
            is_shared,
            kept_until: None,
        };
        self.table
            .insert_unique(spread(hash), watch, |other| spread(other.hash));
        id
    }

    /// The flight that loads `key`, or that ended in an error which is kept at `now`, and the number
    /// of its watch.
    pub(crate) fn flight<Q>(
        &self,
        hash: u32,
        key: &Q,
        now: impl Fn() -> Instant,
    ) -> Option<(u64, &Arc<Flight<V>>)>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let loads = |watch: &Watch<K, V>| {
            let joinable = match watch.kept_until {
                None => watch.is_shared,
                Some(until) => now() < until,
            };
            joinable && watch.key.borrow() == key
        };
        let watch = self.table.find(spread(hash), loads)?;
        Some((watch.id, watch.flight.as_ref()?))
    }

    /// Whether this thread is polling a load of `key`.
    pub(crate) fn is_loaded_here<Q>(&self, hash: u32, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.table.iter_hash(spread(hash)).any(|watch| {
            let flight = watch.flight.as_ref();
            flight.is_some_and(|flight| flight.is_polled_here()) && watch.key.borrow() == key
        })
    }

    /// Keeps the error in which the flight of a watch ends. Gives what is to be dropped after the
    /// lock.
    pub(crate) fn keep(&mut self, hash: u32, id: u64, until: Instant) -> Option<Watch<K, V>> {
        let same = |watch: &Watch<K, V>| watch.id == id && watch.hash == hash;
        self.table.find_mut(spread(hash), same)?.kept_until = Some(until);
        self.kept.push_back((hash, id));
        if self.kept.len() <= KEPT_MAX {
            return None;
        }
        let (hash, id) = self.kept.pop_front()?;
        self.take(hash, id)
    }

    /// The key of a watch that stands.
    pub(crate) fn key(&self, hash: u32, id: u64) -> Option<&K> {
        let same = |watch: &Watch<K, V>| watch.id == id && watch.hash == hash;
        Some(&self.table.find(spread(hash), same)?.key)
    }

    /// Takes the watch of an error that was kept and is no longer.
    pub(crate) fn take_outdated<Q>(
        &mut self,
        hash: u32,
        key: &Q,
        now: impl Fn() -> Instant,
    ) -> Option<Watch<K, V>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let outdated = |watch: &Watch<K, V>| {
            watch.kept_until.is_some_and(|until| until <= now()) && watch.key.borrow() == key
        };
        let found = self.table.find_entry(spread(hash), outdated);
        Some(found.ok()?.remove().0)
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

    /// All that bears `tag` is outdated, though it may come only later: who stands a watch learns of it
    /// by [`is_purged`](Self::is_purged), and no load can be joined any more. Gives what is to be
    /// dropped after the lock.
    pub(crate) fn purge(&mut self, tag: &str) -> Vec<Watch<K, V>> {
        let is_kept = |watch: &mut Watch<K, V>| watch.kept_until.is_some();
        let kept: Vec<_> = self.table.extract_if(is_kept).collect();
        let mut oldest = u64::MAX;
        for watch in &mut self.table {
            watch.is_shared = false;
            oldest = oldest.min(watch.id);
        }
        self.purged.retain(|(before, _)| *before > oldest);
        if self.table.is_empty() {
            return kept;
        }
        if self.purged.len() == PURGED_MAX {
            self.purged.clear();
            return kept.into_iter().chain(self.table.drain()).collect();
        }
        self.purged.push((self.next, tag.into()));
        kept
    }

    /// Whether one of these tags was purged since a watch was set.
    pub(crate) fn is_purged(&self, id: u64, tags: &[Arc<str>]) -> bool {
        let purges = |(before, tag): &(u64, Arc<str>)| id < *before && tags.contains(tag);
        self.purged.iter().any(purges)
    }

    /// Takes all watches, to be dropped after the lock.
    pub(crate) fn take_all(&mut self) -> Vec<Watch<K, V>> {
        self.table.drain().collect()
    }
}
