//! Who holds slots for later: a limiter, or one key of a keyed one.

use std::time::Duration;

use stanchion_core::{Clock, Instant};

#[cfg(feature = "tokio")]
use crate::Status;
use crate::keyed::{self, OfKey};
use crate::limiter;
use crate::{Event, RateLimiter, Rejected};

#[derive(Clone)]
pub(crate) enum Holder {
    One(RateLimiter),
    Key(OfKey),
}

/// A slot that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim {
    One(limiter::Claim),
    Key(keyed::Claim),
}

impl Holder {
    /// Takes the next slot; tells nobody of a refusal. A cost of 0 claims nothing.
    pub(crate) fn claim(
        &self,
        cost: u64,
        wait_max: Duration,
    ) -> Result<(Instant, Option<Claim>), Rejected> {
        match self {
            Self::One(limiter) => {
                let claimed = limiter.claim(cost, wait_max);
                claimed.map(|(slot, claim)| (slot, claim.map(Claim::One)))
            }
            Self::Key(key) => {
                let claimed = key.claim(cost, wait_max);
                claimed.map(|(slot, claim)| (slot, claim.map(Claim::Key)))
            }
        }
    }

    /// Gives a slot back, if nobody took anything behind it. Tells whether it did.
    pub(crate) fn cancel(&self, claim: &Claim) -> bool {
        match (self, claim) {
            (Self::One(limiter), Claim::One(claim)) => limiter.cancel(claim),
            (Self::Key(key), Claim::Key(claim)) => key.cancel(claim),
            _ => false,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        match self {
            Self::One(limiter) => limiter.clock(),
            Self::Key(key) => key.clock(),
        }
    }

    /// Tells the observer of a refusal.
    pub(crate) fn refuse(&self, rejected: Rejected) -> Rejected {
        let event = Event::Rejected(rejected);
        match self {
            Self::One(limiter) => limiter.observe(&event),
            Self::Key(key) => key.observe(&event),
        }
        rejected
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn peek(&self) -> Status {
        match self {
            Self::One(limiter) => limiter.peek(),
            Self::Key(key) => key.peek(),
        }
    }

    /// `slot`, or by chance a little later, but not after `deadline`.
    #[cfg(feature = "tokio")]
    pub(crate) fn jittered(&self, slot: Instant, deadline: Instant) -> Instant {
        match self {
            Self::One(limiter) => limiter.jittered(slot, deadline),
            Self::Key(key) => key.jittered(slot, deadline),
        }
    }
}
