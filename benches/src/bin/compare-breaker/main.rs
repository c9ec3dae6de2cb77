//! Circuit breakers: ours, and the peers that people would otherwise take.
//!
//! Each peer runs at its best settings: failsafe with the rate of a window or with failures in a
//! row, each alone (its default pays for both); tower-resilience with a window of calls, but where
//! windows of time are compared.

mod call;
mod floor;
mod keyed;
mod layer;
mod peers;
mod rejected;
mod time;

use std::process::ExitCode;

use stanchion_benches::{CountingOnDemand, Options, Suite};

#[global_allocator]
static ALLOCATOR: CountingOnDemand = CountingOnDemand::system();

fn main() -> ExitCode {
    let options = Options::from_args();
    let mut suite = Suite::new("breaker");
    for cases in [
        call::cases,
        rejected::cases,
        time::cases,
        keyed::cases,
        layer::cases,
    ] {
        for case in cases() {
            suite = suite.with(case);
        }
    }
    suite.run(&options)
}
