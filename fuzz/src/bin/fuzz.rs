//! One fuzzer for all targets; the environment says which. Started by `cargo xtask fuzz`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stanchion_fuzz::{TARGETS, Target};

const VARIABLE: &str = "STANCHION_FUZZ_TARGET";

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    let target = TARGETS.iter().find(|target| target.name == name);
    *target.unwrap_or_else(|| {
        let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        panic!(
            "{VARIABLE} is {name:?}, must be one of {}",
            known.join(", ")
        )
    })
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
