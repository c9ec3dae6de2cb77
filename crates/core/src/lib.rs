#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod clock;
mod key;
mod observe;
mod outcome;
mod sync;

#[cfg(feature = "tokio")]
pub use clock::Sleep;
pub use clock::{Clock, Instant, ManualClock};
pub use key::KeyExtractor;
pub use observe::Observe;
pub use outcome::{Classify, End, Outcome, Trailers, Verdict};
