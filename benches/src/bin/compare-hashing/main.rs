//! Consistent hashing: ours, and the crates that people would otherwise take.
//!
//! A pick is a key of 16 bytes to a node. All read the same 65,536 keys, one behind the other, so that
//! fetching the key costs the same. Each peer that lets its user choose a hash gets XXH3, as ours has
//! it, which is many times faster than what it has by default; pingora-ketama has CRC32, and nothing
//! else. Rings have 160 points a node; the anchors have room for twice the nodes; Maglev has 65,537
//! places.

mod build;
mod hashes;
mod ours;
mod peers;
mod pick;
mod spread;

use std::process::ExitCode;

use stanchion_benches::{Options, Suite};

fn main() -> ExitCode {
    let options = Options::from_args();
    let mut suite = Suite::new("hashing");
    for cases in [pick::cases, build::cases, spread::cases] {
        for case in cases() {
            suite = suite.with(case);
        }
    }
    suite.run(&options)
}
