//! What comes back after any sequence of operations, crashes, failures and damages.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "../disk/mod.rs"]
mod disk;

mod bytes;
mod faults;
mod oracle;
mod sequences;
