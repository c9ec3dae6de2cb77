//! Every contestant behind one trait, called directly: generic code, no virtual calls.

use std::hash::BuildHasher;

/// A map from numbers to numbers with a bound, or without one.
pub(crate) trait Contestant: Clone + Send + Sync + 'static {
    fn get(&self, key: u64) -> Option<u64>;
    fn insert(&self, key: u64, value: u64);
}

impl<S: BuildHasher + Send + Sync + 'static> Contestant for stanchion_cache::Cache<u64, u64, S> {
    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.get(&key)
    }

    #[inline]
    fn insert(&self, key: u64, value: u64) {
        self.insert(key, value);
    }
}

impl<S> Contestant for moka::sync::Cache<u64, u64, S>
where
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.get(&key)
    }

    #[inline]
    fn insert(&self, key: u64, value: u64) {
        self.insert(key, value);
    }
}

/// Shared, as quick_cache does not share itself.
#[derive(Clone)]
pub(crate) struct Quick<S: BuildHasher + Clone>(std::sync::Arc<QuickInner<S>>);

type QuickInner<S> = quick_cache::sync::Cache<u64, u64, quick_cache::UnitWeighter, S>;

impl Quick<quick_cache::DefaultHashBuilder> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(quick_cache::sync::Cache::new(capacity).into())
    }
}

impl Quick<ahash::RandomState> {
    pub(crate) fn same_hasher(capacity: usize) -> Self {
        let cache = quick_cache::sync::Cache::with(
            capacity,
            capacity as u64,
            quick_cache::UnitWeighter,
            ahash::RandomState::new(),
            quick_cache::sync::DefaultLifecycle::default(),
        );
        Self(cache.into())
    }
}

impl<S: BuildHasher + Clone + Send + Sync + 'static> Contestant for Quick<S> {
    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }

    #[inline]
    fn insert(&self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
}

/// What a bound costs at least: shards of a map behind locks, and none.
#[derive(Clone)]
pub(crate) struct Floor(std::sync::Arc<FloorShards>);

struct FloorShards {
    hasher: ahash::RandomState,
    shards: Vec<Shard>,
}

type Shard = parking_lot::RwLock<hashbrown::HashTable<(u64, u64)>>;

const FLOOR_SHARDS: usize = 16;

impl Floor {
    pub(crate) fn new() -> Self {
        let shard = |_| Shard::default();
        let shards = (0..FLOOR_SHARDS).map(shard).collect();
        let hasher = ahash::RandomState::new();
        Self(std::sync::Arc::new(FloorShards { hasher, shards }))
    }

    #[inline]
    fn shard(&self, key: u64) -> (u64, &Shard) {
        let hash = self.0.hasher.hash_one(key);
        (hash, &self.0.shards[(hash >> 32) as usize % FLOOR_SHARDS])
    }
}

impl Contestant for Floor {
    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        let (hash, shard) = self.shard(key);
        let map = shard.read();
        let found = map.find(hash, |(other, _)| *other == key);
        found.map(|(_, value)| *value)
    }

    fn insert(&self, key: u64, value: u64) {
        let (hash, shard) = self.shard(key);
        let mut map = shard.write();
        match map.find_mut(hash, |(other, _)| *other == key) {
            Some((_, old)) => *old = value,
            None => {
                let hasher = &self.0.hasher;
                map.insert_unique(hash, (key, value), |(key, _)| hasher.hash_one(*key));
            }
        }
    }
}
