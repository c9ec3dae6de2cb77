//! Finding room for an entry without ever having more in than the budget allows.
//!
//! The budget is one for all shards; each evicts of its own. So the rule is: reserve, evict where
//! that fails, and pass the victim's weight on to the newcomer without giving it back. Only a shard
//! that has clearly less than its share, or an entry heavier than its shard, takes from others, and
//! then one thread at a time, with no shard locked: it could hold what another waits for.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use parking_lot::RwLockWriteGuard;

use super::Inner;
use crate::hash::{hash, short};
use crate::removed::Leaving;
use crate::shard::{Shard, Terms};
use crate::stripe::Stripe;
use crate::tags::{Names, TAGS_MAX};
use crate::watches::Watch;
use crate::{Cause, Removed};

/// How many places an insertion looks at for expired entries: more than it fills.
const RECLAIM_STEPS: usize = 4;

/// An entry on its way in.
struct Entry<K, V> {
    hash: u64,
    key: K,
    value: V,
    terms: Terms,
    tags: Names,
    /// The watch that has to stand still.
    watch: Option<u64>,
}

/// How a value comes in.
#[derive(Clone, Debug, Default)]
pub(super) struct Coming {
    /// The watch that has to stand still.
    pub(super) watch: Option<u64>,
    /// The time that its caller gave it.
    pub(super) time_to_live: Option<Duration>,
    /// What its load took.
    pub(super) took: Duration,
    /// Whether nobody asked for it.
    pub(super) is_refresh: bool,
    /// The tags that its caller gave it.
    pub(super) tags: Names,
}

/// Something happened to the key since the entry's value was begun.
pub(super) struct Outdated;

impl<K, V> Entry<K, V> {
    fn weight(&self) -> u64 {
        u64::from(self.terms.weight)
    }
}

impl<K, V, S> Inner<K, V, S>
where
    K: Eq + Hash,
    S: BuildHasher,
{
    pub(super) fn insert(&self, key: K, value: V, time_to_live: Option<Duration>) -> Option<V> {
        let hash = hash(&self.hasher, &key);
        let coming = Coming {
            time_to_live,
            ..Coming::default()
        };
        self.insert_as(hash, key, value, coming).unwrap_or_default()
    }

    /// Puts a value in, if its watch is none or still stands, and gives the one it replaced.
    pub(super) fn insert_as(
        &self,
        hash: u64,
        key: K,
        value: V,
        coming: Coming,
    ) -> Result<Option<V>, Outdated> {
        let weigh = |weigher: &super::Weigher<K, V>| weigher(&key, &value).max(1);
        let Coming {
            watch,
            time_to_live,
            took,
            is_refresh,
            tags,
        } = coming;
        let tags = self.names(&key, &value, tags);
        let (deadline, age) = self.lifetime.times(&key, &value, time_to_live, took, hash);
        let terms = Terms {
            weight: self.weigher.as_ref().map_or(1, weigh),
            deadline,
            now: self.lifetime.used_at(),
            age,
            is_use: !is_refresh,
        };
        let entry = Entry {
            hash,
            key,
            value,
            terms,
            tags,
            watch,
        };
        let mut leaving = Leaving::new();
        let replaced = self.place(entry, &mut leaving);
        if self.is_sampled(hash) {
            self.sample_insertion(hash);
        }
        self.tell_all(&leaving);
        let Some(replaced) = replaced? else {
            return Ok(None);
        };
        self.tell(&replaced);
        Ok((replaced.cause == Cause::Replaced).then_some(replaced.value))
    }

    /// Puts `entry` in, and gives what was there for its key.
    fn place(
        &self,
        entry: Entry<K, V>,
        leaving: &mut Leaving<K, V>,
    ) -> Result<Option<Removed<K, V>>, Outdated> {
        if entry.weight() > self.budget.capacity() || entry.tags.len() > TAGS_MAX {
            // Before anything is evicted for what cannot come in.
            return self.refuse(entry, leaving);
        }
        let stripe = self.stripe(entry.hash);
        let mut shard = stripe.write();
        self.reclaim_some(stripe, &mut shard, leaving);
        let mut credit = 0;
        loop {
            let slot = shard.find(short(entry.hash), &entry.key);
            let there = slot.map_or(0, |slot| shard.weight_of(slot));
            let need = entry.weight().saturating_sub(there);
            let has_place = slot.is_some() || !shard.is_out_of_slots();
            if has_place && (credit >= need || self.budget.reserve(need - credit)) {
                if credit == 0 && slot.is_none() {
                    shard.make_room();
                }
                return self.settle(stripe, shard, entry, credit.max(need));
            }
            let from_own = !has_place || self.has_its_share(&shard, need);
            let window = self.window_percent.load(Ordering::Relaxed);
            match from_own.then(|| shard.evict(window)).flatten() {
                Some(taken) => {
                    credit += taken.weight;
                    stripe.count_left(Cause::Size);
                    leaving.push(taken.key, taken.value, Cause::Size);
                }
                None => {
                    stripe.tell(&shard);
                    drop(shard);
                    self.budget.release(credit);
                    return self.place_by_gathering(entry, leaving);
                }
            }
        }
    }

    /// Whether the shard has so much of the whole that it makes room by itself.
    fn has_its_share(&self, shard: &Shard<K, V>, need: u64) -> bool {
        let share = self.budget.capacity() / self.stripes.len() as u64;
        self.stripes.len() == 1 || shard.weight() + need > share - share / 8
    }

    /// Puts `entry` into its shard, for which `credit` was reserved, and gives back what is left of it.
    fn settle(
        &self,
        stripe: &Stripe<K, V>,
        mut shard: RwLockWriteGuard<'_, Shard<K, V>>,
        entry: Entry<K, V>,
        credit: u64,
    ) -> Result<Option<Removed<K, V>>, Outdated> {
        let weight = entry.weight();
        // These, and an entry that is outdated, are dropped after the shard.
        let entry = entry;
        let (stands, _watches) = take_watches(&mut shard, &entry);
        if !stands {
            stripe.tell(&shard);
            drop(shard);
            self.budget.release(credit);
            return Err(Outdated);
        }
        let Entry {
            hash,
            key,
            value,
            terms,
            tags,
            ..
        } = entry;
        let Some(slot) = shard.find(short(hash), &key) else {
            let slot = shard.insert(short(hash), key, value, terms);
            shard.tag(slot, &tags);
            stripe.tell(&shard);
            drop(shard);
            self.budget.release(credit - weight);
            return Ok(None);
        };
        let cause = match self.live(&shard, slot) {
            Some(_) => Cause::Replaced,
            None => Cause::Expired,
        };
        let Some((old, old_weight)) = shard.replace(slot, value, terms) else {
            return Ok(None);
        };
        shard.tag(slot, &tags);
        stripe.tell(&shard);
        drop(shard);
        self.budget.release(credit + old_weight - weight);
        stripe.count_left(cause);
        Ok(Some(Removed {
            key,
            value: old,
            cause,
        }))
    }

    /// Takes room from the heaviest shards until there is enough for `entry`.
    #[cold]
    fn place_by_gathering(
        &self,
        entry: Entry<K, V>,
        leaving: &mut Leaving<K, V>,
    ) -> Result<Option<Removed<K, V>>, Outdated> {
        let turn = self.gathering.lock();
        let weight = entry.weight();
        let mut credit = 0;
        while credit < weight && !self.budget.reserve(weight - credit) {
            if weight > self.budget.capacity() {
                // It was made smaller meanwhile.
                self.budget.release(credit);
                drop(turn);
                return self.refuse(entry, leaving);
            }
            match self.evict_from_heaviest(leaving) {
                Some(freed) => credit += freed,
                // What is reserved and not yet in will be in a moment.
                None => thread::yield_now(),
            }
        }
        let stripe = self.stripe(entry.hash);
        self.settle(stripe, stripe.write(), entry, credit.max(weight))
    }

    /// Evicts one entry, and gives its weight, which stays reserved.
    fn evict_from_heaviest(&self, leaving: &mut Leaving<K, V>) -> Option<u64> {
        let stripe = self.stripes.iter().max_by_key(|stripe| stripe.weight())?;
        let mut shard = stripe.write();
        let taken = shard.evict(self.window_percent.load(Ordering::Relaxed))?;
        stripe.tell(&shard);
        drop(shard);
        stripe.count_left(Cause::Size);
        leaving.push(taken.key, taken.value, Cause::Size);
        Some(taken.weight)
    }

    fn refuse(
        &self,
        entry: Entry<K, V>,
        leaving: &mut Leaving<K, V>,
    ) -> Result<Option<Removed<K, V>>, Outdated> {
        let stripe = self.stripe(entry.hash);
        let mut shard = stripe.write();
        let (stands, watches) = take_watches(&mut shard, &entry);
        if !stands {
            drop(shard);
            return Err(Outdated);
        }
        let slot = shard.find(short(entry.hash), &entry.key);
        let was_live = slot.is_some_and(|slot| self.live(&shard, slot).is_some());
        let taken = slot.and_then(|slot| shard.remove(slot));
        stripe.tell(&shard);
        drop(shard);
        drop(watches);
        stripe.count_left(Cause::Refused);
        leaving.push(entry.key, entry.value, Cause::Refused);
        let cause = if was_live {
            Cause::Replaced
        } else {
            Cause::Expired
        };
        Ok(taken.map(|taken| self.leave(stripe, taken, cause)))
    }

    fn reclaim_some(
        &self,
        stripe: &Stripe<K, V>,
        shard: &mut Shard<K, V>,
        leaving: &mut Leaving<K, V>,
    ) -> u64 {
        self.reclaim_in(stripe, shard, &mut { RECLAIM_STEPS }, leaving)
    }

    fn reclaim_in(
        &self,
        stripe: &Stripe<K, V>,
        shard: &mut Shard<K, V>,
        steps: &mut usize,
        leaving: &mut Leaving<K, V>,
    ) -> u64 {
        if !self.lifetime.anything_expires() {
            return 0;
        }
        let now = self.now();
        let mut count = 0;
        while let Some(taken) = shard.take_expired(steps, self.lifetime.time_to_idle, now) {
            let removed = self.leave(stripe, taken, Cause::Expired);
            leaving.push(removed.key, removed.value, removed.cause);
            count += 1;
        }
        count
    }

    /// One shard at a time, going on where the last call ended.
    pub(super) fn reclaim(&self, mut steps: usize) -> u64 {
        let mut count = 0;
        for _ in 0..self.stripes.len() {
            let at = self.reclaim_at.fetch_add(1, Ordering::Relaxed) % self.stripes.len();
            let stripe = &self.stripes[at];
            let mut leaving = Leaving::new();
            let mut shard = stripe.write();
            let mut of_this = steps.min(shard.slots());
            steps -= of_this;
            count += self.reclaim_in(stripe, &mut shard, &mut of_this, &mut leaving);
            stripe.tell(&shard);
            drop(shard);
            self.tell_all(&leaving);
            if steps == 0 {
                break;
            }
        }
        count
    }

    pub(super) fn resize(&self, capacity: u64) {
        let mut leaving = Leaving::new();
        let turn = self.gathering.lock();
        self.budget.set_capacity(capacity);
        while self.budget.used() > capacity {
            match self.evict_from_heaviest(&mut leaving) {
                Some(freed) => self.budget.release(freed),
                None => thread::yield_now(),
            }
        }
        self.retune(capacity);
        drop(turn);
        self.tell_all(&leaving);
    }
}

/// Whether the watch of `entry` stands, if it has one, and if so all watches on its key, which are
/// to be dropped after the lock.
fn take_watches<K: Eq, V>(
    shard: &mut Shard<K, V>,
    entry: &Entry<K, V>,
) -> (bool, Vec<Watch<K, V>>) {
    let hash = short(entry.hash);
    let own = match entry.watch {
        None => None,
        Some(id) => match shard.watches.take(hash, id) {
            None => return (false, Vec::new()),
            Some(own) if shard.watches.is_purged(id, &entry.tags) => return (false, vec![own]),
            own => own,
        },
    };
    let mut watches = shard.watches.take_key(hash, &entry.key);
    watches.extend(own);
    (true, watches)
}
