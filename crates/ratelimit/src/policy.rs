mod text;

use crate::{FixedWindow, Quota, SlidingWindowCounter};

/// How a limiter limits: one of the algorithms with its numbers.
///
/// Each value turns into one by itself, so limiters are built from the value. As text a policy is
/// the algorithm and its rate, such as `"fixed-window 100/m"`; a rate alone is a token bucket.
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
    /// `limit` in each window: `"fixed-window 100/m"`.
    FixedWindow(FixedWindow),
    /// About `limit` in any window: `"sliding-window-counter 100/m"`.
    SlidingWindowCounter(SlidingWindowCounter),
}

impl Policy {
    /// The name of the algorithm, as it stands in text.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::TokenBucket(_) => "token-bucket",
            Self::FixedWindow(_) => "fixed-window",
            Self::SlidingWindowCounter(_) => "sliding-window-counter",
        }
    }

    /// The most that is admitted at once: the burst, or the limit of a window.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        match self {
            Self::TokenBucket(quota) => quota.burst(),
            Self::FixedWindow(window) => window.limit(),
            Self::SlidingWindowCounter(window) => window.limit(),
        }
    }
}

impl From<Quota> for Policy {
    fn from(quota: Quota) -> Self {
        Self::TokenBucket(quota)
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
