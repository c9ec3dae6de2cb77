use std::fmt;
use std::sync::Arc;

use stanchion_core::{Clock, Observe};

use crate::cell::Cell;
use crate::gcra::Gcra;
use crate::{Event, Quota, Rejected, Status};

/// Limits the rate of one stream of work; clones share the same bucket.
///
/// A check takes one clock read and one atomic word; a refusal writes nothing. Memory: one
/// allocation of 120 bytes, whatever the traffic.
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

struct Shared {
    quota: Quota,
    gcra: Gcra,
    cell: Cell,
}

/// A limiter in plain numbers, to make metrics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The burst.
    pub limit: u64,
    /// What would be admitted now, at once.
    pub remaining: u64,
    /// Nanoseconds until the full burst is there again.
    pub reset_after_ns: u64,
}

impl RateLimiter {
    /// A full bucket with this quota, on the system's clock.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self {
            shared: Arc::new(Shared {
                quota,
                gcra: Gcra::new(&quota),
                cell: Cell::new(),
            }),
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
    /// O(1), no allocation, lock-free.
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
        let shared = &*self.shared;
        let decision = shared.cell.check(&shared.gcra, self.clock.now(), cost);
        let decision = decision.into_result(&shared.gcra, cost);
        if let (Err(rejected), Some(observer)) = (&decision, &self.observer) {
            observer.observe(&Event::Rejected(*rejected));
        }
        decision
    }

    /// Where the bucket stands; takes nothing.
    #[must_use]
    pub fn peek(&self) -> Status {
        let shared = &*self.shared;
        let ahead = shared.cell.peek(&shared.gcra, self.clock.now());
        Status::new(shared.gcra, ahead)
    }

    /// The quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.shared.quota
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
            .field("quota", &self.shared.quota)
            .field("remaining", &self.peek().remaining())
            .finish_non_exhaustive()
    }
}
