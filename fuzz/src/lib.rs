//! What is fuzzed: each target is a function that takes any bytes, and panics where one of our
//! promises is broken.
//!
//! `cargo xtask fuzz TARGET` lets libFuzzer look for such bytes; the ordinary tests run each target
//! over its folder in `fuzz/corpus/`, where inputs that once broke something stay.
//!
//! A new target is a file here, a line in [`TARGETS`], and a folder with a few inputs.

#![forbid(unsafe_code)]

#[path = "../../crates/gateway/tests/guard/against_hyper.rs"]
#[expect(clippy::unwrap_used, reason = "what cannot go on has failed")]
mod against_hyper;
#[path = "../../crates/journal/tests/disk/mod.rs"]
mod disk;
#[path = "../../crates/gateway/src"]
mod source {
    pub(crate) mod guard;
}

mod forwarded;
mod gateway_config;
mod guard;
mod hashing;
mod journal;
mod limiter;
mod quota;

/// One thing that is fuzzed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Target {
    /// How `cargo xtask fuzz` calls it, and its folder in `fuzz/corpus/`.
    pub name: &'static str,
    /// Panics if the bytes break what we promise.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("forwarded", forwarded::run),
    target("gateway_config", gateway_config::run),
    target("guard", guard::run),
    target("hashing", hashing::run),
    target("journal", journal::run),
    target("limiter", limiter::run),
    target("quota", quota::run),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}
