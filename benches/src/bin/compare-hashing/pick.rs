//! One key to its node, on one thread.
//!
//! Bursts are long, since the larger tables take some milliseconds to come back into the caches.

use std::hint::black_box;
use std::time::Duration;

use stanchion_benches::{Case, Contestant, Measure, Target, Unit, single};
use stanchion_hashing::key_hash;

use crate::hashes::{KEYS, Key, keys};
use crate::{ours, peers};

const HASH: &str = "the key's hash alone";
const HASHRING: &str = "hashring, 160 points";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("pick of 10 nodes", 10),
        case("pick of 100 nodes", 100),
        case("pick of 1000 nodes", 1_000),
    ]
}

fn case(name: &'static str, nodes: u32) -> Case {
    let at_most = |ratio| Target::AtMost {
        ratio,
        versus: HASH,
    };
    // What the larger rings must reach; of ten nodes, a search through all points takes few steps.
    let hashring_by = if nodes < 1_000 { 1.0 } else { 5.0 };
    let numbers = move || (0..nodes).collect::<Vec<_>>();
    Case::new(name, Unit::NS)
        .burst(Duration::from_millis(20))
        .with(
            Contestant::ours(
                "stanchion Maglev",
                picks(move || ours::picks(ours::maglev(&numbers()))),
            )
            .must(at_most(2.0)),
        )
        .with(
            Contestant::ours(
                "stanchion Ring",
                picks(move || ours::picks(ours::ring(&numbers()))),
            )
            .must(at_most(5.0))
            .must(Target::AtLeast {
                ratio: hashring_by,
                versus: HASHRING,
            }),
        )
        .with(
            Contestant::ours(
                "stanchion Anchor",
                picks(move || ours::picks(ours::anchor(&numbers()))),
            )
            .must(at_most(5.0)),
        )
        .with(Contestant::ours(
            "stanchion Jump",
            picks(move || ours::picks(ours::jump(&numbers()))),
        ))
        .with(Contestant::ours(
            "stanchion Rendezvous",
            picks(move || ours::picks(ours::rendezvous(&numbers()))),
        ))
        .with(Contestant::peer(
            HASH,
            picks(|| |key: &Key| key_hash(&key.0) as usize),
        ))
        .with(Contestant::peer(
            "maglev",
            picks(move || peers::maglev(&numbers())),
        ))
        .with(Contestant::peer(
            "hashring, 1 point",
            picks(move || peers::hashring_one(&numbers())),
        ))
        .with(Contestant::peer(
            HASHRING,
            picks(move || peers::hashring(&numbers())),
        ))
        .with(Contestant::peer(
            "hashring, 160 points, SipHash",
            picks(move || peers::hashring_sip(&numbers())),
        ))
        .with(Contestant::peer(
            "consistent_hash",
            picks(move || peers::consistent_hash(&numbers())),
        ))
        .with(Contestant::peer(
            "pingora-ketama",
            picks(move || peers::ketama(&numbers())),
        ))
        .with(Contestant::peer(
            "anchorhash",
            picks(move || peers::anchor(&numbers())),
        ))
        .with(Contestant::peer(
            "jump-consistent-hash",
            picks(move || peers::jump(&numbers())),
        ))
        .with(Contestant::peer(
            "rendezvous_hash",
            picks(move || peers::rendezvous(&numbers())),
        ))
        .with(Contestant::peer(
            "hrw-hash",
            picks(move || peers::hrw(&numbers())),
        ))
}

/// The loop is compiled together with each contestant's own code.
fn picks<P: Fn(&Key) -> usize + 'static>(build: impl Fn() -> P + 'static) -> Measure {
    single(move || {
        let (pick, keys) = (build(), keys());
        let mut at = 0;
        move |iterations| {
            let mut sum = 0_usize;
            for _ in 0..iterations {
                sum = sum.wrapping_add(pick(&keys[at % KEYS]));
                at += 1;
            }
            black_box(sum);
        }
    })
}
