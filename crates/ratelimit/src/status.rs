//! What a decision tells: raw numbers, made readable when asked.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::gcra::{Gcra, Pace};
use crate::sliding_window_counter::Estimate;

/// Where a limiter stands, right after a decision or when peeked at.
///
/// Holds the raw numbers of the moment; the methods do the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    standing: Standing,
}

/// The raw numbers, as each algorithm has them; times in nanoseconds unless said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Bucket {
        pace: Pace,
        /// How far the bucket is from full, in the quota's units.
        ahead: u64,
    },
    Window {
        limit: u64,
        remaining: u64,
        reset_after: u64,
        /// The cost whose wait is known, and that wait.
        cost: u64,
        wait: u64,
    },
    Estimate {
        estimate: Estimate,
        /// How far the clock went back behind the window.
        behind: u64,
    },
}

impl Status {
    #[inline]
    pub(crate) fn new(gcra: Gcra, ahead: u64) -> Self {
        Self {
            standing: Standing::Bucket {
                pace: gcra.pace(),
                ahead,
            },
        }
    }

    /// Of a window; `wait` is that of `cost`, if it ever fits.
    #[inline]
    pub(crate) fn window(
        limit: u64,
        remaining: u64,
        reset_after: u64,
        cost: u64,
        wait: Option<u64>,
    ) -> Self {
        Self {
            standing: Standing::Window {
                limit,
                remaining,
                reset_after,
                cost: if wait.is_some() { cost } else { 0 },
                wait: wait.unwrap_or(0),
            },
        }
    }

    #[inline]
    pub(crate) fn estimate(estimate: Estimate, behind: u64) -> Self {
        Self {
            standing: Standing::Estimate { estimate, behind },
        }
    }

    /// The most that this limiter ever admits at once: the burst, or the limit of a window.
    #[must_use]
    pub fn limit(&self) -> u64 {
        match &self.standing {
            Standing::Bucket { pace, .. } => pace.burst(),
            Standing::Window { limit, .. } => *limit,
            Standing::Estimate { estimate, .. } => estimate.limit(),
        }
    }

    /// What would be admitted now, at once.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        match &self.standing {
            Standing::Bucket { pace, ahead } => pace.remaining(*ahead),
            Standing::Window { remaining, .. } => *remaining,
            Standing::Estimate { estimate, .. } => estimate.remaining(),
        }
    }

    /// How long until the full [`limit`](Self::limit) is there again, if nothing else is admitted.
    #[must_use]
    pub fn reset_after(&self) -> Duration {
        match &self.standing {
            Standing::Bucket { pace, ahead } => pace.duration(*ahead),
            Standing::Window { reset_after, .. } => Duration::from_nanos(*reset_after),
            Standing::Estimate { estimate, behind } => match estimate.reset_after() {
                0 => Duration::ZERO,
                nanos => Duration::from_nanos(nanos.saturating_add(*behind)),
            },
        }
    }

    /// How long until `cost` would be admitted, if nothing else is; zero if it would be now,
    /// `None` if it never will.
    ///
    /// A sliding log and a strict window know this moment for the cost that they were asked for
    /// (1 for a plain peek), and otherwise tell one that is late enough.
    #[must_use]
    pub fn available_after(&self, cost: u64) -> Option<Duration> {
        (cost <= self.limit()).then(|| self.wait(cost))
    }

    /// The same for a cost that may be above the limit, as one that fills a leaky bucket's queue.
    fn wait(&self, cost: u64) -> Duration {
        match &self.standing {
            Standing::Bucket { pace, ahead } => pace.wait(*ahead, cost),
            Standing::Window { remaining, .. } if cost <= *remaining => Duration::ZERO,
            Standing::Window {
                cost: asked, wait, ..
            } if cost <= *asked => Duration::from_nanos(*wait),
            Standing::Window { reset_after, .. } => Duration::from_nanos(*reset_after),
            Standing::Estimate { estimate, behind } => match estimate.available_after(cost) {
                0 => Duration::ZERO,
                nanos => Duration::from_nanos(nanos.saturating_add(*behind)),
            },
        }
    }
}

/// A request was refused; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    reason: Reason,
    status: Option<Status>,
    cost: u64,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// There is not enough yet; ask again after [`Rejected::retry_after`].
    Exceeded,
    /// The cost is above the burst, or the limit of a window: it will never be admitted.
    CostAboveBurst,
    /// A keyed limiter has no room for one key more; see [`WhenFull::Deny`](crate::WhenFull::Deny).
    NoRoom,
    /// There is not enough yet, and the algorithm promises nothing for later: it cannot be waited
    /// for. See [`Policy`](crate::Policy) for those that can.
    NoWaiting,
    /// As many wait for their slots as may; see [`Waiting`](crate::Waiting).
    #[cfg(feature = "tokio")]
    TooManyWaiting,
    /// The request carries no key to be limited by.
    NoKey,
    /// Nobody could decide in time, and requests are refused then; see
    /// [`Outage`](crate::Outage).
    #[cfg(feature = "redis")]
    Unavailable,
}

/// A decision that was made out of line.
///
/// It is a type of its own so that a call that makes one does not write where the caller's result
/// is: what is decided in line can stay in registers then.
pub(crate) enum Detour {
    Admitted(Status),
    Refused(Rejected),
}

impl Detour {
    #[inline]
    pub(crate) fn result(self) -> Result<Status, Rejected> {
        match self {
            Self::Admitted(status) => Ok(status),
            Self::Refused(rejected) => Err(rejected),
        }
    }
}

impl From<Result<Status, Rejected>> for Detour {
    fn from(result: Result<Status, Rejected>) -> Self {
        result.map_or_else(Self::Refused, Self::Admitted)
    }
}

impl Rejected {
    #[inline]
    pub(crate) fn exceeded(status: Status, cost: u64) -> Self {
        Self {
            reason: Reason::Exceeded,
            status: Some(status),
            cost,
        }
    }

    pub(crate) fn cost_above_burst(status: Status, cost: u64) -> Self {
        Self {
            reason: Reason::CostAboveBurst,
            status: Some(status),
            cost,
        }
    }

    /// There is room again after `wait` nanoseconds.
    pub(crate) fn no_room(limit: u64, wait: u64, cost: u64) -> Self {
        Self {
            reason: Reason::NoRoom,
            status: Some(Status::window(limit, 0, wait, cost, Some(wait))),
            cost,
        }
    }

    pub(crate) fn no_waiting(status: Status, cost: u64) -> Self {
        Self {
            reason: Reason::NoWaiting,
            status: Some(status),
            cost,
        }
    }

    /// The same refusal, where it is only so because nobody else may wait.
    #[cfg(feature = "tokio")]
    pub(crate) fn too_many_waiting(self) -> Self {
        Self {
            reason: Reason::TooManyWaiting,
            ..self
        }
    }

    /// The refusal of a request that has no key, by whoever looks for keys in a way of its own.
    #[must_use]
    pub fn no_key() -> Self {
        Self {
            reason: Reason::NoKey,
            status: None,
            cost: 0,
        }
    }

    #[cfg(feature = "redis")]
    pub(crate) fn unavailable(cost: u64) -> Self {
        Self {
            reason: Reason::Unavailable,
            status: None,
            cost,
        }
    }

    /// Why the request was refused.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// How long until the same request would be admitted, if nothing else is. Never zero; `None`
    /// when waiting does not help.
    ///
    /// The same request is refused at every moment before that, and admitted exactly then. Many
    /// clients told the same moment come back together: add jitter before passing it on.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let status = self.status?;
        if self.reason == Reason::CostAboveBurst {
            return None;
        }
        let wait = status.wait(self.cost);
        Some(wait.max(Duration::from_nanos(1)))
    }

    /// Where the limiter stands; `None` if the request had no key, hence nothing to stand.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reason, self.retry_after(), self.status) {
            (Reason::Exceeded, Some(wait), _) => {
                write!(f, "rate limit exceeded, retry after {wait:?}")
            }
            (Reason::CostAboveBurst, _, Some(status)) => write!(
                f,
                "cost {} will never be admitted, the most at once is {}",
                self.cost,
                status.limit()
            ),
            (Reason::NoRoom, Some(wait), _) => {
                write!(f, "too many keys are in use, retry after {wait:?}")
            }
            (Reason::NoWaiting, Some(wait), _) => write!(
                f,
                "rate limit exceeded, this algorithm lets nobody wait, retry after {wait:?}"
            ),
            #[cfg(feature = "tokio")]
            (Reason::TooManyWaiting, Some(wait), _) => {
                write!(f, "too many requests are waiting, retry after {wait:?}")
            }
            (Reason::NoKey, ..) => f.write_str("the request carries no key to be limited by"),
            #[cfg(feature = "redis")]
            (Reason::Unavailable, ..) => {
                f.write_str("redis could not be asked in time, and nobody decides in its place")
            }
            _ => f.write_str("rate limit exceeded"),
        }
    }
}

impl Error for Rejected {}
