//! Stories that run: one file each, beside this one. Each ends by itself and checks what it tells.
//!
//! | story | shows |
//! |---|---|
//! | `plain_limit` | limits on work of your own: on a clock moved by hand, then on the system's |
//! | `axum_keyed_limit` | an axum service behind a proxy that limits each client by its address |
//! | `redis_shared_limit` | two instances that share a limit through Redis, and outlive it |
//!
//! `cargo run -p stanchion-examples --example plain_limit`

/// The project's README, so that its examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
