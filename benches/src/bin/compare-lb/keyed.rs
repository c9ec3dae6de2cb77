//! One pick by the hash of a key of 16 bytes, hashing included. All read the same 65,536 keys, one
//! behind the other, so that fetching the key costs the same.

use std::hint::black_box;
use std::time::Duration;

use pingora_load_balancing::selection::{Consistent, FNVHash};
use stanchion_benches::{Case, Contestant, Measure, Random, Unit, single};
use stanchion_hashing::key_hash;
use stanchion_lb::PickContext;
use stanchion_lb::policy::ConsistentHash;

use crate::ours::{self, succeeds};
use crate::peers::{self, select};

/// A power of two.
const KEYS: usize = 1 << 16;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("pick by key of 10", 10),
        case("pick by key of 100", 100),
        case("pick by key of 1000", 1_000),
    ]
}

fn case(name: &'static str, endpoints: u16) -> Case {
    let ours = |policy: fn() -> ConsistentHash| {
        picks(move || {
            let balancer = ours::balancer(policy(), endpoints);
            move |key| {
                let context = PickContext::new().with_hash(key_hash(key));
                succeeds(balancer.pick(&context))
            }
        })
    };
    Case::new(name, Unit::NS)
        .burst(Duration::from_millis(10))
        .with(Contestant::ours(
            "stanchion, ring",
            ours(ConsistentHash::ring),
        ))
        .with(Contestant::ours(
            "stanchion, Maglev",
            ours(ConsistentHash::maglev),
        ))
        .with(Contestant::peer(
            "pingora, ketama",
            picks(move || {
                let balancer = peers::pingora::<Consistent>(endpoints);
                move |key| select(&balancer, key)
            }),
        ))
        .with(Contestant::peer(
            "pingora, FNV modulo",
            picks(move || {
                let balancer = peers::pingora::<FNVHash>(endpoints);
                move |key| select(&balancer, key)
            }),
        ))
}

/// The loop is compiled together with each contestant's own code.
fn picks<P: Fn(&[u8; 16]) -> u64 + 'static>(build: impl Fn() -> P + 'static) -> Measure {
    single(move || {
        let (pick, keys) = (build(), keys());
        let mut at = 0;
        move |iterations| {
            let mut ports = 0;
            for _ in 0..iterations {
                ports += pick(&keys[at % KEYS]);
                at += 1;
            }
            assert_eq!(
                black_box(ports),
                80 * iterations,
                "every pick gives an endpoint"
            );
        }
    })
}

fn keys() -> Vec<[u8; 16]> {
    let mut random = Random::new(1);
    let key = |_| {
        let halves = [random.next_u64(), random.next_u64()].map(u64::to_le_bytes);
        halves.concat().try_into().expect("twice 8 bytes")
    };
    (0..KEYS).map(key).collect()
}
