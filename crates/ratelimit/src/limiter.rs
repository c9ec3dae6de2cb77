use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::{Clock, Instant, Observe};

use crate::bucket::Bucket;
use crate::cell::{self, Cell};
use crate::gcra::Gcra;
#[cfg(feature = "tokio")]
use crate::jitter::Jitter;
use crate::lease::{self, Leases};
use crate::locked::{self, Locked};
use crate::status::Detour;
use crate::{Event, Inherit, InvalidLease, Policy, Quota, Rejected, Status};

/// Limits the rate of one stream of work by any [`Policy`]; clones share what is used.
///
/// A check of a token bucket takes one clock read and one atomic word; a refusal writes nothing.
/// The other algorithms take a short lock instead of the word. Memory: one allocation of 256 bytes,
/// whatever the traffic, and what the state of another algorithm takes.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_core::Clock;
/// use stanchion_ratelimit::{Quota, RateLimiter};
///
/// let (clock, time) = Clock::manual();
/// let quota = Quota::new(2, Duration::from_secs(1))?;
/// let limiter = RateLimiter::new(quota).with_clock(clock);
///
/// assert_eq!(limiter.check()?.remaining(), 1);
/// assert_eq!(limiter.check()?.remaining(), 0);
/// let refused = limiter.check().unwrap_err();
/// assert_eq!(refused.retry_after(), Some(Duration::from_millis(500)));
///
/// time.advance(Duration::from_millis(500));
/// assert!(limiter.check().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RateLimiter {
    shared: Arc<Shared>,
    clock: Clock,
    observer: Option<Arc<dyn Observe<Event> + Send + Sync>>,
    #[cfg(feature = "tokio")]
    jitter: Option<Arc<Jitter>>,
}

enum Shared {
    Bucket(Bucket),
    Leased(Leased),
    Locked(Locked),
}

/// A bucket with stripes before it; its quota never changes.
struct Leased {
    quota: Quota,
    gcra: Gcra,
    cell: Cell,
    leases: Leases,
}

/// A slot that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim {
    Bucket(cell::Claim),
    Locked(locked::Claim),
}

/// A limiter in plain numbers, to make metrics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The burst, or the limit of a window.
    pub limit: u64,
    /// What would be admitted now, at once.
    pub remaining: u64,
    /// Nanoseconds until the full limit is there again.
    pub reset_after_ns: u64,
    /// Permits that lie leased in the stripes; see [`RateLimiter::with_lease`].
    pub leased: u64,
}

impl RateLimiter {
    /// Limits by this policy (a [`Quota`] is one), with nothing used, on the system's clock.
    #[must_use]
    pub fn new(policy: impl Into<Policy>) -> Self {
        let shared = match policy.into() {
            Policy::TokenBucket(quota) => Shared::Bucket(Bucket::of_tokens(quota)),
            Policy::LeakyBucket(bucket) => Shared::Bucket(Bucket::leaky(bucket)),
            Policy::FixedWindow(window) => Shared::Locked(Locked::new(window)),
            Policy::SlidingWindowCounter(window) => Shared::Locked(Locked::new(window)),
            Policy::SlidingWindowLog(window) => Shared::Locked(Locked::new(window)),
            Policy::StrictWindow(window) => Shared::Locked(Locked::new(window)),
        };
        Self {
            shared: Arc::new(shared),
            clock: Clock::system(),
            observer: None,
            #[cfg(feature = "tokio")]
            jitter: None,
        }
    }

    /// Reads `clock` from now on. Default: [`Clock::system`]. All clones of one limiter must read
    /// the same clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Tells `observer` what happens through this handle and its later clones. Default: nobody.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observe<Event> + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Hands permits to the threads `permits` at a time, so that threads seldom meet at the
    /// bucket's word. Default: each is taken from the bucket when it is needed.
    ///
    /// Starts anew, with a bucket of its own: what was cloned before goes on without leases. The
    /// quota of a limiter with leases cannot be changed.
    ///
    /// Each processor has a stripe that holds up to `permits` (at most 64 stripes, and no more than
    /// hold half of the burst). A check is paid from its thread's stripe; an empty one is filled
    /// from the bucket; and when that is empty, other stripes are asked. What all stripes can hold
    /// is set aside from the burst. So
    ///
    /// - no more is admitted than without leases: in any stretch of time *t* at most
    ///   `burst + t · count / period`, and with steady demand the whole rate;
    /// - after a pause, when the bucket is full but the stripes are empty, as much less than the
    ///   burst can be had at once as the stripes hold: `permits` for each;
    /// - a cost above the burst less that is never admitted, and each cost is taken whole from
    ///   one place, a stripe or the bucket;
    /// - [`Status`] tells where the bucket stood when the stripe was last filled, with the burst
    ///   that is left to it.
    ///
    /// # Errors
    ///
    /// `permits` must be from 2 to half of the burst, and the policy a token bucket: leases would blur
    /// a window.
    ///
    /// # Complexity
    ///
    /// From a stripe, a check swaps one word that other threads seldom touch, and does not read the
    /// clock. 128 bytes for each stripe.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_ratelimit::{Quota, RateLimiter};
    ///
    /// let quota: Quota = "1000000/s burst 100000".parse()?;
    /// let limiter = RateLimiter::new(quota).with_lease(64)?;
    /// assert!(limiter.check().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_lease(self, permits: u64) -> Result<Self, InvalidLease> {
        let (quota, leases, rest) = Leases::new(self.policy(), permits)?;
        Ok(Self {
            shared: Arc::new(Shared::Leased(Leased {
                quota,
                gcra: Gcra::new(&rest),
                cell: Cell::new(),
                leases,
            })),
            ..self
        })
    }

    /// Lengthens each wait of [`acquire`](Self::acquire) by chance, by up to `max` and never beyond
    /// its deadline, so that many who wait do not go in step. Default: nothing. Holds for this
    /// handle and its later clones.
    #[must_use]
    #[cfg(feature = "tokio")]
    pub fn with_jitter(mut self, max: Duration) -> Self {
        self.jitter = Some(Arc::new(Jitter::new(max)));
        self
    }

    #[cfg(feature = "tower")]
    pub(crate) fn with_parts(
        mut self,
        clock: Clock,
        observer: Option<Arc<dyn Observe<Event> + Send + Sync>>,
    ) -> Self {
        self.clock = clock;
        self.observer = observer;
        self
    }

    /// The same limiter with nothing used.
    #[cfg(feature = "tower")]
    pub(crate) fn anew(&self) -> Self {
        let new = Self::new(self.policy());
        let leased = match &*self.shared {
            Shared::Leased(Leased { leases, .. }) => new.clone().with_lease(leases.permits()).ok(),
            Shared::Bucket(_) | Shared::Locked(_) => None,
        };
        Self {
            shared: leased.map_or(new.shared, |leased| leased.shared),
            ..self.clone()
        }
    }

    /// Admits one request, or refuses it.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when the quota is used up; nothing was taken.
    ///
    /// # Complexity
    ///
    /// O(1), no allocation; lock-free for a token bucket.
    #[inline]
    pub fn check(&self) -> Result<Status, Rejected> {
        self.check_n(1)
    }

    /// Admits a request of this cost, whole or not at all. A cost of 0 is always admitted and
    /// takes nothing.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when less than `cost` is left, or `cost` is above the burst and will never
    /// fit; nothing was taken.
    #[inline(always)]
    pub fn check_n(&self, cost: u64) -> Result<Status, Rejected> {
        // The common case alone, so that it is compiled into the caller and its result, which is
        // wide, is made in place.
        match &*self.shared {
            Shared::Bucket(bucket) if self.observer.is_none() => {
                bucket.check(self.clock.now(), cost)
            }
            _ => self.check_by_any(cost).result(),
        }
    }

    #[inline(never)]
    fn check_by_any(&self, cost: u64) -> Detour {
        let decision = self.decide(cost);
        if let (Detour::Refused(rejected), Some(observer)) = (&decision, &self.observer) {
            observer.observe(&Event::Rejected(*rejected));
        }
        decision
    }

    #[inline]
    fn decide(&self, cost: u64) -> Detour {
        match &*self.shared {
            Shared::Bucket(bucket) => bucket.check(self.clock.now(), cost).into(),
            Shared::Leased(Leased {
                gcra, cell, leases, ..
            }) => {
                let thread = lease::thread_number();
                let decision = leases.check(thread, cell, gcra, &self.clock, cost);
                decision.into_result(gcra, cost).into()
            }
            Shared::Locked(locked) => locked.check(self.clock.now(), cost),
        }
    }

    /// Takes this cost whatever is left, for work whose cost is known only when it is done.
    ///
    /// It may lead into debt: then all are refused until it is paid off by time. A bucket owes at
    /// most what 2⁶¹ of its units bring (26 days at the least), a window what is taken; a sliding
    /// log and a strict window forget it with the window that it was taken in, and note of one moment
    /// no more than 2⁴¹ and 2⁵⁹.
    #[expect(clippy::must_use_candidate, reason = "done for the effect")]
    pub fn force(&self, cost: u64) -> Status {
        let now = self.clock.now();
        match &*self.shared {
            Shared::Bucket(bucket) => bucket.force(now, cost),
            Shared::Leased(Leased { gcra, cell, .. }) => {
                Status::new(*gcra, cell.force(gcra, now, cost))
            }
            Shared::Locked(locked) => locked.force(now, cost),
        }
    }

    /// Gives back what was taken and not needed, where an estimate was too high. Returns how much
    /// that was: no more than was used, and nothing before the last slot that someone waits for.
    ///
    /// A window takes it for its newest part: give back soon, or after the turn of a fixed window
    /// it counts for the next.
    #[expect(clippy::must_use_candidate, reason = "done for the effect")]
    pub fn refund(&self, cost: u64) -> u64 {
        let now = self.clock.now();
        match &*self.shared {
            Shared::Bucket(bucket) => bucket.refund(now, cost),
            Shared::Leased(Leased { gcra, cell, .. }) => cell.refund(gcra, now, cost),
            Shared::Locked(locked) => locked.refund(now, cost),
        }
    }

    /// Limits by other numbers from now on; all clones do. `inherit` says what becomes of what is
    /// left and what is used. Each check is decided by the old numbers or the new ones, whole, and
    /// nothing that was taken is lost in between. Slots that were reserved keep their moments, and
    /// can no longer be given back.
    ///
    /// # Errors
    ///
    /// [`OtherAlgorithm`] where `quota` is another algorithm than before, or the limiter has
    /// leases; nothing changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use stanchion_ratelimit::{Inherit, Quota, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(Quota::new(100, Duration::from_secs(60))?);
    /// limiter.check_n(30)?;
    /// limiter.set_quota(Quota::new(200, Duration::from_secs(60))?, Inherit::Proportional)?;
    /// assert_eq!(limiter.peek().remaining(), 140);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_quota(
        &self,
        quota: impl Into<Policy>,
        inherit: Inherit,
    ) -> Result<(), OtherAlgorithm> {
        let (policy, now) = (quota.into(), self.clock.now());
        let (changed, leased) = match &*self.shared {
            Shared::Bucket(bucket) => (bucket.set_policy(policy, now, inherit), false),
            Shared::Leased(_) => (false, true),
            Shared::Locked(locked) => (locked.set_policy(policy, now, inherit), false),
        };
        if changed {
            return Ok(());
        }
        Err(OtherAlgorithm {
            running: self.policy().algorithm(),
            asked: policy.algorithm(),
            leased,
        })
    }

    /// Takes the next slot; see [`reserve`](Self::reserve). A cost of 0 claims nothing, and a refusal
    /// is told to nobody.
    pub(crate) fn claim(
        &self,
        cost: u64,
        wait_max: Duration,
    ) -> Result<(Instant, Option<Claim>), Rejected> {
        let wait_max = u64::try_from(wait_max.as_nanos()).unwrap_or(u64::MAX);
        let now = self.clock.now();
        let in_bucket = |claim: Option<cell::Claim>| {
            let after = claim.map_or(0, |claim| claim.ready_after);
            let slot = now + Duration::from_nanos(after);
            (slot, claim.map(Claim::Bucket))
        };
        match &*self.shared {
            Shared::Bucket(bucket) => bucket.reserve(now, cost, wait_max).map(in_bucket),
            Shared::Leased(Leased { gcra, cell, .. }) => {
                cell.reserve(gcra, now, cost, wait_max).map(in_bucket)
            }
            Shared::Locked(locked) => {
                let claim = locked.reserve(now, cost, wait_max);
                claim.map(|claim| (claim.slot, (cost > 0).then_some(Claim::Locked(claim))))
            }
        }
    }

    pub(crate) fn observe(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }

    /// Gives a slot back, if nobody took anything behind it. Tells whether it did.
    pub(crate) fn cancel(&self, claim: &Claim) -> bool {
        let now = self.clock.now();
        match (&*self.shared, claim) {
            (Shared::Bucket(bucket), Claim::Bucket(claim)) => bucket.cancel(now, claim),
            (Shared::Leased(leased), Claim::Bucket(claim)) => {
                leased.cell.cancel(&leased.gcra, now, claim)
            }
            (Shared::Locked(locked), Claim::Locked(claim)) => locked.cancel(now, claim),
            _ => false,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// `slot`, or by chance a little later, but not after `deadline`.
    #[cfg(feature = "tokio")]
    pub(crate) fn jittered(&self, slot: Instant, deadline: Instant) -> Instant {
        Jitter::after(self.jitter.as_ref(), &self.clock, slot, deadline)
    }

    /// Where the limiter stands; takes nothing.
    #[must_use]
    pub fn peek(&self) -> Status {
        match &*self.shared {
            Shared::Bucket(bucket) => bucket.peek(self.clock.now()),
            Shared::Leased(Leased { gcra, cell, .. }) => {
                Status::new(*gcra, cell.peek(gcra, self.clock.now()))
            }
            Shared::Locked(locked) => locked.peek(self.clock.now(), 1),
        }
    }

    /// The policy that is limited by.
    #[must_use]
    pub fn policy(&self) -> Policy {
        match &*self.shared {
            Shared::Bucket(bucket) => bucket.policy(),
            Shared::Leased(Leased { quota, .. }) => Policy::TokenBucket(*quota),
            Shared::Locked(locked) => locked.policy(),
        }
    }

    /// The limiter in plain numbers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let status = self.peek();
        let leases = match &*self.shared {
            Shared::Leased(Leased { leases, .. }) => Some(leases),
            Shared::Bucket(_) | Shared::Locked(_) => None,
        };
        Snapshot {
            limit: status.limit(),
            remaining: status.remaining(),
            reset_after_ns: u64::try_from(status.reset_after().as_nanos()).unwrap_or(u64::MAX),
            leased: leases.map_or(0, Leases::held),
        }
    }
}

/// The numbers of another algorithm, which a limiter cannot change to; or it has leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherAlgorithm {
    running: &'static str,
    asked: &'static str,
    leased: bool,
}

impl fmt::Display for OtherAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { running, asked, .. } = self;
        if self.leased {
            f.write_str("quota cannot be changed where permits are leased")
        } else {
            write!(f, "quota is a {asked}, must be a {running} as before")
        }
    }
}

impl Error for OtherAlgorithm {}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("policy", &self.policy())
            .field("remaining", &self.peek().remaining())
            .finish_non_exhaustive()
    }
}
