//! What every algorithm answers, as a pure function of state, time and cost.

use stanchion_core::Instant;

use crate::{Rejected, Status};

/// One way to limit. The value that a user builds is the algorithm; the state is what one stream,
/// or one key, has used.
///
/// Whoever holds the state lets time pass with [`advance`](Self::advance) first, and then asks and
/// takes at that same moment. A clock that went back is no matter: what has expired stays so,
/// and nothing is admitted twice.
#[allow(dead_code, reason = "a keyed store asks for all of it")]
pub(crate) trait Algorithm: Copy + Send + Sync + 'static {
    /// What one stream, or one key, has used.
    type State: Send + 'static;

    /// Whether [`take`](Self::take) may take a slot that lies in the future, for who waits for it.
    const RESERVES: bool;

    /// Nothing used.
    fn idle(&self) -> Self::State;

    /// Lets time pass until `now`: forgets what has expired.
    fn advance(&self, state: &mut Self::State, now: Instant);

    /// The first moment at which `cost` fits, if nothing else is taken: `now` if it does now,
    /// `None` if it never will. `cost` is not 0.
    fn slot(&self, state: &Self::State, now: Instant, cost: u64) -> Option<Instant>;

    /// Takes `cost` at the moment that `slot` has just told.
    fn take(&self, state: &mut Self::State, slot: Instant, cost: u64);

    /// Where the state stands, exact for a request of `cost`.
    fn status(&self, state: &Self::State, now: Instant, cost: u64) -> Status;

    /// Whether the state, which need not have been advanced, says nothing at `now` that
    /// [`idle`](Self::idle) does not.
    fn is_idle(&self, state: &Self::State, now: Instant) -> bool;

    /// Takes `cost` at `now`, or refuses and takes nothing.
    #[inline]
    fn check(&self, state: &mut Self::State, now: Instant, cost: u64) -> Result<Status, Rejected> {
        self.advance(state, now);
        if cost > 0 {
            match self.slot(state, now, cost) {
                Some(slot) if slot <= now => self.take(state, slot, cost),
                Some(_) => return Err(Rejected::exceeded(self.status(state, now, cost), cost)),
                None => {
                    let status = self.status(state, now, cost);
                    return Err(Rejected::cost_above_burst(status, cost));
                }
            }
        }
        Ok(self.status(state, now, 1))
    }

    /// Where the state stands at `now`, exact for a request of `cost`; takes nothing.
    #[inline]
    fn peek(&self, state: &mut Self::State, now: Instant, cost: u64) -> Status {
        self.advance(state, now);
        self.status(state, now, cost)
    }
}
