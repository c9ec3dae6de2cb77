//! An algorithm and its state behind one lock.

use std::fmt;

use parking_lot::Mutex;
use stanchion_core::Instant;

use crate::algorithm::Algorithm;
use crate::{Policy, Rejected, Status};

/// The state of one stream under a lock that is held for a few dozen instructions, in which nobody
/// else's code runs.
pub(crate) struct Locked {
    running: Mutex<Box<dyn Running>>,
}

impl Locked {
    pub(crate) fn new<A: Algorithm + Into<Policy>>(algorithm: A) -> Self {
        let state = algorithm.idle();
        Self {
            running: Mutex::new(Box::new(Stream { algorithm, state })),
        }
    }

    #[inline]
    pub(crate) fn check(&self, now: Instant, cost: u64) -> Result<Status, Rejected> {
        self.running.lock().check(now, cost)
    }

    pub(crate) fn peek(&self, now: Instant, cost: u64) -> Status {
        self.running.lock().peek(now, cost)
    }

    pub(crate) fn policy(&self) -> Policy {
        self.running.lock().policy()
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Locked").field(&self.policy()).finish()
    }
}

/// An algorithm with its state, whichever it is.
trait Running: Send {
    fn policy(&self) -> Policy;
    fn check(&mut self, now: Instant, cost: u64) -> Result<Status, Rejected>;
    fn peek(&mut self, now: Instant, cost: u64) -> Status;
}

struct Stream<A: Algorithm> {
    algorithm: A,
    state: A::State,
}

impl<A: Algorithm + Into<Policy>> Running for Stream<A> {
    fn policy(&self) -> Policy {
        self.algorithm.into()
    }

    fn check(&mut self, now: Instant, cost: u64) -> Result<Status, Rejected> {
        self.algorithm.check(&mut self.state, now, cost)
    }

    fn peek(&mut self, now: Instant, cost: u64) -> Status {
        self.algorithm.peek(&mut self.state, now, cost)
    }
}
