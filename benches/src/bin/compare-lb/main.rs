//! Load balancers: ours, and the peers that people would otherwise take; and all policies in a
//! simulated fleet.
//!
//! What is compared is not quite the same work, and where it is not, ours does more. A pick of ours
//! counts the call at its endpoint until it is over, and hears how it went. pingora's `select` does
//! neither: it gives a copy of the backend, which nothing is known of after. It is asked for one
//! candidate, which is the least it can be asked for. tower's balancer counts, as ours does, but asks
//! for readiness beforehand.

mod call;
mod fleet;
mod keyed;
mod memory;
mod ours;
mod peers;
mod pick;
mod rebuild;
mod weighted;

use std::process::ExitCode;

use stanchion_benches::{CountingOnDemand, Options, Suite};

#[global_allocator]
static ALLOCATOR: CountingOnDemand = CountingOnDemand::system();

fn main() -> ExitCode {
    let options = Options::from_args();
    let mut suite = Suite::new("lb");
    for cases in [
        pick::cases,
        keyed::cases,
        call::cases,
        weighted::cases,
        rebuild::cases,
        memory::cases,
        fleet::cases,
    ] {
        for case in cases() {
            suite = suite.with(case);
        }
    }
    suite.run(&options)
}
