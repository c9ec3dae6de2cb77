//! What is done to one key besides checks: slots for later, refunds, debts.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::{Clock, Instant, Observe};

use super::keys::Keys;
use super::shared::Shared;
use super::table::{self, Patience};
use super::{Place, WhenFull, states};
use crate::gcra::{DEBT_MAX, Decision, Gcra};
use crate::holder::Holder;
#[cfg(feature = "tokio")]
use crate::jitter::Jitter;
use crate::token_bucket::TokenBucket;
use crate::{Event, KeyedRateLimiter, Policy, Rejected, Reservation, Status};

/// One key of a limiter, to hold slots of: it borrows nothing, and needs the key no more.
#[derive(Clone)]
pub(crate) struct OfKey {
    slots: Arc<dyn Slots>,
    key: Key,
    clock: Clock,
    observer: Option<Arc<dyn Observe<Event> + Send + Sync>>,
    #[cfg(feature = "tokio")]
    jitter: Option<Arc<Jitter>>,
}

/// What is left of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    hash: u64,
    /// Its quota, where it has one of its own.
    own: Option<TokenBucket>,
    when_full: WhenFull,
}

/// A slot of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim {
    InTable(table::Claim),
    InStates(states::Claim),
}

/// The states of a keyed limiter, whatever its keys are.
trait Slots: Send + Sync {
    fn reserve(
        &self,
        key: &Key,
        now: Instant,
        cost: u64,
        wait_max: u64,
    ) -> (Result<(Instant, Option<Claim>), Rejected>, Place);
    fn cancel(&self, key: &Key, now: Instant, claim: &Claim) -> bool;
    fn refund(&self, key: &Key, now: Instant, cost: u64) -> u64;
    fn force(&self, key: &Key, now: Instant, cost: u64) -> (Status, Place);
    #[cfg(feature = "tokio")]
    fn peek(&self, key: &Key, now: Instant) -> Status;
    fn count(&self, place: Place) -> Option<Event>;
}

impl<K: ?Sized> Slots for Shared<K> {
    fn reserve(
        &self,
        key: &Key,
        now: Instant,
        cost: u64,
        wait_max: u64,
    ) -> (Result<(Instant, Option<Claim>), Rejected>, Place) {
        if cost == 0 {
            return (Ok((now, None)), Place::Own);
        }
        let in_states = |(reserved, place): states::Placed<(Instant, states::Claim)>| {
            let claimed = reserved.map(|(slot, claim)| (slot, Some(Claim::InStates(claim))));
            (claimed, place)
        };
        let patience = (cost, wait_max);
        match &self.keys {
            Keys::Buckets {
                policy,
                gcra,
                table,
            } => {
                let (cost_max, queue) = queue_of(policy);
                if cost > cost_max {
                    let decision = Decision::beyond(cost, table.peek(gcra, key.hash, now));
                    let refused = decision.into_result(gcra, cost);
                    return (refused.map(|_| (now, None)), Place::Own);
                }
                let patience = Patience {
                    wait_max: gcra.units(wait_max).min(queue),
                    when_full: key.when_full,
                };
                let (reserved, place) = table.reserve(gcra, key.hash, now, cost, patience);
                let refused = |ahead| refused(gcra, ahead, cost, place);
                let claimed = reserved.map(|(slot, claim)| (slot, Some(Claim::InTable(claim))));
                (claimed.map_err(refused), place)
            }
            Keys::Uniform(uniform) => {
                in_states(uniform.reserve(key.hash, now, patience, key.when_full))
            }
            Keys::PerKey { common, states, .. } => {
                let (own, common) = key.under(TokenBucket::new(*common));
                let algorithms = (&own, &common);
                in_states(states.reserve(algorithms, key.hash, now, patience, key.when_full))
            }
        }
    }

    fn cancel(&self, key: &Key, now: Instant, claim: &Claim) -> bool {
        match (&self.keys, claim) {
            (Keys::Buckets { gcra, table, .. }, Claim::InTable(claim)) => {
                table.cancel(gcra, key.hash, now, claim)
            }
            (Keys::Uniform(uniform), Claim::InStates(claim)) => {
                uniform.cancel(key.hash, now, claim)
            }
            (Keys::PerKey { common, states, .. }, Claim::InStates(claim)) => {
                let (own, _) = key.under(TokenBucket::new(*common));
                states.cancel(&own, key.hash, now, claim)
            }
            _ => false,
        }
    }

    fn refund(&self, key: &Key, now: Instant, cost: u64) -> u64 {
        match &self.keys {
            Keys::Buckets { gcra, table, .. } => table.refund(gcra, key.hash, now, cost),
            Keys::Uniform(uniform) => uniform.refund(key.hash, now, cost),
            Keys::PerKey { common, states, .. } => {
                let (own, _) = key.under(TokenBucket::new(*common));
                states.refund(&own, key.hash, now, cost)
            }
        }
    }

    fn force(&self, key: &Key, now: Instant, cost: u64) -> (Status, Place) {
        match &self.keys {
            Keys::Buckets { gcra, table, .. } => {
                let (ahead, place) = table.force(gcra, key.hash, now, cost, key.when_full);
                (Status::new(*gcra, ahead), place)
            }
            Keys::Uniform(uniform) => uniform.force(key.hash, now, cost, key.when_full),
            Keys::PerKey { common, states, .. } => {
                let (own, common) = key.under(TokenBucket::new(*common));
                states.force((&own, &common), key.hash, now, cost, key.when_full)
            }
        }
    }

    #[cfg(feature = "tokio")]
    fn peek(&self, key: &Key, now: Instant) -> Status {
        match &self.keys {
            Keys::Buckets { gcra, table, .. } => {
                Status::new(*gcra, table.peek(gcra, key.hash, now))
            }
            Keys::Uniform(uniform) => uniform.peek(key.hash, now),
            Keys::PerKey { common, states, .. } => {
                let (own, _) = key.under(TokenBucket::new(*common));
                states.peek(&own, key.hash, now)
            }
        }
    }

    fn count(&self, place: Place) -> Option<Event> {
        self.count(place)
    }
}

/// The highest cost that can be waited for, and the longest wait in units.
fn queue_of(policy: &Policy) -> (u64, u64) {
    match policy {
        Policy::LeakyBucket(bucket) => {
            let queue = bucket.queue().saturating_mul(bucket.outflow().step());
            (bucket.queue().saturating_add(1), queue)
        }
        other => (other.limit(), DEBT_MAX),
    }
}

fn refused(gcra: &Gcra, ahead: u64, cost: u64, place: Place) -> Rejected {
    if place == Place::Denied {
        return Rejected::no_room(gcra.burst(), gcra.nanos(ahead), cost);
    }
    Rejected::exceeded(Status::new(*gcra, ahead), cost)
}

impl Key {
    /// Its own quota and the common one.
    fn under(&self, common: TokenBucket) -> (TokenBucket, TokenBucket) {
        (self.own.unwrap_or(common), common)
    }
}

impl OfKey {
    pub(crate) fn claim(
        &self,
        cost: u64,
        wait_max: Duration,
    ) -> Result<(Instant, Option<Claim>), Rejected> {
        let wait_max = u64::try_from(wait_max.as_nanos()).unwrap_or(u64::MAX);
        let now = self.clock.now();
        let (claimed, place) = self.slots.reserve(&self.key, now, cost, wait_max);
        self.tell(place);
        claimed
    }

    pub(crate) fn cancel(&self, claim: &Claim) -> bool {
        self.slots.cancel(&self.key, self.clock.now(), claim)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn peek(&self) -> Status {
        self.slots.peek(&self.key, self.clock.now())
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn jittered(&self, slot: Instant, deadline: Instant) -> Instant {
        Jitter::after(self.jitter.as_ref(), &self.clock, slot, deadline)
    }

    pub(crate) fn observe(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }

    fn tell(&self, place: Place) {
        if let Some(event) = self.slots.count(place) {
            self.observe(&event);
        }
    }
}

impl<K: ?Sized + Hash + 'static> KeyedRateLimiter<K> {
    /// Takes the next free slot of `key` for this cost, if it lies no further than `wait_max` from
    /// now: the caller waits for it. See [`RateLimiter::reserve`](crate::RateLimiter::reserve).
    ///
    /// # Errors
    ///
    /// [`Rejected`], and nothing was taken: where the slot would lie too late, the queue is full, the
    /// cost will never fit, or the algorithm lets nobody wait; and where there is no room for one key
    /// more ([`WhenFull::Deny`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use stanchion_core::Clock;
    /// use stanchion_ratelimit::{KeyedRateLimiter, Quota};
    ///
    /// let (clock, _time) = Clock::manual();
    /// let quota: Quota = "10/s burst 1".parse()?;
    /// let limiter = KeyedRateLimiter::<str>::new(quota, 1_000)?.with_clock(clock);
    /// limiter.check("anna")?;
    /// let slot = limiter.reserve("anna", 1, Duration::from_secs(1))?;
    /// assert_eq!(slot.ready_in(), Duration::from_millis(100));
    /// assert!(limiter.reserve("bela", 1, Duration::ZERO)?.ready_in().is_zero());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&self, key: &K, cost: u64, wait_max: Duration) -> Result<Reservation, Rejected> {
        Reservation::of(Holder::Key(self.of_key(key)), cost, wait_max)
    }

    /// Takes this cost of `key` whatever is left, for work whose cost is known only when it is done;
    /// see [`RateLimiter::force`](crate::RateLimiter::force).
    ///
    /// A key without a place owes in the state that such keys share, even where new keys are denied.
    pub fn force(&self, key: &K, cost: u64) -> Status {
        let key = self.of_key(key);
        let (status, place) = key.slots.force(&key.key, key.clock.now(), cost);
        key.tell(place);
        status
    }

    /// Gives back what `key` took and did not need. Returns how much that was: no more than was
    /// used, and nothing before the last slot that someone waits for.
    ///
    /// A token bucket that owes more than its burst may owe it to who waits, so it gives nothing
    /// back. Neither does a key without a place: what it took from the state that such keys share
    /// stays taken.
    pub fn refund(&self, key: &K, cost: u64) -> u64 {
        let key = self.of_key(key);
        key.slots.refund(&key.key, key.clock.now(), cost)
    }

    pub(crate) fn of_key(&self, key: &K) -> OfKey {
        let own = self.shared.keys.own(key).map(TokenBucket::new);
        self.of_hash(self.shared.key_hash.hash(key), own)
    }

    /// What all requests without a key share.
    #[cfg(feature = "tokio")]
    pub(crate) fn of_no_key(&self) -> OfKey {
        self.of_hash(self.shared.key_hash.hash(&super::NoKey), None)
    }

    fn of_hash(&self, hash: u64, own: Option<TokenBucket>) -> OfKey {
        OfKey {
            slots: self.shared.clone(),
            key: Key {
                hash,
                own,
                when_full: self.when_full,
            },
            clock: self.clock.clone(),
            observer: self.observer.clone(),
            #[cfg(feature = "tokio")]
            jitter: self.jitter.clone(),
        }
    }
}
