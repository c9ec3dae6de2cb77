use std::fmt;
use std::sync::Arc;

use stanchion_core::{Clock, Observe};

use crate::cell::Cell;
use crate::gcra::Gcra;
use crate::locked::Locked;
use crate::{Event, Policy, Quota, Rejected, Status};

/// Limits the rate of one stream of work by any [`Policy`]; clones share what is used.
///
/// A check of a token bucket takes one clock read and one atomic word; a refusal writes nothing.
/// The other algorithms take a short lock instead of the word.
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
            Shared::Bucket { gcra, cell, .. } => {
                let decision = cell.check(gcra, self.clock.now(), cost);
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
        Snapshot {
            limit: status.limit(),
            remaining: status.remaining(),
            reset_after_ns: u64::try_from(status.reset_after().as_nanos()).unwrap_or(u64::MAX),
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
