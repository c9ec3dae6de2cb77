//! Stories that run: see the files beside this one.

/// The project's README, so that its examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
