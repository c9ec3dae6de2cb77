#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cell;
mod event;
mod gcra;
#[cfg(feature = "http")]
pub mod http;
mod keyed;
#[cfg(feature = "tower")]
mod layer;
mod limiter;
mod quota;
mod status;
mod sync;

pub use event::Event;
pub use keyed::{InvalidMaxKeys, KeyedRateLimiter, KeyedSnapshot};
#[cfg(feature = "tower")]
pub use layer::{
    Answer, BoxError, Fail, Isolate, Keyed, Limit, MissingKey, Propagate, RateLimit,
    RateLimitLayer, RespondWith, ResponseFuture,
};
pub use limiter::{RateLimiter, Snapshot};
pub use quota::{InvalidQuota, Quota};
pub use status::{Reason, Rejected, Status};
