//! [`States`] of whichever algorithm, all of whose keys have the same numbers.

use stanchion_core::{Clock, Instant};

use super::states::{Claim, Placed, States};
use super::when_full::{Place, WhenFull};
use crate::algorithm::Algorithm;
use crate::{Policy, Status};

pub(super) trait Uniform: Send + Sync {
    fn policy(&self) -> Policy;
    fn check(&self, hash: u64, clock: &Clock, cost: u64, when_full: WhenFull) -> Placed<Status>;
    fn reserve(
        &self,
        hash: u64,
        now: Instant,
        cost_and_wait_max: (u64, u64),
        when_full: WhenFull,
    ) -> Placed<(Instant, Claim)>;
    fn cancel(&self, hash: u64, now: Instant, claim: &Claim) -> bool;
    fn refund(&self, hash: u64, now: Instant, cost: u64) -> u64;
    fn force(&self, hash: u64, now: Instant, cost: u64, when_full: WhenFull) -> (Status, Place);
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

    fn check(&self, hash: u64, clock: &Clock, cost: u64, when_full: WhenFull) -> Placed<Status> {
        let (algorithm, states) = self;
        let algorithms = (algorithm, algorithm);
        states.check(algorithms, hash, || clock.now(), cost, when_full)
    }

    fn reserve(
        &self,
        hash: u64,
        now: Instant,
        cost_and_wait_max: (u64, u64),
        when_full: WhenFull,
    ) -> Placed<(Instant, Claim)> {
        let (algorithm, states) = self;
        let algorithms = (algorithm, algorithm);
        states.reserve(algorithms, hash, now, cost_and_wait_max, when_full)
    }

    fn cancel(&self, hash: u64, now: Instant, claim: &Claim) -> bool {
        self.1.cancel(&self.0, hash, now, claim)
    }

    fn refund(&self, hash: u64, now: Instant, cost: u64) -> u64 {
        self.1.refund(&self.0, hash, now, cost)
    }

    fn force(&self, hash: u64, now: Instant, cost: u64, when_full: WhenFull) -> (Status, Place) {
        let (algorithm, states) = self;
        states.force((algorithm, algorithm), hash, now, cost, when_full)
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
