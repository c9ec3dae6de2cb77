//! Load balancers: ours, and the peers that people would otherwise take; and all policies in a
//! simulated fleet.

mod fleet;

use std::process::ExitCode;

use stanchion_benches::{CountingOnDemand, Options, Suite};

#[global_allocator]
static ALLOCATOR: CountingOnDemand = CountingOnDemand::system();

fn main() -> ExitCode {
    let options = Options::from_args();
    let mut suite = Suite::new("lb");
    for case in fleet::cases() {
        suite = suite.with(case);
    }
    suite.run(&options)
}
