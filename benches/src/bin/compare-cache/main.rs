//! Caches: ours, and the crates that people would otherwise take.
//!
//! With `--traces DIR`, hit ratios on recorded workloads too; the files and their format stand in
//! `traces.rs`. Every peer has the capacity that it is told, its default policy and its default
//! hasher; where the same hasher is compared, all have aHash.

mod memory;
mod opt;
mod peers;
mod ratio;
mod speed;
mod traces;
mod zipf;

use std::process::ExitCode;

use stanchion_benches::{CountingOnDemand, Options, Suite};

#[global_allocator]
static ALLOCATOR: CountingOnDemand = CountingOnDemand::system();

fn main() -> ExitCode {
    let options = Options::from_args();
    let mut suite = Suite::new("cache");
    for case in speed::cases().into_iter().chain(memory::cases()) {
        suite = suite.with(case);
    }
    if let Some(folder) = &options.traces {
        for case in ratio::cases(folder) {
            suite = suite.with(case);
        }
    }
    suite.run(&options)
}
