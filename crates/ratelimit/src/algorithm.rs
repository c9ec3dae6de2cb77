//! What every algorithm answers, as a pure function of state, time and cost.

use stanchion_core::Instant;

use crate::{Inherit, Rejected, Status};

/// One way to limit. The value that a user builds is the algorithm; the state is what one stream,
/// or one key, has used.
///
/// Whoever holds the state lets time pass with [`advance`](Self::advance) first, and then asks and
/// takes at that same moment. A clock that went back is no matter: what has expired stays so,
/// and nothing is admitted twice.
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

    /// Whether `cost`, which is not 0, fits now: whether [`slot`](Self::slot) tells no later moment.
    #[inline]
    fn fits(&self, state: &Self::State, now: Instant, cost: u64) -> bool {
        self.slot(state, now, cost).is_some_and(|slot| slot <= now)
    }

    /// Nanoseconds until `cost` fits, if it ever does.
    #[inline]
    fn wait(&self, state: &Self::State, now: Instant, cost: u64) -> Option<u64> {
        if self.fits(state, now, cost) {
            return Some(0);
        }
        let slot = self.slot(state, now, cost)?;
        Some(slot.as_nanos().saturating_sub(now.as_nanos()))
    }

    /// Whether there is room for one more who waits for a later slot, however long.
    fn has_room(&self, _state: &Self::State, _cost: u64) -> bool {
        true
    }

    /// Takes `cost` at the moment that `slot` has just told, or by force at any. Returns what
    /// [`give_back`](Self::give_back) needs to undo it.
    fn take(&self, state: &mut Self::State, slot: Instant, cost: u64) -> u64;

    /// Undoes the last `take`, which returned `taken`.
    fn give_back(&self, state: &mut Self::State, taken: u64);

    /// Gives back up to `cost` of what was taken up to `now`, the newest first, and nothing behind
    /// which someone waits for a later slot. Returns how much that was.
    fn refund(&self, state: &mut Self::State, now: Instant, cost: u64) -> u64;

    /// The most that is ever admitted at once.
    fn limit(&self) -> u64;

    /// What is used at the moment of the last `advance`; above the limit where there is debt.
    fn used(&self, state: &Self::State, now: Instant) -> u64;

    /// Turns the state of `from`, whose `used` it told, into one of this algorithm with `target`
    /// used. Where the two differ, what is added counts as taken now, and what is dropped is the
    /// oldest.
    fn carry(&self, from: &Self, state: &mut Self::State, now: Instant, used: u64, target: u64);

    /// Where the state stands, exact for a request of `cost`.
    fn status(&self, state: &Self::State, now: Instant, cost: u64) -> Status;

    /// Takes `cost` at `now`, or takes nothing and tells that it does not fit.
    #[inline]
    fn try_take(&self, state: &mut Self::State, now: Instant, cost: u64) -> bool {
        self.advance(state, now);
        if cost == 0 {
            return true;
        }
        let fits = self.fits(state, now, cost);
        if fits {
            self.take(state, now, cost);
        }
        fits
    }

    /// Takes `cost` at `now`, or refuses and takes nothing.
    #[inline]
    fn check(&self, state: &mut Self::State, now: Instant, cost: u64) -> Result<Status, Rejected> {
        if self.try_take(state, now, cost) {
            Ok(self.status(state, now, 1))
        } else {
            Err(self.refusal(state, now, cost))
        }
    }

    /// Why `cost`, which does not fit now, does not.
    fn refusal(&self, state: &Self::State, now: Instant, cost: u64) -> Rejected {
        let status = self.status(state, now, cost);
        if cost > self.limit() {
            Rejected::cost_above_burst(status, cost)
        } else {
            Rejected::exceeded(status, cost)
        }
    }

    /// Where the state stands at `now`, exact for a request of `cost`; takes nothing.
    #[inline]
    fn peek(&self, state: &mut Self::State, now: Instant, cost: u64) -> Status {
        self.advance(state, now);
        self.status(state, now, cost)
    }

    /// Takes the first slot for `cost` that lies within `wait_max` nanoseconds of `now`, or refuses
    /// and takes nothing. Returns the slot and what [`give_back`](Self::give_back) needs.
    fn reserve(
        &self,
        state: &mut Self::State,
        now: Instant,
        cost: u64,
        wait_max: u64,
    ) -> Result<(Instant, u64), Rejected> {
        self.advance(state, now);
        if cost == 0 {
            return Ok((now, 0));
        }
        let Some(slot) = self.slot(state, now, cost) else {
            return Err(Rejected::cost_above_burst(
                self.status(state, now, cost),
                cost,
            ));
        };
        let wait = slot.as_nanos().saturating_sub(now.as_nanos());
        if wait > 0 && !Self::RESERVES {
            return Err(Rejected::no_waiting(self.status(state, now, cost), cost));
        }
        if wait > wait_max || (wait > 0 && !self.has_room(state, cost)) {
            return Err(Rejected::exceeded(self.status(state, now, cost), cost));
        }
        Ok((slot, self.take(state, slot, cost)))
    }

    /// Makes the state one of `self`, where it was one of `from`.
    fn inherit(&self, from: &Self, state: &mut Self::State, now: Instant, inherit: Inherit) {
        from.advance(state, now);
        let used = from.used(state, now);
        let target = inherit.used(used, from.limit(), self.limit());
        self.carry(from, state, now, used, target);
    }
}
