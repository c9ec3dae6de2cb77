//! The service card: what a balance owes tower, and its endpoints.
#![cfg(feature = "tower")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[cfg(feature = "http")]
mod body;
mod calls;
mod fleet;
mod waits;
