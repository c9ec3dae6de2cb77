// Its examples, which are tests, need the features that they show.
#![cfg_attr(any(feature = "http", not(doctest)), doc = include_str!("../README.md"))]
#![forbid(unsafe_code)]

#[cfg(feature = "tokio")]
mod acquire;
mod algorithm;
mod async_limiter;
mod bucket;
mod cell;
mod composite;
mod event;
mod fixed_window;
mod gcra;
mod holder;
#[cfg(feature = "http")]
pub mod http;
mod inherit;
#[cfg(any(feature = "http", feature = "tokio"))]
mod jitter;
mod keyed;
#[cfg(feature = "tower")]
mod layer;
mod leaky_bucket;
mod lease;
mod limiter;
mod locked;
mod policy;
mod quota;
#[cfg(feature = "redis")]
mod redis;
mod reservation;
mod sliding_window_counter;
mod sliding_window_log;
mod status;
mod strict_window;
mod sync;
mod token_bucket;
#[cfg(feature = "tokio")]
mod waiting;
mod window;

#[cfg(feature = "tokio")]
pub use acquire::Acquire;
pub use async_limiter::AsyncLimiter;
pub use composite::{
    Admitted, CompositeLimit, CompositeRateLimiter, CompositeSnapshot, InvalidChange,
    InvalidComposite, NoSuchLimit, Refused, Standings,
};
pub use event::Event;
pub use fixed_window::FixedWindow;
pub use inherit::Inherit;
pub use keyed::{InvalidMaxKeys, KeyedRateLimiter, KeyedSnapshot, WhenFull};
#[cfg(feature = "tower")]
pub use layer::{
    Answer, AsyncRateLimit, AsyncRateLimitLayer, AsyncResponseFuture, BoxError, Fail, Isolate,
    Keyed, Limit, MissingKey, PerService, Propagate, RateLimit, RateLimitLayer, RespondWith,
    ResponseFuture, Together,
};
pub use leaky_bucket::LeakyBucket;
pub use lease::InvalidLease;
pub use limiter::{OtherAlgorithm, RateLimiter, Snapshot};
pub use policy::Policy;
pub use quota::{InvalidQuota, Quota};
#[cfg(feature = "redis")]
pub use redis::{
    InvalidRedisConfig, InvalidServers, KeyBytes, Outage, RedisAdmission, RedisAdmitted,
    RedisConfig, RedisDecision, RedisLease, RedisRateLimiter, RedisServers, RedisSnapshot,
    RedisStore, StoreEvent, StoreSnapshot, Unavailable,
};
pub use reservation::Reservation;
pub use sliding_window_counter::SlidingWindowCounter;
pub use sliding_window_log::SlidingWindowLog;
pub use status::{Reason, Rejected, Status};
pub use strict_window::StrictWindow;
#[cfg(feature = "tokio")]
pub use waiting::{InvalidWaiting, Wait, Waiting, WaitingSnapshot};
