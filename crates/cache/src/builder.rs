use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use ahash::RandomState;
use stanchion_core::{Clock, Observe};

use crate::cache::{Cache, LoadRules, Observer, Parts, Tagger, Weigher};
use crate::hash::SHARDS_MAX;
use crate::lifetime::{Absence, Aging, ExpireAfter, Lifetime};
use crate::{InvalidCache, Policy, Removed};

/// What a [`Cache`] is built from; made by [`Cache::builder`].
///
/// Cloning copies the settings; the caches built from the copies share nothing.
#[must_use = "a builder does nothing until `build`"]
pub struct CacheBuilder<K, V, S = RandomState> {
    pub(crate) capacity: u64,
    pub(crate) policy: Policy,
    pub(crate) hasher: S,
    pub(crate) shards: Option<usize>,
    pub(crate) weigher: Option<Weigher<K, V>>,
    tagger: Option<Tagger<K, V>>,
    pub(crate) observer: Option<Observer<K, V>>,
    clock: Clock,
    time_to_live: Option<Duration>,
    time_to_idle: Option<Duration>,
    expire_after: Option<ExpireAfter<K, V>>,
    jitter: f64,
    absence: Option<Absence<V>>,
    pub(crate) loads: LoadRules,
}

/// Shards for each processor, where the capacity allows.
const SHARDS_PER_PROCESSOR: usize = 32;

/// Below this many entries a shard is too small for its policy to work well.
const ENTRIES_PER_SHARD_MIN: u64 = 1024;

impl<K, V> CacheBuilder<K, V> {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            policy: Policy::default(),
            hasher: RandomState::new(),
            shards: None,
            weigher: None,
            tagger: None,
            observer: None,
            clock: Clock::system(),
            time_to_live: None,
            time_to_idle: None,
            expire_after: None,
            jitter: 0.0,
            absence: None,
            loads: LoadRules::default(),
        }
    }
}

impl<K, V, S> CacheBuilder<K, V, S> {
    /// Sets who leaves when the cache is full. By default [`Policy::Adaptive`].
    pub const fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Weighs each entry once, when it is inserted, before any lock is taken. By default each weighs
    /// 1, and the capacity is a number of entries; so it is with an entry that weighs 0.
    pub fn with_weigher(mut self, weigher: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Arc::new(weigher));
        self
    }

    /// Gives each entry tags, asked when it is inserted, before any lock is taken: names by which it is
    /// taken out with others ([`Cache::invalidate_tag`]). Up to 16 in all for an entry; one with more is
    /// refused. They count in no weight. By default none.
    ///
    /// ```
    /// use stanchion_cache::Cache;
    ///
    /// let pages: Cache<String, Vec<u32>> = Cache::builder(1000)
    ///     .with_tagger(|_: &String, products: &Vec<u32>| {
    ///         products.iter().map(|id| format!("product:{id}")).collect::<Vec<_>>()
    ///     })
    ///     .build()?;
    /// pages.insert("/shoes".to_owned(), vec![7, 8]);
    /// assert_eq!(pages.invalidate_tag("product:8"), 1);
    /// # Ok::<(), stanchion_cache::InvalidCache>(())
    /// ```
    pub fn with_tagger<I>(mut self, tagger: impl Fn(&K, &V) -> I + Send + Sync + 'static) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Arc<str>>,
    {
        self.tagger = Some(Arc::new(move |key, value| {
            tagger(key, value).into_iter().map(Into::into).collect()
        }));
        self
    }

    /// Sets how long an entry is found after it was inserted. By default without end.
    pub const fn with_time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = Some(time);
        self
    }

    /// Sets how long an entry is found after it was last read or inserted. By default without end.
    /// Each read then reads the clock and writes to the entry.
    pub const fn with_time_to_idle(mut self, time: Duration) -> Self {
        self.time_to_idle = Some(time);
        self
    }

    /// Gives each entry a time to live of its own, asked when it is inserted, before any lock is
    /// taken; `None` leaves it the cache's. By default all have the cache's.
    pub fn with_expire_after(
        mut self,
        expire_after: impl Fn(&K, &V) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.expire_after = Some(Arc::new(expire_after));
        self
    }

    /// Shortens the time to live of each entry by a random part, up to `jitter` of it, so that what
    /// was inserted together does not expire together. At least 0 and below 1, by default 0.
    pub const fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Tells `observer` of each entry that leaves. It runs on the thread whose call made the entry
    /// leave, after every lock is released. By default nobody is told.
    pub fn with_observer(
        mut self,
        observer: impl Observe<Removed<K, V>> + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Sets the clock by which entries expire. By default the system's.
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Ends an async load that takes longer, by the cache's clock: it is dropped, and who waited for
    /// it gets [`LoadError::TimedOut`](crate::LoadError::TimedOut). By default without end.
    ///
    /// On the system's and tokio's clock the load is then to be polled inside a tokio runtime that
    /// has its timer enabled. A blocking load cannot be ended, and is not.
    #[cfg(feature = "tokio")]
    pub fn with_load_timeout(mut self, time: Duration) -> Self {
        self.loads.timeout = Some(time);
        self
    }

    /// Lets each caller load by itself, though others are loading the same key: no single flight. The
    /// first value that comes is put in. By default callers share their loads.
    pub fn without_single_flight(mut self) -> Self {
        self.loads.is_each_alone = true;
        self
    }

    /// Sets how many keys one load of many gets at most; what is more is loaded in the next. By default
    /// 1000, at least 1.
    pub const fn with_batch_max(mut self, keys: usize) -> Self {
        self.loads.batch_max = keys;
        self
    }

    /// Keeps errors of loads for as long as `time` says of each, `None` being not at all: who asks
    /// meanwhile gets the error at once, unless the key is inserted, removed or invalidated before.
    /// Errors of other types, panics and time-outs are not kept, nor is an error while there is a
    /// value still. Each shard keeps up to 64, which count in no weight. By default none is kept.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stanchion_cache::Cache;
    ///
    /// enum Refused { NoSuchUser, Overloaded }
    /// let users: Cache<u64, String> = Cache::builder(1000)
    ///     .with_error_time(|error: &Refused| match error {
    ///         Refused::NoSuchUser => Some(Duration::from_secs(5)),
    ///         Refused::Overloaded => None,
    ///     })
    ///     .build()?;
    /// # Ok::<(), stanchion_cache::InvalidCache>(())
    /// ```
    pub fn with_error_time<E: 'static>(
        mut self,
        time: impl Fn(&E) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.loads.error_time = Some(Arc::new(move |error| error.downcast_ref().and_then(&time)));
        self
    }

    /// Sets into how many shards the keys are divided, each with a lock and an order of its own: a
    /// power of two up to 64. The capacity is not divided. By default 32 for each processor, as far
    /// as each then has 1,024 of the capacity.
    pub const fn with_shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Sets what hashes the keys. By default aHash with a random key for each cache, so that nobody
    /// can choose keys that meet.
    pub fn with_hasher<T: BuildHasher>(self, hasher: T) -> CacheBuilder<K, V, T> {
        CacheBuilder {
            capacity: self.capacity,
            policy: self.policy,
            hasher,
            shards: self.shards,
            weigher: self.weigher,
            tagger: self.tagger,
            observer: self.observer,
            clock: self.clock,
            time_to_live: self.time_to_live,
            time_to_idle: self.time_to_idle,
            expire_after: self.expire_after,
            jitter: self.jitter,
            absence: self.absence,
            loads: self.loads,
        }
    }

    /// Builds the cache.
    ///
    /// # Errors
    ///
    /// [`InvalidCache`] names the first setting that cannot be: a time of 0, a jitter outside its
    /// range, a number of shards that is no power of two up to 64.
    pub fn build(self) -> Result<Cache<K, V, S>, InvalidCache> {
        self.check()?;
        Ok(self.build_valid(None))
    }

    pub(crate) fn check(&self) -> Result<(), InvalidCache> {
        if self.time_to_live == Some(Duration::ZERO) {
            return Err(InvalidCache::TimeToLive);
        }
        if self.time_to_idle == Some(Duration::ZERO) {
            return Err(InvalidCache::TimeToIdle);
        }
        #[cfg(feature = "tokio")]
        if self.loads.timeout == Some(Duration::ZERO) {
            return Err(InvalidCache::LoadTimeout);
        }
        if !(0.0..1.0).contains(&self.jitter) {
            return Err(InvalidCache::Jitter {
                jitter: self.jitter,
            });
        }
        if let Some(shards) = self.shards
            && !(shards.is_power_of_two() && shards <= SHARDS_MAX)
        {
            return Err(InvalidCache::Shards { shards });
        }
        if self.loads.batch_max == 0 {
            return Err(InvalidCache::BatchMax);
        }
        if self.absence.is_some_and(|(_, time)| time.is_zero()) {
            return Err(InvalidCache::AbsenceTime);
        }
        Ok(())
    }

    /// Whether entries may have a time, after which they expire.
    pub(crate) fn has_time(&self) -> bool {
        self.time_to_live.is_some() || self.expire_after.is_some()
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Builds with settings that are known to be right.
    pub(crate) fn build_valid(self, aging: Option<Aging>) -> Cache<K, V, S> {
        let lifetime = Lifetime {
            clock: self.clock,
            time_to_live: self.time_to_live,
            time_to_idle: self.time_to_idle,
            expire_after: self.expire_after,
            jitter: self.jitter,
            absence: self.absence,
            aging,
            given: AtomicBool::new(false),
        };
        let shards = self.shards.unwrap_or_else(|| shards_for(self.capacity));
        let parts = Parts {
            capacity: self.capacity,
            policy: self.policy,
            shards,
            hasher: self.hasher,
            lifetime,
            loads: self.loads,
            weigher: self.weigher,
            tagger: self.tagger,
            observer: self.observer,
        };
        Cache::from_parts(parts)
    }
}

fn shards_for(capacity: u64) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let wanted = processors * SHARDS_PER_PROCESSOR;
    let fill = usize::try_from(capacity / ENTRIES_PER_SHARD_MIN).unwrap_or(usize::MAX);
    let most = wanted.min(fill).clamp(1, SHARDS_MAX);
    // The power of two at or below.
    1 << most.ilog2()
}

impl<K, T, S> CacheBuilder<K, Option<T>, S> {
    /// Sets how long `None` is found, the answer that there is nothing: it is kept like any value,
    /// weighs, and is never served stale. By default as long as other values.
    pub fn with_absence_time(mut self, time: Duration) -> Self {
        self.absence = Some((Option::is_none, time));
        self
    }
}

impl<K, V, S: Clone> Clone for CacheBuilder<K, V, S> {
    fn clone(&self) -> Self {
        Self {
            capacity: self.capacity,
            policy: self.policy,
            hasher: self.hasher.clone(),
            shards: self.shards,
            weigher: self.weigher.clone(),
            tagger: self.tagger.clone(),
            observer: self.observer.clone(),
            clock: self.clock.clone(),
            time_to_live: self.time_to_live,
            time_to_idle: self.time_to_idle,
            expire_after: self.expire_after.clone(),
            jitter: self.jitter,
            absence: self.absence,
            loads: self.loads.clone(),
        }
    }
}

impl<K, V, S> fmt::Debug for CacheBuilder<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("capacity", &self.capacity)
            .field("policy", &self.policy)
            .field("shards", &self.shards)
            .field("time_to_live", &self.time_to_live)
            .field("time_to_idle", &self.time_to_idle)
            .field("jitter", &self.jitter)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_caches_have_one_shard() {
        assert_eq!(shards_for(0), 1);
        assert_eq!(shards_for(2047), 1);
        assert!(shards_for(u64::MAX).is_power_of_two());
        assert!(shards_for(u64::MAX) <= SHARDS_MAX);
    }
}
