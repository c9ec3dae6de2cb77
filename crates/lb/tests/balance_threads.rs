//! Calls through one balance from many threads.
#![cfg(feature = "tower")]

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use stanchion_lb::policy::P2c;
use stanchion_lb::{Backend, Balance, Balancer, Endpoint, Mark};
use tower::{Service, service_fn};

const THREADS: u32 = 4;
const CALLS: u32 = 5_000;

#[test]
fn each_call_arrives_once_while_endpoints_come_and_go() {
    let arrived: &'static AtomicU64 = Box::leak(Box::default());
    let service = service_fn(move |request: u32| {
        arrived.fetch_add(request.into(), Ordering::Relaxed);
        ready(Ok::<u32, std::io::Error>(request))
    });
    let balancer = Balancer::new(P2c::new());
    let endpoints = |count: u32| {
        let endpoint = |place: u32| Endpoint::new(place.to_string(), Backend::new(place, service));
        (0..count).map(endpoint)
    };
    balancer.update(endpoints(3)).expect("names differ");
    let balance = Balance::new(balancer.clone());
    let barrier = Barrier::new(THREADS as usize + 1);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let mut balance = balance.clone();
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                let mut cx = Context::from_waker(Waker::noop());
                for call in 0..CALLS {
                    assert!(balance.poll_ready(&mut cx).is_ready());
                    let mut call = pin!(balance.call(thread * CALLS + call));
                    assert!(call.as_mut().poll(&mut cx).is_ready());
                }
            });
        }
        barrier.wait();
        for round in 0..200 {
            balancer
                .update(endpoints(2 + round % 3))
                .expect("names differ");
            balancer.mark(
                "0",
                if round % 2 == 0 {
                    Mark::Eject
                } else {
                    Mark::Readmit
                },
            );
        }
    });
    let calls = u64::from(THREADS * CALLS);
    assert_eq!(arrived.load(Ordering::Relaxed), calls * (calls - 1) / 2);
    let endpoints = balancer.snapshot().endpoints;
    assert!(endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
}
