//! The states of many keys under one algorithm, and what becomes of a key without a place.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use stanchion_core::Instant;

use super::store::Store;
use super::when_full::{Place, Room, WhenFull};
use crate::algorithm::Algorithm;
use crate::composite::{Asked, Next, hold};
use crate::{Inherit, Rejected, Status};

/// The states of many keys, under algorithms of one kind that may differ in their numbers.
pub(crate) struct States<A: Algorithm> {
    store: Store<Kept<A::State>>,
    overflow: Mutex<Kept<A::State>>,
    /// Slots that were reserved since the start; numbers them.
    reserved: AtomicU64,
}

/// A state, and who took from it last.
struct Kept<S> {
    state: S,
    /// The number of the reservation that did; 0 if it was none.
    last: u64,
}

/// A slot that was taken, now or for later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// What the algorithm needs to undo it.
    taken: u64,
    number: u64,
    /// Who took last before.
    before: u64,
    /// It lies in the state that keys without a place share.
    shared: bool,
}

/// What became of a request, and how its key came to its place.
pub(crate) type Placed<T> = (Result<T, Rejected>, Place);

impl<A: Algorithm> States<A> {
    pub(crate) fn new(max_keys: usize, algorithm: &A) -> Self {
        Self {
            store: Store::new(max_keys, || Kept::idle(algorithm)),
            overflow: Mutex::new(Kept::idle(algorithm)),
            reserved: AtomicU64::new(0),
        }
    }

    /// Takes `cost` from the key of `hash`; `common` is for all keys that share a state. The clock
    /// is read under the lock.
    #[inline]
    pub(crate) fn check(
        &self,
        algorithms: (&A, &A),
        hash: u64,
        now: impl FnOnce() -> Instant,
        cost: u64,
        when_full: WhenFull,
    ) -> Placed<Status> {
        let act = |algorithm: &A, kept: &mut Kept<A::State>, now| {
            let status = algorithm.check(&mut kept.state, now, cost)?;
            if cost > 0 {
                kept.last = 0;
            }
            Ok((status, status))
        };
        self.act(algorithms, hash, now, cost > 0, when_full, act)
    }

    /// Takes the first slot for `cost` that lies within `wait_max` nanoseconds of now.
    pub(crate) fn reserve(
        &self,
        algorithms: (&A, &A),
        hash: u64,
        now: Instant,
        (cost, wait_max): (u64, u64),
        when_full: WhenFull,
    ) -> Placed<(Instant, Claim)> {
        let number = self.reserved.fetch_add(1, Ordering::Relaxed) + 1;
        let act = |algorithm: &A, kept: &mut Kept<A::State>, now| {
            let state = &mut kept.state;
            let (slot, taken) = algorithm.reserve(state, now, cost, wait_max)?;
            let before = std::mem::replace(&mut kept.last, number);
            let claim = Claim {
                taken,
                number,
                before,
                shared: false,
            };
            Ok(((slot, claim), algorithm.status(&kept.state, now, 1)))
        };
        let (reserved, place) = self.act(algorithms, hash, || now, cost > 0, when_full, act);
        let shared = place == Place::Shared;
        let reserved = reserved.map(|(slot, claim)| (slot, Claim { shared, ..claim }));
        (reserved, place)
    }

    /// Gives a slot back, if nobody took anything behind it. Tells whether it did.
    pub(crate) fn cancel(&self, own: &A, hash: u64, now: Instant, claim: &Claim) -> bool {
        let give_back = |kept: &mut Kept<A::State>, now| {
            let is_last = kept.last == claim.number;
            if is_last {
                own.advance(&mut kept.state, now);
                own.give_back(&mut kept.state, claim.taken);
                kept.last = claim.before;
            }
            is_last
        };
        if claim.shared {
            return give_back(&mut self.overflow.lock(), now);
        }
        self.amend(own, hash, now, give_back).unwrap_or(false)
    }

    /// Gives back up to `cost`, and nothing behind which someone waits. Tells how much that was.
    pub(crate) fn refund(&self, own: &A, hash: u64, now: Instant, cost: u64) -> u64 {
        let refund = |kept: &mut Kept<A::State>, now| {
            own.advance(&mut kept.state, now);
            let back = own.refund(&mut kept.state, now, cost);
            if back > 0 {
                kept.last = 0;
            }
            back
        };
        self.amend(own, hash, now, refund).unwrap_or(0)
    }

    /// Takes `cost` whatever is left. A full table that denies new keys shares a state for this:
    /// what was done has to be paid for by someone.
    pub(crate) fn force(
        &self,
        algorithms: (&A, &A),
        hash: u64,
        now: Instant,
        cost: u64,
        when_full: WhenFull,
    ) -> (Status, Place) {
        let act = |algorithm: &A, kept: &mut Kept<A::State>, now| {
            algorithm.advance(&mut kept.state, now);
            if cost > 0 {
                algorithm.take(&mut kept.state, now, cost);
                kept.last = 0;
            }
            let status = algorithm.status(&kept.state, now, 1);
            Ok((status, status))
        };
        let when_full = match when_full {
            WhenFull::Deny => WhenFull::Share,
            other => other,
        };
        let (forced, place) = self.act(algorithms, hash, || now, cost > 0, when_full, act);
        // Nobody refuses it.
        let status = forced.unwrap_or_else(|_| self.peek(algorithms.0, hash, now));
        (status, place)
    }

    /// Lets `act` take from the state of a key, or from what keys without a place share. It tells
    /// where the state stands then.
    #[inline]
    fn act<T>(
        &self,
        (own, common): (&A, &A),
        hash: u64,
        now: impl FnOnce() -> Instant,
        takes: bool,
        when_full: WhenFull,
        act: impl Fn(&A, &mut Kept<A::State>, Instant) -> Result<(T, Status), Rejected>,
    ) -> Placed<T> {
        let mut shard = self.store.lock(hash);
        let read = now();
        let now = shard.time(read);
        if let Some(slot) = shard.find(hash) {
            let result = act(own, shard.state(slot), now);
            if let (Ok((_, status)), true) = (&result, takes) {
                shard.keep_until(slot, now + status.reset_after());
            }
            return (result.map(|(done, _)| done), Place::Own);
        }
        let mut new = Kept::idle(own);
        let (done, status) = match act(own, &mut new, now) {
            Ok(done) => done,
            Err(rejected) => return (Err(rejected), Place::Own),
        };
        if !takes {
            return (Ok(done), Place::Own);
        }
        let until = now + status.reset_after();
        match shard.insert(hash, new, now, until, when_full == WhenFull::Evict) {
            Room::Free => (Ok(done), Place::Own),
            Room::Evicted => (Ok(done), Place::Evicted),
            Room::None(free_at) if when_full == WhenFull::Deny => {
                let wait = free_at.as_nanos().saturating_sub(read.as_nanos());
                let rejected = Rejected::no_room(status.limit(), wait, 1);
                (Err(rejected), Place::Denied)
            }
            Room::None(_) => {
                drop(shard);
                let result = act(common, &mut self.overflow.lock(), read);
                (result.map(|(done, _)| done), Place::Shared)
            }
        }
    }

    /// Lets `amend` change the state of a key that has one.
    fn amend<T>(
        &self,
        own: &A,
        hash: u64,
        now: Instant,
        amend: impl FnOnce(&mut Kept<A::State>, Instant) -> T,
    ) -> Option<T> {
        let mut shard = self.store.lock(hash);
        let now = shard.time(now);
        let slot = shard.find(hash)?;
        let done = amend(shard.state(slot), now);
        let status = own.peek(&mut shard.state(slot).state, now, 1);
        shard.keep_until(slot, now + status.reset_after());
        Some(done)
    }

    /// Holds the state of the key, or what keys without a place share, while `next` is told whether it
    /// admits the cost, and takes it if `next` says so. Tells where the state stands then, and how the
    /// key came to its place.
    pub(crate) fn hold(
        &self,
        algorithm: &A,
        asked: &Asked,
        told: &mut Option<Status>,
        next: Next<'_>,
    ) -> Place {
        let Asked {
            hash,
            now,
            cost,
            when_full,
        } = *asked;
        let mut shard = self.store.lock(hash);
        let in_shard = shard.time(now);
        let idle_at = |told: &Option<Status>| {
            let idle = told.as_ref().map(Status::reset_after);
            in_shard + idle.unwrap_or_default()
        };
        if let Some(slot) = shard.find(hash) {
            let state = &mut shard.state(slot).state;
            if hold(algorithm, state, (in_shard, cost), told, next) {
                shard.keep_until(slot, idle_at(told));
            }
            return Place::Own;
        }
        // Looks for a place without taking any: nothing may have been taken in the end.
        let evict = when_full == WhenFull::Evict;
        match shard.room(hash, in_shard, evict).0 {
            Room::None(free_at) if when_full == WhenFull::Deny => {
                let status = algorithm.peek(&mut algorithm.idle(), in_shard, cost);
                let wait = free_at.as_nanos().saturating_sub(now.as_nanos());
                next(Err(Rejected::no_room(status.limit(), wait, cost)));
                *told = Some(status);
                Place::Denied
            }
            Room::None(_) => {
                drop(shard);
                let mut overflow = self.overflow.lock();
                hold(algorithm, &mut overflow.state, (now, cost), told, next);
                Place::Shared
            }
            room => {
                let mut new = Kept::idle(algorithm);
                if !hold(algorithm, &mut new.state, (in_shard, cost), told, next) {
                    return Place::Own;
                }
                shard.insert(hash, new, in_shard, idle_at(told), evict);
                if room == Room::Evicted {
                    Place::Evicted
                } else {
                    Place::Own
                }
            }
        }
    }

    /// Makes each state one of `to`, where it was one of `from`. Reads all places.
    pub(crate) fn inherit(&self, from: &A, to: &A, now: Instant, inherit: Inherit) {
        let convert = |kept: &mut Kept<A::State>, now| {
            to.inherit(from, &mut kept.state, now, inherit);
            kept.last = 0;
            now + to.status(&kept.state, now, 1).reset_after()
        };
        self.store.rewrite(now, || Kept::idle(to), convert);
        convert(&mut self.overflow.lock(), now);
    }

    /// Where the key of `hash` stands.
    pub(crate) fn peek(&self, own: &A, hash: u64, now: Instant) -> Status {
        let mut shard = self.store.lock(hash);
        let now = shard.time(now);
        match shard.find(hash) {
            Some(slot) => own.peek(&mut shard.state(slot).state, now, 1),
            None => own.peek(&mut own.idle(), now, 1),
        }
    }

    /// Forgets what the key of `hash` has used.
    pub(crate) fn reset(&self, own: &A, hash: u64) {
        let mut shard = self.store.lock(hash);
        if let Some(slot) = shard.find(hash) {
            shard.clear(slot, Kept::idle(own));
        }
    }

    pub(crate) fn live(&self, now: Instant) -> usize {
        self.store.live(now)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.store.bytes()
    }
}

impl<S> Kept<S> {
    fn idle<A: Algorithm<State = S>>(algorithm: &A) -> Self {
        Self {
            state: algorithm.idle(),
            last: 0,
        }
    }
}
