#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "http")]
mod body;
mod call;
mod closure;
mod judge;

#[cfg(feature = "http")]
pub use body::{AtEnd, JudgedBody};
pub use call::Call;
pub use closure::Closure;
pub use judge::{ByResult, Classified, Judge, RetryAfter};
