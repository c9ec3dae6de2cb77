#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod breaker;
mod config;
mod event;
mod keyed;
#[cfg(feature = "tower")]
mod layer;
mod machine;
mod outcome;
mod overdue;
mod permit;
mod ratio;
mod rejected;
mod snapshot;
mod state;
mod streak;
mod sync;
mod tally;
mod thread;
mod throttle;
mod window;

pub use breaker::Breaker;
pub use config::{
    CancelPolicy, Config, Expiry, HalfOpen, InvalidConfig, OpenTime, OverloadPolicy, Ramp,
    SlowCalls, Verdict, Window,
};
pub use event::{Event, Transition};
pub use keyed::{KeyedBreaker, KeyedSnapshot};
#[cfg(feature = "tower")]
pub use layer::{
    Answer, BoxError, BreakerLayer, BreakerService, ByResult, Call, Classified, Fail, Fallback,
    FallbackFuture, Guard, Isolate, Judge, Keyed, Propagate, RespondWith, ResponseFuture,
    RetryAfter,
};
#[cfg(feature = "http")]
pub use layer::{AtEnd, JudgedBody};
pub use machine::IllegalTransition;
pub use permit::{OwnedPermit, Permit};
pub use ratio::Ratio;
pub use rejected::{CallError, Rejected};
pub use snapshot::Snapshot;
pub use state::{Cause, State};
pub use throttle::{
    CallThrottled, Throttle, ThrottleConfig, ThrottleEvent, ThrottlePermit, ThrottleSnapshot,
    Throttled,
};
