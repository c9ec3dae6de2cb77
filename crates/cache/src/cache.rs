//! The handle: one budget, and shards behind locks.

mod aged;
mod bulk;
mod compute;
mod load;
mod place;
mod sample;
mod tagged;
mod ticket;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use ahash::RandomState;
use parking_lot::Mutex;
use stanchion_core::{Instant, Observe};

use crate::budget::Budget;
use crate::hash::{hash, shard, short};
use crate::lifetime::Lifetime;
use crate::policy::{Policy, Tuner};
use crate::removed::Leaving;
use crate::shard::{Columns, Shard, Taken};
use crate::stripe::Stripe;
use crate::tags::Names;
use crate::{CacheBuilder, Cause, Iter, Removed, Snapshot};

pub(crate) use aged::Looked;
pub(crate) use bulk::{BulkLoader, bulk_loader, unique};
pub(crate) use load::{Joined, Keep, LoadRules, typed};
pub(crate) use ticket::Ticket;

pub(crate) type Weigher<K, V> = Arc<dyn Fn(&K, &V) -> u32 + Send + Sync>;
pub(crate) type Tagger<K, V> = Arc<dyn Fn(&K, &V) -> Names + Send + Sync>;
pub(crate) type Observer<K, V> = Arc<dyn Observe<Removed<K, V>> + Send + Sync>;

/// A concurrent map that never holds more than its capacity, and lets go of what will be missed
/// least.
///
/// Clones share one cache. Values are given out as clones: put what is large into an `Arc`.
///
/// Keys may be asked for in borrowed form, `&str` for `String`. Their `Eq`, and the `Clone` of
/// values, run under the lock of a shard and must not use the same cache; their `Hash`, the weigher,
/// the observer and the drop of values that leave run under none.
///
/// # Complexity
///
/// A read takes constant time and its shard's shared lock, allocates nothing, and writes nothing but
/// the lock, a counter, and two bits of an entry that is not yet known to be hot. (With
/// [`Policy::Lru`] and [`Policy::Lfu`] it takes the lock for itself.) An insertion takes constant
/// time on average, its shard's lock for itself, and no allocation once the cache is full.
///
/// # Examples
///
/// ```
/// use stanchion_cache::Cache;
///
/// let cache = Cache::new(10_000);
/// cache.insert("answer".to_owned(), 42);
/// assert_eq!(cache.get("answer"), Some(42));
/// assert_eq!(cache.remove("answer"), Some(42));
/// assert_eq!(cache.get("answer"), None);
/// ```
pub struct Cache<K, V, S = RandomState> {
    inner: Arc<Inner<K, V, S>>,
}

struct Inner<K, V, S> {
    stripes: Box<[Stripe<K, V>]>,
    hasher: S,
    budget: Budget,
    lifetime: Lifetime<K, V>,
    weigher: Option<Weigher<K, V>>,
    tagger: Option<Tagger<K, V>>,
    observer: Option<Observer<K, V>>,
    loads: load::Loads,
    orders_at_hits: bool,
    /// Of those who gather room from several shards, one at a time: two with half of it each would
    /// wait for each other.
    gathering: Mutex<()>,
    /// With [`Policy::Adaptive`].
    tuner: Option<Mutex<Tuner>>,
    /// Keys whose hash has none of these bits, as [`crate::hash`] places them, are told to the tuner.
    sample_mask: AtomicU32,
    window_percent: AtomicU8,
    /// The shard where [`Cache::reclaim`] goes on.
    reclaim_at: AtomicUsize,
}

/// What a cache is made of.
pub(crate) struct Parts<K, V, S> {
    pub(crate) capacity: u64,
    pub(crate) policy: Policy,
    pub(crate) shards: usize,
    pub(crate) hasher: S,
    pub(crate) lifetime: Lifetime<K, V>,
    pub(crate) loads: LoadRules,
    pub(crate) weigher: Option<Weigher<K, V>>,
    pub(crate) tagger: Option<Tagger<K, V>>,
    pub(crate) observer: Option<Observer<K, V>>,
}

/// What a read found.
enum Found<V> {
    Live(V),
    Expired,
    Nothing,
}

impl<K, V> Cache<K, V>
where
    K: Eq + Hash,
{
    /// A cache for `capacity` entries, with the adaptive policy and without expiry.
    ///
    /// With capacity 0 it is off: nothing is kept.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        CacheBuilder::new(capacity).build_valid(None)
    }

    /// Starts to build a cache of `capacity`: entries, or what its weigher counts in.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stanchion_cache::Cache;
    ///
    /// let pages: Cache<String, Vec<u8>> = Cache::builder(64 << 20)
    ///     .with_weigher(|url: &String, page: &Vec<u8>| {
    ///         u32::try_from(url.len() + page.len()).unwrap_or(u32::MAX)
    ///     })
    ///     .with_time_to_live(Duration::from_secs(60))
    ///     .with_jitter(0.1)
    ///     .build()?;
    /// # Ok::<(), stanchion_cache::InvalidCache>(())
    /// ```
    pub fn builder(capacity: u64) -> CacheBuilder<K, V> {
        CacheBuilder::new(capacity)
    }
}

impl<K, V, S> Cache<K, V, S> {
    pub(crate) fn from_parts(parts: Parts<K, V, S>) -> Self {
        let Parts {
            capacity,
            policy,
            shards,
            hasher,
            lifetime,
            loads,
            weigher,
            tagger,
            observer,
        } = parts;
        let weighed = weigher.is_some();
        let entries = usize::try_from(capacity).unwrap_or(usize::MAX);
        // How many entries a weight is cannot be known before.
        let expected = if weighed {
            usize::MAX
        } else {
            entries.div_ceil(shards)
        };
        let columns = Columns {
            weights: weighed,
            used_at: lifetime.time_to_idle.is_some(),
            ages: lifetime.aging.is_some(),
        };
        let stripe = |_| Stripe::new(Shard::new(policy, expected, columns));
        let tuner = (policy == Policy::Adaptive).then(|| sample::tuner(entries, weighed));
        Self {
            inner: Arc::new(Inner {
                stripes: (0..shards).map(stripe).collect(),
                hasher,
                budget: Budget::new(capacity),
                lifetime,
                weigher,
                tagger,
                observer,
                loads: load::Loads::new(loads),
                orders_at_hits: policy.orders_at_hits(),
                gathering: Mutex::new(()),
                sample_mask: AtomicU32::new(tuner.as_ref().map_or(u32::MAX, Tuner::mask)),
                window_percent: AtomicU8::new(tuner.as_ref().map_or(0, Tuner::window)),
                tuner: tuner.map(Mutex::new),
                reclaim_at: AtomicUsize::new(0),
            }),
        }
    }

    /// How many entries there are, those included that expired and were not yet reclaimed.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.inner.entries()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the entries may weigh together: their number, if there is no weigher.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.inner.budget.capacity()
    }

    /// The numbers of the cache now. Takes no lock.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let inner = &*self.inner;
        let sum = |count: fn(&Stripe<K, V>) -> u64| inner.stripes.iter().map(count).sum();
        Snapshot {
            entries: inner.entries(),
            weight: inner.budget.used(),
            capacity: inner.budget.capacity(),
            hits: sum(Stripe::hits),
            misses: sum(Stripe::misses),
            window_percent: inner.window_percent.load(Ordering::Relaxed),
            loads: inner.loads.done(),
            failed_loads: inner.loads.failed(),
            joined_loads: inner.loads.joined(),
            load_time: inner.loads.time(),
            refreshes: inner.loads.refreshes(),
            refused_refreshes: inner.loads.refused_refreshes(),
            stale: inner.loads.stale(),
            left: [
                sum(|stripe| stripe.left(Cause::Explicit)),
                sum(|stripe| stripe.left(Cause::Replaced)),
                sum(|stripe| stripe.left(Cause::Size)),
                sum(|stripe| stripe.left(Cause::Expired)),
                sum(|stripe| stripe.left(Cause::Refused)),
            ],
        }
    }
}

impl<K, V, S> Cache<K, V, S>
where
    K: Eq + Hash,
    S: BuildHasher,
{
    /// The value of `key`, which counts as a use of it.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        let inner = &*self.inner;
        let hash = hash(&inner.hasher, key);
        let stripe = inner.stripe(hash);
        let found = if inner.orders_at_hits {
            inner.read_alone(stripe, hash, key)
        } else {
            inner.read(stripe, hash, key)
        };
        if inner.is_sampled(hash) {
            inner.sample_read(hash, !matches!(found, Found::Live(_)));
        }
        match found {
            Found::Live(value) => {
                stripe.count_hit();
                return Some(value);
            }
            Found::Expired => inner.remove_if_expired(hash, key),
            Found::Nothing => {}
        }
        stripe.count_miss();
        None
    }

    /// Whether `key` is there, which counts neither as a use of it nor as a hit or miss.
    #[must_use]
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let inner = &*self.inner;
        let hash = hash(&inner.hasher, key);
        let shard = inner.stripe(hash).read();
        shard
            .find(short(hash), key)
            .is_some_and(|slot| inner.live(&shard, slot).is_some())
    }

    /// Puts a value in and gives the one it replaced. The entry is there when this returns, whatever
    /// had to leave for it.
    ///
    /// An entry that alone is heavier than the capacity is refused, and what was there for its key
    /// is removed; observers hear of it with [`Cause::Refused`].
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        self.inner.insert(key, value, None)
    }

    /// Puts a value in that is found for `time_to_live` (of which jitter may take its part), whatever
    /// the cache's time is, and gives the one it replaced. With a time of 0 it has expired at once.
    pub fn insert_for(&self, key: K, value: V, time_to_live: Duration) -> Option<V> {
        self.inner.insert(key, value, Some(time_to_live))
    }

    /// Takes `key` out. A load of it that is under way goes to those who wait for it already, and not
    /// into the cache.
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let inner = &*self.inner;
        let hash = hash(&inner.hasher, key);
        let stripe = inner.stripe(hash);
        let mut shard = stripe.write();
        let watches = shard.watches.take_key(short(hash), key);
        let slot = shard.find(short(hash), key);
        let is_live = slot.is_some_and(|slot| inner.live(&shard, slot).is_some());
        let taken = slot.and_then(|slot| shard.remove(slot));
        stripe.tell(&shard);
        drop(shard);
        drop(watches);
        let taken = taken?;
        let cause = if is_live {
            Cause::Explicit
        } else {
            Cause::Expired
        };
        let removed = inner.leave(stripe, taken, cause);
        inner.tell(&removed);
        is_live.then_some(removed.value)
    }

    /// Takes everything out.
    pub fn clear(&self) {
        self.invalidate_if(|_, _| true);
    }

    /// Takes out each entry for which `is_stale`, and says how many. It is asked under the lock of a
    /// shard, one shard after the other, and must not use the same cache; entries that come in
    /// meanwhile may be missed. What is being loaded meanwhile goes to those who wait for it and not
    /// into the cache, whatever its key: nobody knows what it will be.
    pub fn invalidate_if(&self, mut is_stale: impl FnMut(&K, &V) -> bool) -> u64 {
        let inner = &*self.inner;
        let mut count = 0;
        for stripe in &inner.stripes {
            let mut leaving = Vec::new();
            let mut shard = stripe.write();
            let watches = shard.watches.take_all();
            for slot in shard.slot_numbers() {
                let stale = shard
                    .entry(slot)
                    .is_some_and(|(key, value)| is_stale(key, value));
                if stale {
                    leaving.extend(shard.remove(slot));
                }
            }
            stripe.tell(&shard);
            drop(shard);
            drop(watches);
            for taken in leaving {
                inner.tell(&inner.leave(stripe, taken, Cause::Explicit));
                count += 1;
            }
        }
        count
    }

    /// Looks at the next `entries` places of the cache for what has expired, takes it out, and says
    /// how much that was.
    ///
    /// Expired entries are never given out, and insertions reclaim them step by step; this is for
    /// who wants their memory back without insertions, or their removal told in time.
    #[expect(
        clippy::must_use_candidate,
        reason = "called for its effect; the count is for who is curious"
    )]
    pub fn reclaim(&self, entries: usize) -> u64 {
        self.inner.reclaim(entries)
    }

    /// Changes the capacity. When this returns, what was too much has left, with [`Cause::Size`]; all
    /// else stays.
    pub fn resize(&self, capacity: u64) {
        self.inner.resize(capacity);
    }

    /// The entries, as clones, shard by shard: each shard as it is when the iteration comes to it.
    /// Counts as no use of them.
    #[must_use]
    pub fn iter(&self) -> Iter<K, V, S>
    where
        K: Clone,
        V: Clone,
    {
        Iter::new(self.clone())
    }

    pub(crate) fn shards(&self) -> usize {
        self.inner.stripes.len()
    }

    /// The live entries of one shard.
    pub(crate) fn entries_of(&self, shard: usize) -> Vec<(K, V)>
    where
        K: Clone,
        V: Clone,
    {
        let shard = self.inner.stripes[shard].read();
        let live = |slot| {
            self.inner.live(&shard, slot)?;
            let (key, value) = shard.entry(slot)?;
            Some((key.clone(), value.clone()))
        };
        shard.slot_numbers().filter_map(live).collect()
    }
}

impl<K, V, S> Inner<K, V, S> {
    #[inline]
    fn stripe(&self, hash: u64) -> &Stripe<K, V> {
        &self.stripes[shard(hash, self.stripes.len())]
    }

    fn now(&self) -> Instant {
        self.lifetime.now()
    }

    fn entries(&self) -> u64 {
        match self.weigher {
            None => self.budget.used(),
            Some(_) => self.stripes.iter().map(Stripe::entries).sum(),
        }
    }

    /// Counts an entry that was taken out, and gives its weight back.
    fn leave(&self, stripe: &Stripe<K, V>, taken: Taken<K, V>, cause: Cause) -> Removed<K, V> {
        self.budget.release(taken.weight);
        stripe.count_left(cause);
        Removed {
            key: taken.key,
            value: taken.value,
            cause,
        }
    }

    fn tell(&self, removed: &Removed<K, V>) {
        if let Some(observer) = &self.observer {
            observer.observe(removed);
        }
    }

    fn tell_all(&self, leaving: &Leaving<K, V>) {
        if self.observer.is_some() {
            leaving.iter().for_each(|removed| self.tell(removed));
        }
    }

    #[inline]
    fn live<'a>(&self, shard: &'a Shard<K, V>, slot: u32) -> Option<&'a V> {
        shard.value(slot, self.lifetime.time_to_idle, || self.now())
    }
}

impl<K, V, S> Inner<K, V, S>
where
    K: Eq + Hash,
{
    #[inline]
    fn read<Q>(&self, stripe: &Stripe<K, V>, hash: u64, key: &Q) -> Found<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        let shard = stripe.read();
        let Some(slot) = shard.find(short(hash), key) else {
            return Found::Nothing;
        };
        match self.live(&shard, slot) {
            None => Found::Expired,
            Some(value) => {
                shard.touch(slot, || self.now());
                Found::Live(value.clone())
            }
        }
    }

    fn read_alone<Q>(&self, stripe: &Stripe<K, V>, hash: u64, key: &Q) -> Found<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        let mut shard = stripe.write();
        let Some(slot) = shard.find(short(hash), key) else {
            return Found::Nothing;
        };
        match self.live(&shard, slot).cloned() {
            None => Found::Expired,
            Some(value) => {
                shard.hit(slot, || self.now());
                Found::Live(value)
            }
        }
    }

    /// Takes `key` out if it is there and expired still.
    #[cold]
    fn remove_if_expired<Q>(&self, hash: u64, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let stripe = self.stripe(hash);
        let mut shard = stripe.write();
        let slot = shard.find(short(hash), key);
        let expired = slot.filter(|slot| self.live(&shard, *slot).is_none());
        let Some(taken) = expired.and_then(|slot| shard.remove(slot)) else {
            return;
        };
        stripe.tell(&shard);
        drop(shard);
        self.tell(&self.leave(stripe, taken, Cause::Expired));
    }
}

impl<K, V, S> Clone for Cache<K, V, S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K, V, S> fmt::Debug for Cache<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("snapshot", &self.snapshot())
            .field("shards", &self.inner.stripes.len())
            .field("lifetime", &self.inner.lifetime)
            .finish_non_exhaustive()
    }
}
