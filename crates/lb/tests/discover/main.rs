//! From a stream of updates to the endpoints of a balancer.
#![cfg(feature = "discover")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod batches;
#[cfg(feature = "dns")]
mod dns;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "tower")]
mod tower;
