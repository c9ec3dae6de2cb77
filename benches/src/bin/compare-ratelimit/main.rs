//! Rate limiters: ours, and the peers that people would otherwise take.
//!
//! Each peer runs at its best settings: governor on `QuantaClock`, `ratelimit` on a quanta clock
//! written here (it ships only the standard library's), leaky-bucket both ways.

mod acquire;
mod bare_word;
mod check;
mod clock;
mod composite;
mod http;
mod keyed;
mod layer;
mod redis;

use std::process::ExitCode;

use stanchion_benches::{CountingOnDemand, Options, Suite};

#[global_allocator]
static ALLOCATOR: CountingOnDemand = CountingOnDemand::system();

fn main() -> ExitCode {
    let options = Options::from_args();
    let mut suite = Suite::new("ratelimit");
    for cases in [
        check::cases,
        keyed::cases,
        composite::cases,
        acquire::cases,
        layer::cases,
        http::cases,
        redis::cases,
        clock::cases,
    ] {
        for case in cases() {
            suite = suite.with(case);
        }
    }
    suite.run(&options)
}
