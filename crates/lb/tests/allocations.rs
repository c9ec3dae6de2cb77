//! What a pick allocates: nothing.

use stanchion_core::Outcome;
use stanchion_lb::policy::{P2c, PeakEwma, Policy, Random, RoundRobin};
use stanchion_lb::{Balancer, Endpoint, PickContext};
use testkit::{CountingAllocator, allocations};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

fn picks(policy: impl Policy<usize> + 'static) -> u64 {
    let balancer = Balancer::new(policy);
    let endpoint = |place: usize| Endpoint::new(place.to_string(), place).with_weight(2);
    balancer
        .update((0..20).map(endpoint))
        .expect("names differ");
    let avoid = ["3".into(), "4".into()];
    let contexts = [
        PickContext::new(),
        PickContext::new().with_avoid(&avoid),
        PickContext::new().with_hash(7),
        PickContext::new().with_affinity("5"),
    ];
    let pick = || {
        for context in &contexts {
            let picked = balancer.pick(context).expect("all are fit");
            picked.record(Outcome::Success);
        }
    };
    pick(); // a thread's first pick seeds its random numbers
    allocations(pick).allocations
}

#[test]
fn no_pick_allocates() {
    assert_eq!(picks(RoundRobin::new()), 0);
    assert_eq!(picks(Random::new()), 0);
    assert_eq!(picks(P2c::new()), 0);
    assert_eq!(picks(PeakEwma::new()), 0);
}
