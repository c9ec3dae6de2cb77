use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::hash::SHARDS_MAX;

/// A cache that cannot be built; the message names the field, its value, and what is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum InvalidCache {
    /// A time to live of 0: nothing would ever be found.
    TimeToLive,
    /// A time to idle of 0: nothing would ever be found.
    TimeToIdle,
    /// A time of 0 for loads: none would ever bring a value.
    LoadTimeout,
    /// A time of 0 for the answer that there is nothing.
    AbsenceTime,
    /// A part of an entry's time, after which to refresh it, that is not within it.
    RefreshAfter {
        /// The part.
        part: f64,
    },
    /// A beta that is no positive number.
    Beta {
        /// The beta.
        beta: f64,
    },
    /// A period of 0: refreshes would never end.
    RefreshPeriod,
    /// A refresh before the end of an entry's time, where entries have none.
    RefreshWithoutTime,
    /// A time for stale values, where entries have none after which they would be stale.
    StaleWithoutTime,
    /// No key at all in a load of many.
    BatchMax,
    /// No refresh at all may run.
    RefreshesMax,
    /// Waits between refreshes that fail, the first of which is 0 or longer than the longest.
    RetryWaits {
        /// The first wait.
        first: Duration,
        /// The longest wait.
        longest: Duration,
    },
    /// A jitter that is no part of the whole.
    Jitter {
        /// The jitter.
        jitter: f64,
    },
    /// A number of shards that is no power of two, or too large.
    Shards {
        /// The number.
        shards: usize,
    },
}

impl fmt::Display for InvalidCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimeToLive => write!(f, "time_to_live is 0, and must be more"),
            Self::TimeToIdle => write!(f, "time_to_idle is 0, and must be more"),
            Self::LoadTimeout => write!(f, "load_timeout is 0, and must be more"),
            Self::AbsenceTime => write!(f, "absence_time is 0, and must be more"),
            Self::RefreshAfter { part } => {
                write!(
                    f,
                    "refresh after is {part}, and must be above 0 and below 1"
                )
            }
            Self::Beta { beta } => {
                write!(f, "beta is {beta}, and must be above 0 and finite")
            }
            Self::RefreshPeriod => write!(f, "refresh period is 0, and must be more"),
            Self::RefreshWithoutTime => write!(
                f,
                "refresh counts from the time of entries, and needs time_to_live or expire_after"
            ),
            Self::StaleWithoutTime => write!(
                f,
                "stale_while_refreshing and stale_if_error need time_to_live or expire_after"
            ),
            Self::BatchMax => write!(f, "batch_max is 0, and must be at least 1"),
            Self::RefreshesMax => write!(f, "refreshes_max is 0, and must be at least 1"),
            Self::RetryWaits { first, longest } => write!(
                f,
                "retry_waits are from {first:?} to {longest:?}, and must be from more than 0 up"
            ),
            Self::Jitter { jitter } => {
                write!(f, "jitter is {jitter}, and must be at least 0 and below 1")
            }
            Self::Shards { shards } => write!(
                f,
                "shards is {shards}, and must be a power of two from 1 to {SHARDS_MAX}"
            ),
        }
    }
}

impl Error for InvalidCache {}
