//! Limits shared by many processes, through Redis.

mod config;
mod decide;
mod decision;
mod detector;
mod fallback;
mod key;
mod key_bytes;
mod lease;
mod limiter;
mod link;
mod refusals;
mod script;
mod session;
mod store;
mod terms;
mod unavailable;

pub use config::{InvalidRedisConfig, Outage, RedisConfig, RedisLease};
pub use decision::RedisDecision;
pub use key_bytes::KeyBytes;
pub use limiter::{RedisRateLimiter, RedisSnapshot};
pub use store::{InvalidServers, RedisServers, RedisStore, StoreEvent, StoreSnapshot};
pub use unavailable::Unavailable;

use crate::Status;

/// The one of two that has less left.
fn tighter(one: Option<Status>, other: Status) -> Option<Status> {
    match one {
        Some(one) if one.remaining() <= other.remaining() => Some(one),
        _ => Some(other),
    }
}
