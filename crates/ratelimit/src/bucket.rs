//! A bucket whose quota can be changed while it is in use.

use parking_lot::Mutex;
use stanchion_core::Instant;

use crate::cell::{Cell, Claim};
use crate::gcra::{DEBT_MAX, Decision, Gcra};
use crate::status::Detour;
use crate::sync::{AtomicU64, Ordering};
use crate::{Inherit, LeakyBucket, Policy, Quota, Rejected, Status};

/// One bucket, and the quota that it is limited by.
///
/// The quota is read without a lock: the cell's stamp is read before, and again after the word. So
/// every decision is made by one whole quota, on a word that counts in its units.
#[derive(Debug)]
pub(crate) struct Bucket {
    cell: Cell,
    /// [`Gcra::to_words`], the furthest that who waits may be ahead of now, in units, and the
    /// highest cost that can be waited for. Written only while the cell's stamp says so.
    quota: [AtomicU64; 7],
    /// The quota as it was given; who changes it holds the lock.
    policy: Mutex<Policy>,
}

/// A quota in the terms of the algorithm, with what waiting adds to it.
#[derive(Clone, Copy, Debug)]
struct Terms {
    gcra: Gcra,
    wait_max: u64,
    cost_max: u64,
}

impl Terms {
    fn of_tokens(quota: &Quota) -> Self {
        Self {
            gcra: Gcra::new(quota),
            wait_max: DEBT_MAX,
            cost_max: quota.burst(),
        }
    }

    fn leaky(bucket: &LeakyBucket) -> Self {
        Self {
            gcra: Gcra::leaky(bucket),
            wait_max: bucket.queue().saturating_mul(bucket.outflow().step()),
            cost_max: bucket.queue().saturating_add(1),
        }
    }

    fn to_words(self) -> [u64; 7] {
        let [scale, shift, step, tolerance, burst] = self.gcra.to_words();
        let (wait_max, cost_max) = (self.wait_max, self.cost_max);
        [scale, shift, step, tolerance, burst, wait_max, cost_max]
    }
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn of_tokens(quota: Quota) -> Self {
        Self::new(quota.into(), Terms::of_tokens(&quota))
    }

    /// A bucket that lets one out now.
    pub(crate) fn leaky(bucket: LeakyBucket) -> Self {
        Self::new(bucket.into(), Terms::leaky(&bucket))
    }

    fn new(policy: Policy, terms: Terms) -> Self {
        Self {
            cell: Cell::new(),
            quota: terms.to_words().map(AtomicU64::new),
            policy: Mutex::new(policy),
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        *self.policy.lock()
    }

    /// Admits `cost` at `now`, or refuses it.
    ///
    /// The common case is one piece without a loop or a call, so that it is compiled into the caller,
    /// all of it is kept in registers, and the result, which is wide, is made in its place: to copy
    /// it once costs as much as the whole decision.
    #[inline]
    pub(crate) fn check(&self, now: Instant, cost: u64) -> Result<Status, Rejected> {
        let stamp = self.cell.last_stamp();
        let gcra = self.gcra_at(stamp);
        match self.cell.check_once(&gcra, stamp, now, cost) {
            Some((true, ahead)) => Ok(Status::new(gcra, ahead)),
            Some((false, ahead)) => Err(Rejected::exceeded(Status::new(gcra, ahead), cost)),
            None => self.check_again(now, cost).result(),
        }
    }

    /// The turn of an era, a cost of 0 or above the burst, others who changed the bucket meanwhile.
    #[cold]
    #[inline(never)]
    fn check_again(&self, now: Instant, cost: u64) -> Detour {
        loop {
            let (gcra, stamp) = self.gcra();
            if let Some(decision) = self.cell.try_check(&gcra, stamp, now, cost) {
                return decision.into_result(&gcra, cost).into();
            }
        }
    }

    pub(crate) fn peek(&self, now: Instant) -> Status {
        self.settled(|terms, stamp| {
            let ahead = self.cell.try_peek(&terms.gcra, stamp, now)?;
            Some(Status::new(terms.gcra, ahead))
        })
    }

    /// The next slot for `cost` that lies within `wait_max` nanoseconds of now.
    pub(crate) fn reserve(
        &self,
        now: Instant,
        cost: u64,
        wait_max: u64,
    ) -> Result<Option<Claim>, Rejected> {
        self.settled(
            |Terms {
                 gcra,
                 wait_max: queue,
                 cost_max,
             },
             stamp| {
                if cost == 0 || cost > cost_max {
                    let ahead = self.cell.try_peek(&gcra, stamp, now)?;
                    let decision = Decision::beyond(cost, ahead);
                    return Some(decision.into_result(&gcra, cost).map(|_| None));
                }
                let wait_max = gcra.units(wait_max).min(queue);
                let claim = self.cell.try_reserve(&gcra, stamp, now, cost, wait_max)?;
                let refused = |ahead| Rejected::exceeded(Status::new(gcra, ahead), cost);
                Some(claim.map(Some).map_err(refused))
            },
        )
    }

    pub(crate) fn cancel(&self, now: Instant, claim: &Claim) -> bool {
        self.settled(|terms, stamp| self.cell.try_cancel(&terms.gcra, stamp, now, claim))
    }

    pub(crate) fn refund(&self, now: Instant, cost: u64) -> u64 {
        self.settled(|terms, stamp| self.cell.try_refund(&terms.gcra, stamp, now, cost))
    }

    pub(crate) fn force(&self, now: Instant, cost: u64) -> Status {
        self.settled(|terms, stamp| {
            let ahead = self.cell.try_force(&terms.gcra, stamp, now, cost)?;
            Some(Status::new(terms.gcra, ahead))
        })
    }

    /// Limits by `policy` from now on; `false`, and nothing changed, if it is another algorithm.
    pub(crate) fn set_policy(&self, policy: Policy, now: Instant, inherit: Inherit) -> bool {
        // Held while the cell changes: one caller at a time.
        let mut current = self.policy.lock();
        let terms = match (&*current, &policy) {
            (Policy::TokenBucket(_), Policy::TokenBucket(quota)) => Terms::of_tokens(quota),
            (Policy::LeakyBucket(_), Policy::LeakyBucket(bucket)) => Terms::leaky(bucket),
            _ => return false,
        };
        let old = self.gcra().0;
        let new = terms.gcra.after(&old);
        self.cell.change_quota(&old, &new, now, inherit, || {
            for (word, value) in self.quota.iter().zip(terms.to_words()) {
                word.store(value, Ordering::Relaxed);
            }
        });
        *current = policy;
        true
    }

    /// The quota as it was at a stamp. It is whole only if the stamp still stands after the word
    /// was read, which the cell sees to.
    #[inline]
    fn gcra(&self) -> (Gcra, u64) {
        let stamp = self.cell.stamp();
        (self.gcra_at(stamp), stamp)
    }

    #[inline]
    fn gcra_at(&self, stamp: u64) -> Gcra {
        let word = |place: usize| self.quota[place].load(Ordering::Relaxed);
        let words = [word(0), word(1), word(2), word(3), word(4)];
        Gcra::from_words(words, stamp)
    }

    /// Runs `attempt` until it has met a quota that stood still.
    fn settled<T>(&self, mut attempt: impl FnMut(Terms, u64) -> Option<T>) -> T {
        loop {
            let (gcra, stamp) = self.gcra();
            let terms = Terms {
                gcra,
                wait_max: self.quota[5].load(Ordering::Relaxed),
                cost_max: self.quota[6].load(Ordering::Relaxed),
            };
            if let Some(done) = attempt(terms, stamp) {
                return done;
            }
        }
    }
}

#[cfg(all(test, stanchion_loom))]
mod loom;
