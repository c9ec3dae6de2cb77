//! The tables against what defines them, done in the plainest way, and against each other.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod anchor;
mod bounded;
mod jump;
mod maglev;
mod nodes;
mod promises;
mod rendezvous;
mod ring;
