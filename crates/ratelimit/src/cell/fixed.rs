//! A cell whose quota never changes: what fails at the turn of an era is done again.

use std::ops::RangeInclusive;

use stanchion_core::Instant;

use super::{Cell, Claim};
use crate::gcra::{Decision, Gcra};
use crate::{Rejected, Status};

impl Cell {
    /// Takes `cost` at `now`, or refuses and writes nothing.
    #[inline]
    pub(crate) fn check(&self, gcra: &Gcra, now: Instant, cost: u64) -> Decision {
        until_some(|| self.try_check(gcra, self.stamp(), now, cost))
    }

    /// Takes as much of `costs` as there is, from its start on, or refuses and writes nothing. Tells
    /// what was taken.
    pub(crate) fn take(
        &self,
        gcra: &Gcra,
        now: Instant,
        costs: RangeInclusive<u64>,
    ) -> (Decision, u64) {
        let mut taken = 0;
        let changed = until_some(|| {
            self.change(gcra, self.stamp(), now, |ahead, _| {
                taken = gcra.remaining(ahead).min(*costs.end()).max(*costs.start());
                gcra.fitting(ahead, taken).ok_or(ahead)
            })
        });
        match changed {
            Ok((ahead, _)) => (Decision::admitted(ahead), taken),
            Err(ahead) => (Decision::exceeded(ahead), 0),
        }
    }

    /// How far the bucket is from full at `now`.
    pub(crate) fn peek(&self, gcra: &Gcra, now: Instant) -> u64 {
        until_some(|| self.try_peek(gcra, self.stamp(), now))
    }

    /// Takes the next slot for `cost` that lies within `wait_max` nanoseconds of now; a cost of 0
    /// claims nothing.
    pub(crate) fn reserve(
        &self,
        gcra: &Gcra,
        now: Instant,
        cost: u64,
        wait_max: u64,
    ) -> Result<Option<Claim>, Rejected> {
        if !gcra.decides(cost) {
            let decision = Decision::beyond(cost, self.peek(gcra, now));
            return decision.into_result(gcra, cost).map(|_| None);
        }
        let wait_max = gcra.units(wait_max);
        let claim = until_some(|| self.try_reserve(gcra, self.stamp(), now, cost, wait_max));
        let refused = |ahead| Rejected::exceeded(Status::new(*gcra, ahead), cost);
        claim.map(Some).map_err(refused)
    }

    /// Gives back what was claimed, if nobody took anything behind it. Tells whether it did.
    pub(crate) fn cancel(&self, gcra: &Gcra, now: Instant, claim: &Claim) -> bool {
        until_some(|| self.try_cancel(gcra, self.stamp(), now, claim))
    }

    /// Gives back up to `cost`, but nothing before the last slot that someone waits for. Tells how
    /// much that was.
    pub(crate) fn refund(&self, gcra: &Gcra, now: Instant, cost: u64) -> u64 {
        until_some(|| self.try_refund(gcra, self.stamp(), now, cost))
    }

    /// Takes `cost` whatever is left, into debt. Returns how far the bucket is from full then.
    pub(crate) fn force(&self, gcra: &Gcra, now: Instant, cost: u64) -> u64 {
        until_some(|| self.try_force(gcra, self.stamp(), now, cost))
    }
}

#[inline]
fn until_some<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(done) = attempt() {
            return done;
        }
    }
}
