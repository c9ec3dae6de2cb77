use std::fmt;
use std::sync::Arc;

use stanchion_core::{Clock, Observe};

use crate::cell::Cell;
use crate::gcra::Gcra;
use crate::lease::{self, Leases};
use crate::locked::Locked;
use crate::{Event, InvalidLease, Policy, Quota, Rejected, Status};

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
}

enum Shared {
    Bucket {
        quota: Quota,
        gcra: Gcra,
        cell: Cell,
        leases: Option<Leases>,
    },
    Locked(Locked),
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
            Policy::TokenBucket(quota) => Shared::Bucket {
                quota,
                gcra: Gcra::new(&quota),
                cell: Cell::new(),
                leases: None,
            },
            Policy::FixedWindow(window) => Shared::Locked(Locked::new(window)),
            Policy::SlidingWindowCounter(window) => Shared::Locked(Locked::new(window)),
        };
        Self {
            shared: Arc::new(shared),
            clock: Clock::system(),
            observer: None,
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
    /// Starts anew, with a bucket of its own: what was cloned before goes on without leases.
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
            shared: Arc::new(Shared::Bucket {
                quota,
                gcra: Gcra::new(&rest),
                cell: Cell::new(),
                leases: Some(leases),
            }),
            ..self
        })
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
    #[inline]
    pub fn check_n(&self, cost: u64) -> Result<Status, Rejected> {
        let decision = match &*self.shared {
            Shared::Bucket {
                gcra, cell, leases, ..
            } => {
                let decision = match leases {
                    None => cell.check(gcra, self.clock.now(), cost),
                    Some(leases) => {
                        leases.check(lease::thread_number(), cell, gcra, &self.clock, cost)
                    }
                };
                decision.into_result(gcra, cost)
            }
            Shared::Locked(locked) => locked.check(self.clock.now(), cost),
        };
        if let (Err(rejected), Some(observer)) = (&decision, &self.observer) {
            observer.observe(&Event::Rejected(*rejected));
        }
        decision
    }

    /// Where the limiter stands; takes nothing.
    #[must_use]
    pub fn peek(&self) -> Status {
        match &*self.shared {
            Shared::Bucket { gcra, cell, .. } => {
                Status::new(*gcra, cell.peek(gcra, self.clock.now()))
            }
            Shared::Locked(locked) => locked.peek(self.clock.now(), 1),
        }
    }

    /// The policy that is limited by.
    #[must_use]
    pub fn policy(&self) -> Policy {
        match &*self.shared {
            Shared::Bucket { quota, .. } => Policy::TokenBucket(*quota),
            Shared::Locked(locked) => locked.policy(),
        }
    }

    /// The limiter in plain numbers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let status = self.peek();
        let leases = match &*self.shared {
            Shared::Bucket { leases, .. } => leases.as_ref(),
            Shared::Locked(_) => None,
        };
        Snapshot {
            limit: status.limit(),
            remaining: status.remaining(),
            reset_after_ns: u64::try_from(status.reset_after().as_nanos()).unwrap_or(u64::MAX),
            leased: leases.map_or(0, Leases::held),
        }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("policy", &self.policy())
            .field("remaining", &self.peek().remaining())
            .finish_non_exhaustive()
    }
}
