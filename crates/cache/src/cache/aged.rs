//! Reading with an eye on the age of what is there.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use super::load::Joined;
use super::{Cache, Inner, Ticket};
use crate::flight::{Failure, Outcome};
use crate::hash::{hash, short};
use crate::lifetime::Aging;
use crate::refresh::{Age, Standing};
use crate::shard::Shard;

/// What a read found, and what is to be done.
pub(crate) enum Looked<V> {
    Serve(V),
    /// Serve it, and load what has this age anew.
    Refresh(V, Age),
    Load,
}

/// For a random number: of all the least likely to refresh.
const NOT_BY_CHANCE: u64 = u64::MAX;

impl<K, V, S> Cache<K, V, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Reads `key`, which counts as a use of it.
    pub(crate) fn look<Q>(&self, key: &Q) -> Looked<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let inner = &*self.inner;
        let hash = hash(&inner.hasher, key);
        let stripe = inner.stripe(hash);
        let found = if inner.orders_at_hits {
            let mut shard = stripe.write();
            let found = inner.aged(&shard, hash, key);
            if let Some((slot, ..)) = found {
                shard.hit(slot, || inner.now());
            }
            found
        } else {
            let shard = stripe.read();
            let found = inner.aged(&shard, hash, key);
            if let Some((slot, ..)) = found {
                shard.touch(slot, || inner.now());
            }
            found
        };
        let now = inner.now();
        let looked = match (found, &inner.lifetime.aging) {
            (None, _) => Looked::Load,
            (Some((_, value, _)), None) => Looked::Serve(value),
            (Some((_, value, age)), Some(aging)) => {
                match aging.rules.judge(age, now, || aging.random()) {
                    Standing::Load => Looked::Load,
                    standing => {
                        if age.is_stale(now) {
                            inner.loads.count_stale();
                        }
                        match standing {
                            Standing::ServeAndRefresh => Looked::Refresh(value, age),
                            _ => Looked::Serve(value),
                        }
                    }
                }
            }
        };
        let is_missed = matches!(looked, Looked::Load);
        if inner.is_sampled(hash) {
            inner.sample_read(hash, is_missed);
        }
        if is_missed {
            stripe.count_miss();
        } else {
            stripe.count_hit();
        }
        looked
    }

    /// Joins the load of `key`, or starts one, unless what is there may be served now.
    pub(crate) fn join_aged<Q>(&self, key: &Q) -> Joined<K, V, S>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let inner = &*self.inner;
        self.board_or_lead(key, |shard, slot| {
            let value = inner.live(shard, slot)?;
            let serves = |aging: &Aging| {
                let standing = aging
                    .rules
                    .judge(shard.age(slot), inner.now(), || NOT_BY_CHANCE);
                standing != Standing::Load
            };
            let serves = inner.lifetime.aging.as_ref().is_none_or(serves);
            serves.then(|| value.clone())
        })
    }

    /// The value of `key` that may be served since its load failed.
    pub(crate) fn excuse<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let inner = &*self.inner;
        let aging = inner.lifetime.aging.as_ref()?;
        let hash = hash(&inner.hasher, key);
        let (_, value, age) = inner.aged(&inner.stripe(hash).read(), hash, key)?;
        let now = inner.now();
        if !aging.rules.excuses(age, now) {
            return None;
        }
        if age.is_stale(now) {
            inner.loads.count_stale();
        }
        Some(value)
    }

    /// Starts to load `key` anew, if nobody does already and what is there still has the age that was
    /// seen. (Callers who load alone do so whoever else does.)
    pub(crate) fn lead_refresh<Q>(&self, key: &Q, seen: Option<Age>) -> Option<(Ticket<K, V, S>, K)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let inner = &*self.inner;
        let hash = hash(&inner.hasher, key);
        let stripe = inner.stripe(hash);
        let is_under_way = |shard: &Shard<K, V>| {
            let flight = shard.watches.flight(short(hash), key, || inner.now());
            flight.is_some() || shard.watches.is_loaded_here(short(hash), key)
        };
        if is_under_way(&stripe.read()) {
            return None;
        }
        let keys = (key.to_owned(), key.to_owned());
        let mut shard = stripe.write();
        let age = shard.find(short(hash), key).map(|slot| shard.age(slot));
        if is_under_way(&shard) || seen.is_some_and(|seen| age != Some(seen)) {
            drop(shard);
            return None;
        }
        let ticket = self.lead(&mut shard, hash, keys.0);
        drop(shard);
        inner.loads.count_refresh();
        Some((ticket, keys.1))
    }

    /// Brings the load of a flight that this caller leads, or refreshes.
    pub(crate) fn begin_with<F, Fut>(
        &self,
        ticket: &Ticket<K, V, S>,
        key: K,
        is_refresh: bool,
        load: F,
    ) where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Outcome<V>> + Send + 'static,
    {
        self.begin(ticket, key, is_refresh, move || {
            let value = load();
            async move { Ok::<_, Failure>((value.await?, super::Keep::AsOthers)) }
        });
    }

    pub(crate) fn count_refused_refresh(&self) {
        self.inner.loads.count_refused_refresh();
    }

    /// Looks at up to `steps` entries from `at` on for such as are to be loaded anew though nobody asks
    /// for them; and says where to go on, or that this was the last.
    #[cfg(feature = "tokio")]
    pub(crate) fn overdue(
        &self,
        at: (usize, u32),
        steps: usize,
        found: &mut Vec<(K, Age)>,
    ) -> Option<(usize, u32)> {
        let inner = &*self.inner;
        let (Some(aging), Some(stripe)) = (&inner.lifetime.aging, inner.stripes.get(at.0)) else {
            return None;
        };
        let now = inner.now();
        let shard = stripe.read();
        let mut next = at.1;
        for slot in shard.slot_numbers().skip(at.1 as usize).take(steps) {
            next = slot + 1;
            let age = shard.age(slot);
            if inner.live(&shard, slot).is_some()
                && aging.rules.is_overdue(age, now)
                && let Some((key, _)) = shard.entry(slot)
            {
                found.push((key.clone(), age));
            }
        }
        if (next as usize) < shard.slots() {
            return Some((at.0, next));
        }
        (at.0 + 1 < inner.stripes.len()).then_some((at.0 + 1, 0))
    }
}

impl<K, V, S> Inner<K, V, S>
where
    K: Eq + Hash,
    V: Clone,
{
    /// What is there for `key` and has not expired.
    fn aged<Q>(&self, shard: &Shard<K, V>, hash: u64, key: &Q) -> Option<(u32, V, Age)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let slot = shard.find(short(hash), key)?;
        let value = self.live(shard, slot)?.clone();
        Some((slot, value, shard.age(slot)))
    }
}
