// Its examples, which are tests, need the features that they show.
#![cfg_attr(any(feature = "http", not(doctest)), doc = include_str!("../README.md"))]
#![forbid(unsafe_code)]

mod algorithm;
mod async_limiter;
mod cell;
mod composite;
mod event;
mod fixed_window;
mod gcra;
#[cfg(feature = "http")]
pub mod http;
mod keyed;
#[cfg(feature = "tower")]
mod layer;
mod lease;
mod limiter;
mod locked;
mod policy;
mod quota;
#[cfg(feature = "redis")]
mod redis;
mod sliding_window_counter;
mod status;
mod sync;
mod token_bucket;

pub use async_limiter::AsyncLimiter;
pub use composite::{Admitted, CompositeLimit, CompositeRateLimiter, InvalidComposite, Refused};
pub use event::Event;
pub use fixed_window::FixedWindow;
pub use keyed::{InvalidMaxKeys, KeyedRateLimiter, KeyedSnapshot, WhenFull};
#[cfg(feature = "tower")]
pub use layer::{
    Answer, AsyncRateLimit, AsyncRateLimitLayer, AsyncResponseFuture, BoxError, Fail, Isolate,
    Keyed, Limit, MissingKey, Propagate, RateLimit, RateLimitLayer, RespondWith, ResponseFuture,
};
pub use lease::InvalidLease;
pub use limiter::{RateLimiter, Snapshot};
pub use policy::Policy;
pub use quota::{InvalidQuota, Quota};
#[cfg(feature = "redis")]
pub use redis::{
    InvalidRedisConfig, InvalidServers, KeyBytes, Outage, RedisConfig, RedisDecision, RedisLease,
    RedisRateLimiter, RedisServers, RedisSnapshot, RedisStore, StoreEvent, StoreSnapshot,
    Unavailable,
};
pub use sliding_window_counter::SlidingWindowCounter;
pub use status::{Reason, Rejected, Status};
