//! An algorithm and its state behind one lock.

use std::fmt;

use parking_lot::Mutex;
use stanchion_core::Instant;

use crate::algorithm::Algorithm;
use crate::status::Detour;
use crate::token_bucket::TokenBucket;
use crate::{FixedWindow, Inherit, Policy, Rejected, SlidingWindowCounter, SlidingWindowLog};
use crate::{Status, StrictWindow};

/// The state of one stream under a lock that is held for a few dozen instructions, in which nobody
/// else's code runs.
pub(crate) struct Locked {
    running: Mutex<Box<dyn Running>>,
}

/// A slot that was taken, now or for later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) slot: Instant,
    taken: u64,
    /// How often anything was taken before: as long as nothing more was, nobody is behind.
    before: u64,
}

impl Locked {
    pub(crate) fn new<A: Algorithm + Into<Policy> + Numbers>(algorithm: A) -> Self {
        let state = algorithm.idle();
        Self {
            running: Mutex::new(Box::new(Stream {
                algorithm,
                state,
                takes: 0,
            })),
        }
    }

    #[inline]
    pub(crate) fn check(&self, now: Instant, cost: u64) -> Detour {
        self.running.lock().check(now, cost)
    }

    pub(crate) fn peek(&self, now: Instant, cost: u64) -> Status {
        self.running.lock().peek(now, cost)
    }

    pub(crate) fn policy(&self) -> Policy {
        self.running.lock().policy()
    }

    pub(crate) fn reserve(
        &self,
        now: Instant,
        cost: u64,
        wait_max: u64,
    ) -> Result<Claim, Rejected> {
        self.running.lock().reserve(now, cost, wait_max)
    }

    pub(crate) fn cancel(&self, now: Instant, claim: &Claim) -> bool {
        self.running.lock().cancel(now, claim)
    }

    pub(crate) fn refund(&self, now: Instant, cost: u64) -> u64 {
        self.running.lock().refund(now, cost)
    }

    pub(crate) fn force(&self, now: Instant, cost: u64) -> Status {
        self.running.lock().force(now, cost)
    }

    pub(crate) fn set_policy(&self, policy: Policy, now: Instant, inherit: Inherit) -> bool {
        self.running.lock().set_policy(policy, now, inherit)
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Locked").field(&self.policy()).finish()
    }
}

/// An algorithm whose numbers can be found in a policy.
pub(crate) trait Numbers: Sized {
    fn of(policy: Policy) -> Option<Self>;
}

impl Numbers for TokenBucket {
    fn of(policy: Policy) -> Option<Self> {
        match policy {
            Policy::TokenBucket(quota) => Some(Self::new(quota)),
            // Nobody waits where it is one state among others.
            Policy::LeakyBucket(bucket) => Some(Self::leaky(&bucket)),
            _ => None,
        }
    }
}

impl Numbers for FixedWindow {
    fn of(policy: Policy) -> Option<Self> {
        match policy {
            Policy::FixedWindow(window) => Some(window),
            _ => None,
        }
    }
}

impl Numbers for SlidingWindowCounter {
    fn of(policy: Policy) -> Option<Self> {
        match policy {
            Policy::SlidingWindowCounter(window) => Some(window),
            _ => None,
        }
    }
}

impl Numbers for SlidingWindowLog {
    fn of(policy: Policy) -> Option<Self> {
        match policy {
            Policy::SlidingWindowLog(window) => Some(window),
            _ => None,
        }
    }
}

impl Numbers for StrictWindow {
    fn of(policy: Policy) -> Option<Self> {
        match policy {
            Policy::StrictWindow(window) => Some(window),
            _ => None,
        }
    }
}

/// An algorithm with its state, whichever it is.
trait Running: Send {
    fn policy(&self) -> Policy;
    fn check(&mut self, now: Instant, cost: u64) -> Detour;
    fn peek(&mut self, now: Instant, cost: u64) -> Status;
    fn reserve(&mut self, now: Instant, cost: u64, wait_max: u64) -> Result<Claim, Rejected>;
    fn cancel(&mut self, now: Instant, claim: &Claim) -> bool;
    fn refund(&mut self, now: Instant, cost: u64) -> u64;
    fn force(&mut self, now: Instant, cost: u64) -> Status;
    fn set_policy(&mut self, policy: Policy, now: Instant, inherit: Inherit) -> bool;
}

struct Stream<A: Algorithm> {
    algorithm: A,
    state: A::State,
    /// How often anything was taken and not given back, or the numbers changed; tells whether
    /// anybody stands behind a claim.
    takes: u64,
}

impl<A: Algorithm + Into<Policy> + Numbers> Running for Stream<A> {
    fn policy(&self) -> Policy {
        self.algorithm.into()
    }

    /// The answer, which is wide, is made where the caller wants it.
    fn check(&mut self, now: Instant, cost: u64) -> Detour {
        let Self {
            algorithm, state, ..
        } = self;
        if algorithm.try_take(state, now, cost) {
            self.takes += u64::from(cost > 0);
            Detour::Admitted(algorithm.status(state, now, 1))
        } else {
            Detour::Refused(algorithm.refusal(state, now, cost))
        }
    }

    fn peek(&mut self, now: Instant, cost: u64) -> Status {
        self.algorithm.peek(&mut self.state, now, cost)
    }

    fn reserve(&mut self, now: Instant, cost: u64, wait_max: u64) -> Result<Claim, Rejected> {
        let reserved = self.algorithm.reserve(&mut self.state, now, cost, wait_max);
        let (slot, taken) = reserved?;
        let before = self.takes;
        // What takes nothing stands behind nobody.
        self.takes += u64::from(cost > 0);
        Ok(Claim {
            slot,
            taken,
            before,
        })
    }

    fn cancel(&mut self, now: Instant, claim: &Claim) -> bool {
        if self.takes != claim.before + 1 {
            return false;
        }
        self.algorithm.advance(&mut self.state, now);
        self.algorithm.give_back(&mut self.state, claim.taken);
        self.takes = claim.before;
        true
    }

    fn refund(&mut self, now: Instant, cost: u64) -> u64 {
        self.algorithm.advance(&mut self.state, now);
        let back = self.algorithm.refund(&mut self.state, now, cost);
        self.takes += u64::from(back > 0);
        back
    }

    fn force(&mut self, now: Instant, cost: u64) -> Status {
        self.algorithm.advance(&mut self.state, now);
        if cost > 0 {
            self.algorithm.take(&mut self.state, now, cost);
            self.takes += 1;
        }
        self.algorithm.status(&self.state, now, 1)
    }

    fn set_policy(&mut self, policy: Policy, now: Instant, inherit: Inherit) -> bool {
        let Some(next) = A::of(policy) else {
            return false;
        };
        self.takes += 1;
        next.inherit(&self.algorithm, &mut self.state, now, inherit);
        self.algorithm = next;
        true
    }
}
