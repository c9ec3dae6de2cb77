//! Limits shared by many processes, through Redis.

mod config;
mod decide;
mod decision;
mod detector;
mod fallback;
mod granted;
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
pub use decision::{RedisAdmission, RedisDecision};
pub use granted::RedisAdmitted;
pub(crate) use granted::Refusal;
pub use key_bytes::KeyBytes;
pub use limiter::{RedisRateLimiter, RedisSnapshot};
pub use store::{InvalidServers, RedisServers, RedisStore, StoreEvent, StoreSnapshot};
pub use unavailable::Unavailable;
