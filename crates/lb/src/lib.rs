// Its examples, which are tests, need the features that they show.
#![cfg_attr(any(feature = "tower", not(doctest)), doc = include_str!("../README.md"))]
#![deny(unsafe_code)]

#[cfg(feature = "http")]
pub mod affinity;
#[cfg(feature = "tower")]
mod balance;
mod balancer;
#[cfg(feature = "tokio")]
pub mod check;
mod config;
mod counted;
#[cfg(feature = "discover")]
pub mod discover;
#[cfg(feature = "tokio")]
mod drain;
mod draw;
mod endpoint;
mod event;
mod health;
mod ip_key;
mod latency;
mod node;
mod outlier;
mod pick_context;
mod picked;
mod plan;
pub mod policy;
mod signal;
mod slow_start;
mod sync;
mod unavailable;

#[cfg(feature = "tower")]
pub use balance::{
    Answer, Anywhere, Backend, Balance, BoxError, ByAffinity, ByHash, ByResult, Classified,
    Connect, Connecting, Fail, FromBackend, Judge, Patience, Rejected, RespondWith, ResponseFuture,
    RetryAfter, Route,
};
#[cfg(feature = "http")]
pub use balance::{AtEnd, JudgedBody};
pub use balancer::{Balancer, EndpointSnapshot, LevelSnapshot, Picker, Snapshot, Updated};
pub use config::{Config, InvalidConfig};
#[cfg(feature = "tokio")]
pub use drain::Drained;
pub use draw::Draw;
pub use endpoint::{Attributes, Endpoint, EndpointId, InvalidEndpoints, Locality};
pub use event::{EjectionCause, Event, ReadmissionCause};
pub use health::{Health, Mark};
pub use ip_key::IpKey;
pub use outlier::{FailurePercentage, Outliers, SuccessRate};
pub use pick_context::PickContext;
pub use picked::Picked;
pub use slow_start::SlowStart;
pub use unavailable::Unavailable;

/// The most endpoints of one balancer.
pub const ENDPOINTS_MAX: usize = 65_536;
