//! Leases: permits taken from a bucket in advance, so that threads need not meet at its word.
//!
//! A limiter keeps a few *stripes*, each on cache lines of its own, and a thread has one of them by
//! its number. A request is paid from the thread's stripe, without a look at the clock or the
//! bucket; only an empty stripe is filled from the bucket, by as many permits as a lease has or as
//! the bucket can spare.
//!
//! ```text
//! stripe holds the cost:  take it
//! bucket holds the cost:  take up to a lease from the bucket, keep what is left of it
//! another stripe does:    take it there
//! else:                   refuse
//! ```
//!
//! A permit may lie in a stripe while the bucket behind it refills. So that both together never
//! hold more than the burst, what all stripes can hold is set aside from it: the bucket has a
//! smaller one. What is admitted in a stretch of time was taken from the bucket within it, or lay
//! in the stripes at its start.

use std::error::Error;
use std::fmt;
use std::thread;

use stanchion_core::Clock;

use crate::cell::Cell;
use crate::gcra::{Decision, Gcra};
use crate::sync::{AtomicU64, Ordering};
use crate::{Policy, Quota};

/// The most stripes of one limiter.
const STRIPES_MAX: u64 = 64;
/// A thread is filling the stripe.
const RENEWING: u64 = 1 << 63;

/// The stripes of one limiter.
#[derive(Debug)]
pub(crate) struct Leases {
    permits: u64,
    /// A power of two of them.
    stripes: Box<[Stripe]>,
}

/// Permits that one thread spends; two cache lines, since processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe {
    /// | bits | meaning |
    /// |---|---|
    /// | 63 | a thread is filling the stripe |
    /// | 62–0 | permits, at most one lease |
    word: AtomicU64,
    /// How far the bucket was from full when the stripe was last filled.
    ahead: AtomicU64,
}

impl Leases {
    /// The quota of a policy that can be leased from, full stripes, and the quota that is left for
    /// the bucket.
    pub(crate) fn new(policy: Policy, permits: u64) -> Result<(Quota, Self, Quota), InvalidLease> {
        let Policy::TokenBucket(quota) = policy else {
            return Err(InvalidLease {
                permits,
                of: Of::Another(policy.algorithm()),
            });
        };
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let (leases, rest) = Self::striped(quota, permits, processors as u64)?;
        Ok((quota, leases, rest))
    }

    /// For so many processors: as many stripes, but no more than take half of the burst.
    fn striped(quota: Quota, permits: u64, processors: u64) -> Result<(Self, Quota), InvalidLease> {
        let burst = quota.burst();
        let room = burst.checked_div(permits.saturating_mul(2)).unwrap_or(0);
        let invalid = InvalidLease {
            permits,
            of: Of::Burst(burst),
        };
        if permits < 2 || room == 0 {
            return Err(invalid);
        }
        let most = processors.next_power_of_two().min(STRIPES_MAX);
        let stripes = most.min(1 << room.ilog2());
        let rest = quota
            .with_burst(burst - permits * stripes)
            .map_err(|_| invalid)?;
        let leases = Self {
            permits,
            stripes: (0..stripes).map(|_| Stripe::new(permits)).collect(),
        };
        Ok((leases, rest))
    }

    /// The permits of one lease.
    #[cfg(feature = "tower")]
    pub(crate) fn permits(&self) -> u64 {
        self.permits
    }

    /// Takes `cost` from the stripe of the thread with this number, from the bucket, or from
    /// another stripe; or refuses.
    #[inline]
    pub(crate) fn check(
        &self,
        thread: usize,
        cell: &Cell,
        gcra: &Gcra,
        clock: &Clock,
        cost: u64,
    ) -> Decision {
        if !gcra.decides(cost) {
            return Decision::beyond(cost, cell.peek(gcra, clock.now()));
        }
        let own = thread & (self.stripes.len() - 1);
        let stripe = &self.stripes[own];
        if stripe.spend(cost) {
            return stripe.admitted();
        }
        self.check_beyond(own, cell, gcra, clock, cost)
    }

    #[cold]
    fn check_beyond(
        &self,
        own: usize,
        cell: &Cell,
        gcra: &Gcra,
        clock: &Clock,
        cost: u64,
    ) -> Decision {
        let decision = self.renew(&self.stripes[own], cell, gcra, clock, cost);
        if decision.is_admitted() {
            return decision;
        }
        let (before, after) = self.stripes.split_at(own);
        match after.iter().chain(before).find(|other| other.spend(cost)) {
            Some(other) => other.admitted(),
            None => decision,
        }
    }

    /// Takes `cost` from the bucket, with as much more for the stripe as a lease and the bucket
    /// have room for.
    fn renew(
        &self,
        stripe: &Stripe,
        cell: &Cell,
        gcra: &Gcra,
        clock: &Clock,
        cost: u64,
    ) -> Decision {
        let now = clock.now();
        let ahead = cell.peek(gcra, now);
        // A refusal writes nothing, not even to the stripe.
        if gcra.remaining(ahead) < cost {
            return Decision::exceeded(ahead);
        }
        match stripe.begin_renewal() {
            Some(left) => {
                let most = self.permits.saturating_sub(left).max(cost);
                let (decision, taken) = cell.take(gcra, now, cost..=most);
                stripe.end_renewal(taken.saturating_sub(cost), decision.ahead);
                decision
            }
            None => cell.check(gcra, now, cost),
        }
    }

    /// Permits that lie in the stripes.
    pub(crate) fn held(&self) -> u64 {
        self.stripes.iter().map(Stripe::left).sum()
    }
}

// Relaxed throughout: a permit is a number, and nothing else is published with it.
impl Stripe {
    fn new(permits: u64) -> Self {
        Self {
            word: AtomicU64::new(permits),
            ahead: AtomicU64::new(0),
        }
    }

    #[inline]
    fn left(&self) -> u64 {
        self.word.load(Ordering::Relaxed) & !RENEWING
    }

    #[inline]
    fn spend(&self, cost: u64) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & !RENEWING >= cost {
            match self.word.compare_exchange_weak(
                word,
                word - cost,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(seen) => word = seen,
            }
        }
        false
    }

    #[inline]
    fn admitted(&self) -> Decision {
        Decision::admitted(self.ahead.load(Ordering::Relaxed))
    }

    /// Claims the filling of the stripe, and tells what it still holds; `None` if another thread
    /// is at it.
    fn begin_renewal(&self) -> Option<u64> {
        let word = self.word.fetch_or(RENEWING, Ordering::Relaxed);
        (word & RENEWING == 0).then_some(word)
    }

    fn end_renewal(&self, permits: u64, ahead: u64) {
        self.ahead.store(ahead, Ordering::Relaxed);
        // Meanwhile permits may have been spent, but none came: this thread alone adds them.
        self.word
            .fetch_add(permits.wrapping_sub(RENEWING), Ordering::Relaxed);
    }
}

/// The number of this thread among those of the process that use a lease.
#[cfg(not(stanchion_loom))]
#[inline]
pub(crate) fn thread_number() -> usize {
    use std::sync::atomic::AtomicUsize;

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // While a thread's locals are being dropped, any stripe will do.
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

#[cfg(stanchion_loom)]
pub(crate) fn thread_number() -> usize {
    0
}

/// A lease that a policy has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLease {
    permits: u64,
    of: Of,
}

/// What a lease is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Burst(u64),
    Another(&'static str),
}

impl fmt::Display for InvalidLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let permits = self.permits;
        match self.of {
            Of::Burst(burst @ ..4) => write!(
                f,
                "lease is {permits}, and a burst of {burst} is too small for any: it must be at least 4"
            ),
            Of::Burst(burst) => write!(
                f,
                "lease is {permits}, must be from 2 to {}, half of the burst",
                burst / 2
            ),
            Of::Another(algorithm) => write!(
                f,
                "lease is {permits}, and a {algorithm} has none: the policy must be a token-bucket"
            ),
        }
    }
}

impl Error for InvalidLease {}

#[cfg(all(test, stanchion_loom))]
mod loom;

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quota(burst: u64) -> Quota {
        let quota = Quota::new(1, Duration::from_secs(1)).and_then(|quota| quota.with_burst(burst));
        quota.expect("a valid quota")
    }

    #[test]
    fn stripes_take_at_most_half_of_the_burst() {
        for (burst, permits, processors, stripes) in [
            (1_000, 10, 1, 1),
            (1_000, 10, 2, 2),
            (1_000, 10, 3, 4),
            (1_000, 10, 64, 32),
            (1_000, 7, 200, 64),
            (4, 2, 8, 1),
            (1_000_000, 2, 8, 8),
        ] {
            let (leases, rest) = Leases::striped(quota(burst), permits, processors).unwrap();
            assert_eq!(leases.stripes.len() as u64, stripes, "burst {burst}");
            assert_eq!(leases.held(), permits * stripes);
            assert_eq!(rest.burst() + leases.held(), burst);
        }
    }

    #[test]
    fn a_lease_that_makes_no_sense_is_refused_with_what_is_allowed() {
        for (burst, permits, allowed) in [
            (100, 0, "from 2 to 50"),
            (100, 1, "from 2 to 50"),
            (100, 51, "from 2 to 50"),
            (100, u64::MAX, "from 2 to 50"),
            (3, 2, "at least 4"),
        ] {
            let error = Leases::striped(quota(burst), permits, 2).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("lease is {permits}")), "{text}");
            assert!(text.contains(allowed), "{text}");
        }
    }

    /// One thread's stripe, then the bucket by whole leases, then the other stripes.
    #[test]
    fn permits_come_from_the_stripe_then_the_bucket_then_other_stripes() {
        let (leases, rest) = Leases::striped(quota(20), 4, 2).unwrap();
        let (cell, gcra) = (Cell::new(), Gcra::new(&rest));
        let (clock, time) = Clock::manual();
        let left = || {
            let stripes: Vec<_> = leases.stripes.iter().map(Stripe::left).collect();
            (
                stripes[0],
                stripes[1],
                gcra.remaining(cell.peek(&gcra, time.now())),
            )
        };
        let check = |cost| leases.check(2, &cell, &gcra, &clock, cost).is_admitted();
        assert_eq!(left(), (4, 4, 12));
        assert!(check(3));
        assert_eq!(left(), (1, 4, 12));
        // Whole from one place: the stripe's last one waits for a smaller cost.
        assert!(check(2));
        assert_eq!(left(), (2, 4, 9));
        assert!(check(8));
        assert_eq!(left(), (2, 4, 1));
        assert!(check(1) && check(1) && check(1));
        assert_eq!(left(), (0, 4, 0));
        assert!(check(3));
        assert!(!check(2));
        assert!(check(1));
        assert!(!check(1));
        assert_eq!(left(), (0, 0, 0));
        time.advance(Duration::from_secs(6));
        assert!(check(1));
        assert_eq!(left(), (3, 0, 2));
    }
}
