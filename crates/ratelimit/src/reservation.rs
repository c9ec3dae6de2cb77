use std::fmt;
use std::time::Duration;

use stanchion_core::{Clock, Instant};

use crate::holder::{Claim, Holder};
use crate::{RateLimiter, Rejected};

/// A slot of a limiter, or of one key of a keyed one, that is held for the caller; from
/// [`RateLimiter::reserve`] or [`KeyedRateLimiter::reserve`](crate::KeyedRateLimiter::reserve).
///
/// What it costs is taken. Wait until [`ready_at`](Self::ready_at), do the work, and
/// [`commit`](Self::commit). Dropped before that it is given back, as far as nobody stands behind
/// it: what others were admitted for, or promised, after it keeps its moment, and then the slot
/// stays used. (Giving it back would let two meet in one slot.)
#[must_use = "a reservation that is dropped is given back"]
pub struct Reservation {
    holder: Holder,
    ready_at: Instant,
    cost: u64,
    claim: Option<Claim>,
}

impl Reservation {
    /// Takes the next slot, or tells the observer that it is refused.
    pub(crate) fn of(holder: Holder, cost: u64, wait_max: Duration) -> Result<Self, Rejected> {
        let claimed = holder.claim(cost, wait_max);
        let (ready_at, claim) = claimed.map_err(|rejected| holder.refuse(rejected))?;
        Ok(Self::new(holder, ready_at, cost, claim))
    }

    pub(crate) fn new(holder: Holder, ready_at: Instant, cost: u64, claim: Option<Claim>) -> Self {
        Self {
            holder,
            ready_at,
            cost,
            claim,
        }
    }

    /// The moment of the slot, on the limiter's clock; not after now if there is nothing to wait
    /// for.
    #[must_use]
    pub fn ready_at(&self) -> Instant {
        self.ready_at
    }

    /// How long until the slot; zero if it is there.
    #[must_use]
    pub fn ready_in(&self) -> Duration {
        self.ready_at - self.holder.clock().now()
    }

    /// What was taken.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// The clock that tells when the slot is there.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.holder.clock()
    }

    /// Uses the slot: nothing is given back any more.
    pub fn commit(mut self) {
        self.claim = None;
    }

    /// Gives the slot back. Tells whether it could: not if someone took anything behind it, or the
    /// quota was changed since.
    #[expect(clippy::must_use_candidate, reason = "mostly done for the effect")]
    pub fn cancel(mut self) -> bool {
        self.give_back()
    }

    fn give_back(&mut self) -> bool {
        match self.claim.take() {
            Some(claim) => self.holder.cancel(&claim),
            None => self.cost == 0,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("ready_at", &self.ready_at)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl RateLimiter {
    /// Takes the next free slot for a request of this cost, if it lies no further than `wait_max`
    /// from now: the caller waits for it.
    ///
    /// Slots are granted in the order of the calls, and nobody overtakes: while one is held for
    /// later, a check is refused. So no more than what the policy brings in `wait_max` can be
    /// waiting. A cost of 0 is always ready and takes nothing.
    ///
    /// # Errors
    ///
    /// [`Rejected`], and nothing was taken: where the slot would lie too late or the queue is full
    /// ([`Reason::Exceeded`](crate::Reason::Exceeded)); where the cost will never fit
    /// ([`Reason::CostAboveBurst`](crate::Reason::CostAboveBurst)); and on a sliding counter or a
    /// strict window where it does not fit now
    /// ([`Reason::NoWaiting`](crate::Reason::NoWaiting)).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use stanchion_core::Clock;
    /// use stanchion_ratelimit::{Quota, RateLimiter};
    ///
    /// let (clock, time) = Clock::manual();
    /// let limiter = RateLimiter::new("10/s burst 1".parse::<Quota>()?).with_clock(clock);
    /// limiter.check()?;
    ///
    /// let slot = limiter.reserve(1, Duration::from_secs(1))?;
    /// assert_eq!(slot.ready_in(), Duration::from_millis(100));
    /// // A slot that would come too late is refused at once.
    /// assert!(limiter.reserve(1, Duration::from_millis(199)).is_err());
    ///
    /// time.advance(slot.ready_in());
    /// slot.commit();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&self, cost: u64, wait_max: Duration) -> Result<Reservation, Rejected> {
        Reservation::of(Holder::One(self.clone()), cost, wait_max)
    }
}
