//! What a pick allocates: nothing.

use stanchion_core::Outcome;
use stanchion_lb::policy::{
    ConsistentHash, LeastConnections, P2c, PeakEwma, Policy, Random, RoundRobin, WeightedRoundRobin,
};
use stanchion_lb::{Balancer, Config, Endpoint, Outliers, PickContext};
use testkit::{CountingAllocator, allocations};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

fn picks(policy: impl Policy<usize> + 'static) -> u64 {
    let balancer =
        Balancer::new(policy).with_config(Config::default().with_outliers(Outliers::default()));
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

#[cfg(feature = "tower")]
#[test]
fn no_call_of_a_ready_endpoint_allocates() {
    use std::future::{Future, Ready, ready};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use stanchion_lb::{Backend, Balance};
    use tower::{Service, service_fn};

    fn double(request: u64) -> Ready<Result<u64, std::io::Error>> {
        ready(Ok(request * 2))
    }
    let service = service_fn(double as fn(u64) -> _);
    let balancer = Balancer::new(P2c::new());
    let endpoint = |place: usize| Endpoint::new(place.to_string(), Backend::new(place, service));
    balancer
        .update((0..20).map(endpoint))
        .expect("names differ");
    let mut balance = Balance::new(balancer)
        .hash_by(|request: &u64| Some(request.to_be_bytes()))
        .classify(|_: Result<&u64, &std::io::Error>| Outcome::Success);
    let mut call = |request: u64| {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(balance.poll_ready(&mut cx).is_ready());
        match pin!(balance.call(request)).poll(&mut cx) {
            Poll::Ready(Ok(answer)) => assert_eq!(answer, request * 2),
            other => panic!("{other:?}"),
        }
    };
    call(1); // a thread's first pick seeds its random numbers
    assert_eq!(allocations(|| (1..100).for_each(&mut call)).allocations, 0);
}

#[test]
fn no_pick_allocates() {
    assert_eq!(picks(RoundRobin::new()), 0);
    assert_eq!(picks(Random::new()), 0);
    assert_eq!(picks(WeightedRoundRobin::new()), 0);
    assert_eq!(picks(LeastConnections::new()), 0);
    assert_eq!(picks(ConsistentHash::ring()), 0);
    assert_eq!(picks(ConsistentHash::maglev()), 0);
    assert_eq!(picks(ConsistentHash::rendezvous()), 0);
    assert_eq!(picks(P2c::new()), 0);
    assert_eq!(picks(PeakEwma::new()), 0);
}
