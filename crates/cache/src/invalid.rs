use std::error::Error;
use std::fmt;

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
