//! What a decision tells: raw numbers, made readable when asked.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::gcra::Gcra;

/// Where a bucket stands, right after a decision or when peeked at.
///
/// Holds the raw numbers of the moment; the methods do the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    gcra: Gcra,
    /// How far the bucket is from full, in the quota's units.
    ahead: u64,
}

impl Status {
    pub(crate) fn new(gcra: Gcra, ahead: u64) -> Self {
        Self { gcra, ahead }
    }

    /// The burst: the most that this limiter ever admits at once.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.gcra.burst()
    }

    /// What would be admitted now, at once.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.gcra.remaining(self.ahead)
    }

    /// How long until the full burst is there again, if nothing else is admitted.
    #[must_use]
    pub fn reset_after(&self) -> Duration {
        self.gcra.duration(self.ahead)
    }

    /// How long until `cost` would be admitted, if nothing else is; zero if it would be now,
    /// `None` if it never will.
    #[must_use]
    pub fn available_after(&self, cost: u64) -> Option<Duration> {
        (cost <= self.limit()).then(|| self.gcra.wait(self.ahead, cost))
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
    /// The bucket does not hold enough yet; ask again after [`Rejected::retry_after`].
    Exceeded,
    /// The cost is above the burst: it will never be admitted.
    CostAboveBurst,
    /// The request carries no key to be limited by.
    NoKey,
}

impl Rejected {
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

    #[cfg(feature = "tower")]
    pub(crate) fn no_key() -> Self {
        Self {
            reason: Reason::NoKey,
            status: None,
            cost: 0,
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
        let wait = self.status?.available_after(self.cost)?;
        Some(wait.max(Duration::from_nanos(1)))
    }

    /// Where the bucket stands; `None` if the request had no key, hence no bucket.
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
                "cost {} is above the burst of {} and will never be admitted",
                self.cost,
                status.limit()
            ),
            (Reason::NoKey, ..) => f.write_str("the request carries no key to be limited by"),
            _ => f.write_str("rate limit exceeded"),
        }
    }
}

impl Error for Rejected {}
