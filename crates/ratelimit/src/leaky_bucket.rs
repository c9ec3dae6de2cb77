use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::quota::{Problem, number};
use crate::{InvalidQuota, Quota};

/// A constant outflow with a bounded queue before it: one every `period / count`, never two
/// together, and up to `queue` who wait for their turn.
///
/// There is no queue object: who waits holds a slot that was reserved for it, one interval behind
/// the slot before. So it shapes only those who wait
/// ([`RateLimiter::acquire`](crate::RateLimiter::acquire), or
/// [`reserve`](crate::RateLimiter::reserve)); a plain check is admitted when the outflow is free
/// at that very moment. A cost of *n* takes *n* slots in a row, and is ready at the last of them.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_ratelimit::{LeakyBucket, RateLimiter};
///
/// // One every 10 ms; up to 50 wait.
/// let bucket = LeakyBucket::new(100, Duration::from_secs(1), 50)?;
/// assert_eq!(bucket, "100/s queue 50".parse()?);
/// let limiter = RateLimiter::new(bucket);
/// assert!(limiter.check().is_ok());
/// assert!(limiter.check().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeakyBucket {
    outflow: Quota,
    queue: u64,
}

impl LeakyBucket {
    /// `count` per `period`, evenly spaced, with room for `queue` to wait; 0 lets nobody wait.
    ///
    /// # Errors
    ///
    /// `count` and `period` as for [`Quota::new`]; the whole `queue` must flow out in at most 36
    /// years.
    pub fn new(count: u64, period: Duration, queue: u64) -> Result<Self, InvalidQuota> {
        let room = queue.saturating_add(1);
        // The units are chosen so that the whole queue can be told in them.
        let outflow = Quota::new(count, period)?.with_burst(room).map_err(|_| {
            InvalidQuota::new(Problem::SlowQueue {
                queue,
                count,
                period,
            })
        })?;
        Ok(Self { outflow, queue })
    }

    /// How many flow out per period.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.outflow.count()
    }

    /// The period that `count` refers to.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.outflow.period()
    }

    /// How many may wait.
    #[must_use]
    pub const fn queue(&self) -> u64 {
        self.queue
    }

    /// The outflow as a quota whose burst is one and the queue.
    pub(crate) const fn outflow(&self) -> &Quota {
        &self.outflow
    }
}

/// Reads `COUNT/PERIOD queue QUEUE`; without a queue nobody waits.
impl FromStr for LeakyBucket {
    type Err = InvalidQuota;

    fn from_str(text: &str) -> Result<Self, InvalidQuota> {
        let unreadable = || InvalidQuota::new(Problem::Text(text.to_owned()));
        let (rate, queue) = match text.split_once(" queue ") {
            Some((rate, queue)) => (rate, number(queue).ok_or_else(unreadable)?),
            None => (text, 0),
        };
        let (count, period) = crate::quota::read_rate(rate).ok_or_else(unreadable)?;
        Self::new(count, period, queue)
    }
}

/// Writes what `FromStr` reads; the queue only where there is one.
impl fmt::Display for LeakyBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = u64::try_from(self.period().as_nanos()).unwrap_or(u64::MAX);
        crate::quota::write_rate(f, self.count(), nanos)?;
        if self.queue > 0 {
            write!(f, " queue {}", self.queue)?;
        }
        Ok(())
    }
}
