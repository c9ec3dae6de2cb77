//! Changing what is there, in one step as others see it.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use super::place::{Coming, Outdated};
use super::{Cache, Inner};
use crate::Cause;
use crate::hash::{hash, short};

impl<K, V, S> Cache<K, V, S>
where
    K: Eq + Hash,
    V: Clone,
    S: BuildHasher,
{
    /// Makes the next value of `key` from the one that is there, and gives it: nobody's insertion,
    /// removal or computation falls in between. `None` takes the key out.
    ///
    /// `next` runs under no lock, and once more whenever something happened to the key meanwhile, so
    /// it should do nothing but compute. Of those who change one key at once, one gets through each
    /// time. A load of the key that is under way is outdated by this, as by an insertion.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_cache::Cache;
    ///
    /// let counts: Cache<String, u64> = Cache::new(1000);
    /// let more = |count: Option<u64>| Some(count.unwrap_or(0) + 1);
    /// assert_eq!(counts.compute("a", more), Some(1));
    /// assert_eq!(counts.compute("a", more), Some(2));
    /// assert_eq!(counts.compute("a", |_| None), None);
    /// assert_eq!(counts.get("a"), None);
    /// ```
    pub fn compute<Q>(&self, key: &Q, mut next: impl FnMut(Option<V>) -> Option<V>) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let inner = &*self.inner;
        let hash = hash(&inner.hasher, key);
        loop {
            let (watch, there) = Watch::set(inner, hash, key);
            let next = next(there);
            let coming = Coming {
                watch: Some(watch.id),
                ..Coming::default()
            };
            let done = match &next {
                Some(value) => inner
                    .insert_as(hash, key.to_owned(), value.clone(), coming)
                    .map(drop),
                None => inner.remove_if(hash, watch.id, key),
            };
            if done.is_ok() {
                return next;
            }
        }
    }
}

/// A watch without a flight, gone when this is dropped.
struct Watch<'a, K, V, S> {
    inner: &'a Inner<K, V, S>,
    hash: u64,
    id: u64,
}

impl<'a, K, V, S> Watch<'a, K, V, S>
where
    K: Eq + Hash,
    V: Clone,
{
    /// Watches `key`, and gives what is there.
    fn set<Q>(inner: &'a Inner<K, V, S>, hash: u64, key: &Q) -> (Self, Option<V>)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let owned = key.to_owned();
        let mut shard = inner.stripe(hash).write();
        let slot = shard.find(short(hash), key);
        let there = slot.and_then(|slot| inner.live(&shard, slot)).cloned();
        let id = shard.watches.add(short(hash), owned, None, false);
        drop(shard);
        (Self { inner, hash, id }, there)
    }
}

impl<K, V, S> Drop for Watch<'_, K, V, S> {
    fn drop(&mut self) {
        let mut shard = self.inner.stripe(self.hash).write();
        let watch = shard.watches.take(short(self.hash), self.id);
        drop(shard);
        drop(watch);
    }
}

impl<K, V, S> Inner<K, V, S>
where
    K: Eq + Hash,
{
    /// Takes `key` out if `watch` still stands.
    fn remove_if<Q>(&self, hash: u64, watch: u64, key: &Q) -> Result<(), Outdated>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let stripe = self.stripe(hash);
        let mut shard = stripe.write();
        let Some(own) = shard.watches.take(short(hash), watch) else {
            return Err(Outdated);
        };
        let watches = shard.watches.take_key(short(hash), key);
        let slot = shard.find(short(hash), key);
        let cause = match slot.and_then(|slot| self.live(&shard, slot)) {
            Some(_) => Cause::Explicit,
            None => Cause::Expired,
        };
        let taken = slot.and_then(|slot| shard.remove(slot));
        stripe.tell(&shard);
        drop(shard);
        drop((own, watches));
        if let Some(taken) = taken {
            self.tell(&self.leave(stripe, taken, cause));
        }
        Ok(())
    }
}
