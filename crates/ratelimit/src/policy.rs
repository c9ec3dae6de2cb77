#[cfg(feature = "serde")]
mod serde;
mod text;

use crate::{
    FixedWindow, LeakyBucket, Quota, SlidingWindowCounter, SlidingWindowLog, StrictWindow,
};

/// How a limiter limits: one of the algorithms with its numbers.
///
/// Each value turns into one by itself, so limiters are built from the value. As text a policy is
/// the algorithm and its rate, such as `"fixed-window 100/m"`; a rate alone is a token bucket. With
/// feature `serde` it is read from such a string, or from a table with `algorithm`, `rate`, and
/// `burst` or `queue`.
///
/// Who is refused can wait for its slot ([`RateLimiter::acquire`](crate::RateLimiter::acquire)) on
/// a token bucket, a leaky bucket, a fixed window and a sliding log. The sliding counter and the
/// strict window decide about now and promise nothing for later.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_ratelimit::{FixedWindow, Policy};
///
/// let window = FixedWindow::new(100, Duration::from_secs(60))?;
/// assert_eq!(Policy::from(window), "fixed-window 100/m".parse()?);
/// # Ok::<(), stanchion_ratelimit::InvalidQuota>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// `count` per `period` on average, and up to `burst` at once: `"100/s burst 20"`.
    TokenBucket(Quota),
    /// One every `period / count`, and up to `queue` who wait: `"leaky-bucket 100/s queue 50"`.
    LeakyBucket(LeakyBucket),
    /// `limit` in each window: `"fixed-window 100/m"`.
    FixedWindow(FixedWindow),
    /// About `limit` in any window: `"sliding-window-counter 100/m"`.
    SlidingWindowCounter(SlidingWindowCounter),
    /// `limit` in any window, exactly: `"sliding-window-log 100/m"`.
    SlidingWindowLog(SlidingWindowLog),
    /// Never more than `limit` in any window, in fixed memory: `"strict-window 100/m"`.
    StrictWindow(StrictWindow),
}

impl Policy {
    /// The name of the algorithm, as it stands in text.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::TokenBucket(_) => "token-bucket",
            Self::LeakyBucket(_) => "leaky-bucket",
            Self::FixedWindow(_) => "fixed-window",
            Self::SlidingWindowCounter(_) => "sliding-window-counter",
            Self::SlidingWindowLog(_) => "sliding-window-log",
            Self::StrictWindow(_) => "strict-window",
        }
    }

    /// The most that is admitted at once: the burst, or the limit of a window.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        match self {
            Self::TokenBucket(quota) => quota.burst(),
            Self::LeakyBucket(_) => 1,
            Self::FixedWindow(window) => window.limit(),
            Self::SlidingWindowCounter(window) => window.limit(),
            Self::SlidingWindowLog(window) => window.limit(),
            Self::StrictWindow(window) => window.limit(),
        }
    }
}

impl From<Quota> for Policy {
    fn from(quota: Quota) -> Self {
        Self::TokenBucket(quota)
    }
}

impl From<LeakyBucket> for Policy {
    fn from(bucket: LeakyBucket) -> Self {
        Self::LeakyBucket(bucket)
    }
}

impl From<FixedWindow> for Policy {
    fn from(window: FixedWindow) -> Self {
        Self::FixedWindow(window)
    }
}

impl From<SlidingWindowCounter> for Policy {
    fn from(window: SlidingWindowCounter) -> Self {
        Self::SlidingWindowCounter(window)
    }
}

impl From<SlidingWindowLog> for Policy {
    fn from(window: SlidingWindowLog) -> Self {
        Self::SlidingWindowLog(window)
    }
}

impl From<StrictWindow> for Policy {
    fn from(window: StrictWindow) -> Self {
        Self::StrictWindow(window)
    }
}
