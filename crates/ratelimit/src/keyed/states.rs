//! The states of many keys under one algorithm, and what becomes of a key without a place.

use parking_lot::Mutex;
use stanchion_core::{Clock, Instant};

use super::store::Store;
use super::when_full::{Place, Room, WhenFull};
use crate::algorithm::Algorithm;
use crate::composite::{Next, hold};
use crate::{Policy, Rejected, Status};

/// The states of many keys, under algorithms of one kind that may differ in their numbers.
pub(crate) struct States<A: Algorithm> {
    store: Store<A::State>,
    overflow: Mutex<A::State>,
}

/// What became of a request, and how its key came to its place.
pub(crate) type Placed = (Result<Status, Rejected>, Place);

impl<A: Algorithm> States<A> {
    pub(crate) fn new(max_keys: usize, algorithm: &A) -> Self {
        Self {
            store: Store::new(max_keys, || algorithm.idle()),
            overflow: Mutex::new(algorithm.idle()),
        }
    }

    /// Takes `cost` from the key of `hash`; `common` is for all keys that share a state.
    pub(crate) fn check(
        &self,
        (own, common): (&A, &A),
        hash: u64,
        clock: &Clock,
        cost: u64,
        when_full: WhenFull,
    ) -> Placed {
        let mut shard = self.store.lock(hash);
        let read = clock.now();
        let now = shard.time(read);
        if let Some(slot) = shard.find(hash) {
            let result = own.check(shard.state(slot), now, cost);
            if let (Ok(status), true) = (&result, cost > 0) {
                shard.keep_until(slot, now + status.reset_after());
            }
            return (result, Place::Own);
        }
        let mut state = own.idle();
        let result = own.check(&mut state, now, cost);
        let (Ok(status), true) = (&result, cost > 0) else {
            return (result, Place::Own);
        };
        let until = now + status.reset_after();
        match shard.insert(hash, state, now, until, when_full == WhenFull::Evict) {
            Room::Free => (result, Place::Own),
            Room::Evicted => (result, Place::Evicted),
            Room::None(free_at) if when_full == WhenFull::Deny => {
                let wait = free_at.as_nanos().saturating_sub(read.as_nanos());
                let rejected = Rejected::no_room(status.limit(), wait, cost);
                (Err(rejected), Place::Denied)
            }
            Room::None(_) => {
                drop(shard);
                let result = common.check(&mut self.overflow.lock(), read, cost);
                (result, Place::Shared)
            }
        }
    }

    /// Holds the state of the key of `hash`, or what keys without a place share, while `next` is
    /// told whether it admits `cost`, and takes it if `next` says so. Tells where the state stands
    /// then, and whether it is the shared one.
    pub(crate) fn hold(
        &self,
        algorithm: &A,
        hash: u64,
        now: Instant,
        cost: u64,
        next: Next<'_>,
    ) -> (Status, bool) {
        let mut shard = self.store.lock(hash);
        let in_shard = shard.time(now);
        let slot = shard.find(hash).or_else(|| {
            // Says nothing from now on, so if nothing is taken, its place is free again.
            let new = algorithm.idle();
            shard.insert(hash, new, in_shard, in_shard, false);
            shard.find(hash)
        });
        let Some(slot) = slot else {
            let mut overflow = self.overflow.lock();
            return (hold(algorithm, &mut overflow, now, cost, next).0, true);
        };
        let (status, taken) = hold(algorithm, shard.state(slot), in_shard, cost, next);
        if taken {
            shard.keep_until(slot, in_shard + status.reset_after());
        }
        (status, false)
    }

    /// Where the key of `hash` stands.
    pub(crate) fn peek(&self, own: &A, hash: u64, now: Instant) -> Status {
        let mut shard = self.store.lock(hash);
        let now = shard.time(now);
        match shard.find(hash) {
            Some(slot) => own.peek(shard.state(slot), now, 1),
            None => own.peek(&mut own.idle(), now, 1),
        }
    }

    /// Forgets what the key of `hash` has used.
    pub(crate) fn reset(&self, own: &A, hash: u64) {
        let mut shard = self.store.lock(hash);
        if let Some(slot) = shard.find(hash) {
            shard.clear(slot, own.idle());
        }
    }

    pub(crate) fn live(&self, now: Instant) -> usize {
        self.store.live(now)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.store.bytes()
    }
}

/// [`States`] of whichever algorithm, all of whose keys have the same numbers.
pub(super) trait Uniform: Send + Sync {
    fn policy(&self) -> Policy;
    fn check(&self, hash: u64, clock: &Clock, cost: u64, when_full: WhenFull) -> Placed;
    fn peek(&self, hash: u64, now: Instant) -> Status;
    fn reset(&self, hash: u64);
    fn live(&self, now: Instant) -> usize;
    fn bytes(&self) -> usize;
}

pub(super) fn uniform<A>(algorithm: A, max_keys: usize) -> Box<dyn Uniform>
where
    A: Algorithm + Into<Policy>,
{
    let states = States::new(max_keys, &algorithm);
    Box::new((algorithm, states))
}

impl<A: Algorithm + Into<Policy>> Uniform for (A, States<A>) {
    fn policy(&self) -> Policy {
        self.0.into()
    }

    fn check(&self, hash: u64, clock: &Clock, cost: u64, when_full: WhenFull) -> Placed {
        let (algorithm, states) = self;
        states.check((algorithm, algorithm), hash, clock, cost, when_full)
    }

    fn peek(&self, hash: u64, now: Instant) -> Status {
        self.1.peek(&self.0, hash, now)
    }

    fn reset(&self, hash: u64) {
        self.1.reset(&self.0, hash);
    }

    fn live(&self, now: Instant) -> usize {
        self.1.live(now)
    }

    fn bytes(&self) -> usize {
        self.1.bytes()
    }
}
