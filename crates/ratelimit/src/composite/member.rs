//! The state, or the states, of one limit of several.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use stanchion_core::Instant;

use crate::algorithm::Algorithm;
use crate::keyed::{InvalidMaxKeys, Place, States};
use crate::token_bucket::TokenBucket;
use crate::{Policy, Rejected, Status, WhenFull};

/// Is told a limit's verdict while its state is held, and tells whether to take.
pub(crate) type Next<'a> = &'a mut dyn FnMut(Result<(), Rejected>) -> bool;

pub(super) trait Member: Send + Sync {
    /// Holds the state of the key of `hash` while `next` is told whether it admits `cost`, and
    /// takes it if `next` says so. Tells where the state stands then.
    fn hold(&self, hash: u64, now: Instant, cost: u64, next: Next<'_>) -> Status;

    /// Requests that went to the state that keys without a place share.
    fn overflowed(&self) -> u64;
}

/// One state for all.
struct One<A: Algorithm> {
    algorithm: A,
    state: Mutex<A::State>,
}

/// One state for each key.
struct Each<A: Algorithm> {
    algorithm: A,
    states: States<A>,
    overflowed: AtomicU64,
}

pub(super) fn shared(policy: Policy) -> Box<dyn Member> {
    fn one<A: Algorithm>(algorithm: A) -> Box<dyn Member> {
        let state = Mutex::new(algorithm.idle());
        Box::new(One { algorithm, state })
    }
    match policy {
        Policy::TokenBucket(quota) => one(TokenBucket::new(quota)),
        Policy::FixedWindow(window) => one(window),
        Policy::SlidingWindowCounter(window) => one(window),
        Policy::SlidingWindowLog(window) => one(window),
        Policy::StrictWindow(window) => one(window),
        // Nothing waits here, so only what flows out at once is admitted.
        Policy::LeakyBucket(bucket) => one(TokenBucket::leaky(&bucket)),
    }
}

pub(super) fn keyed(policy: Policy, max_keys: usize) -> Result<Box<dyn Member>, InvalidMaxKeys> {
    fn each<A: Algorithm>(algorithm: A, max_keys: usize) -> Box<dyn Member> {
        let states = States::new(max_keys, &algorithm);
        let overflowed = AtomicU64::new(0);
        Box::new(Each {
            algorithm,
            states,
            overflowed,
        })
    }
    let max_keys = InvalidMaxKeys::unless_valid(max_keys)?;
    Ok(match policy {
        Policy::TokenBucket(quota) => each(TokenBucket::new(quota), max_keys),
        Policy::FixedWindow(window) => each(window, max_keys),
        Policy::SlidingWindowCounter(window) => each(window, max_keys),
        Policy::SlidingWindowLog(window) => each(window, max_keys),
        Policy::StrictWindow(window) => each(window, max_keys),
        Policy::LeakyBucket(bucket) => each(TokenBucket::leaky(&bucket), max_keys),
    })
}

/// Asks a state that is held, and takes from it if `next` says so; tells where it stands, and
/// whether anything was taken.
pub(crate) fn hold<A: Algorithm>(
    algorithm: &A,
    state: &mut A::State,
    now: Instant,
    cost: u64,
    next: Next<'_>,
) -> (Status, bool) {
    algorithm.advance(state, now);
    let slot = match cost {
        0 => Some(now),
        _ => algorithm.slot(state, now, cost),
    };
    let status = |state: &A::State| algorithm.status(state, now, cost);
    let verdict = match slot {
        Some(slot) if slot <= now => Ok(()),
        Some(_) => Err(Rejected::exceeded(status(state), cost)),
        None => Err(Rejected::cost_above_burst(status(state), cost)),
    };
    let taken = next(verdict) && cost > 0;
    if taken {
        algorithm.take(state, slot.unwrap_or(now), cost);
    }
    (algorithm.status(state, now, 1), taken)
}

impl<A: Algorithm> Member for One<A> {
    fn hold(&self, _hash: u64, now: Instant, cost: u64, next: Next<'_>) -> Status {
        hold(&self.algorithm, &mut self.state.lock(), now, cost, next).0
    }

    fn overflowed(&self) -> u64 {
        0
    }
}

impl<A: Algorithm> Member for Each<A> {
    fn hold(&self, hash: u64, now: Instant, cost: u64, next: Next<'_>) -> Status {
        let share = WhenFull::Share;
        let (status, place) = self
            .states
            .hold(&self.algorithm, hash, now, cost, share, next);
        if place == Place::Shared {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
        }
        status
    }

    fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }
}
