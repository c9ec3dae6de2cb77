use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::removed::Cause;
use crate::shard::Shard;

/// A shard with its lock and its counters, apart from its neighbours: a reader writes the first
/// line of its own stripe and no other's.
///
/// Counters are relaxed: each is exact, and none tells of another.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Stripe<K, V> {
    hits: AtomicU64,
    misses: AtomicU64,
    shard: RwLock<Shard<K, V>>,
    left: [AtomicU64; 5],
    /// What the shard weighs, for those who look for one that is too heavy.
    weight: AtomicU64,
    entries: AtomicU64,
}

impl<K, V> Stripe<K, V> {
    pub(crate) fn new(shard: Shard<K, V>) -> Self {
        Self {
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            shard: RwLock::new(shard),
            left: Default::default(),
            weight: AtomicU64::new(0),
            entries: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Shard<K, V>> {
        self.shard.read()
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Shard<K, V>> {
        self.shard.write()
    }

    #[inline]
    pub(crate) fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_left(&self, cause: Cause) {
        self.left[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Tells what `shard` holds, before its lock is released.
    pub(crate) fn tell(&self, shard: &Shard<K, V>) {
        self.weight.store(shard.weight(), Ordering::Relaxed);
        self.entries.store(shard.len() as u64, Ordering::Relaxed);
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    pub(crate) fn left(&self, cause: Cause) -> u64 {
        self.left[cause as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight.load(Ordering::Relaxed)
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }
}
