//! Totals under contention, and what a panic gives back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;

use stanchion_core::Outcome;
use stanchion_lb::policy::{P2c, RoundRobin};
use stanchion_lb::{Balancer, Endpoint, Mark, PickContext, Unavailable};

const THREADS: usize = 4;
const PICKS: usize = 5_000;

fn endpoints(count: usize) -> impl Iterator<Item = Endpoint<usize>> {
    (0..count).map(|place| Endpoint::new(place.to_string(), place))
}

fn in_flight(balancer: &Balancer<usize>) -> u32 {
    let endpoints = balancer.snapshot().endpoints;
    endpoints.iter().map(|endpoint| endpoint.in_flight).sum()
}

#[test]
fn round_robin_is_exact_over_all_threads() {
    let balancer = Balancer::new(RoundRobin::new());
    balancer.update(endpoints(8)).unwrap();
    let barrier = Barrier::new(THREADS);
    let counts = thread::scope(|scope| {
        let count = || {
            barrier.wait();
            let mut counts = [0usize; 8];
            for _ in 0..PICKS {
                let picked = balancer.pick(&PickContext::new()).unwrap();
                counts[*picked.address()] += 1;
                picked.record(Outcome::Success);
            }
            counts
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.fold([0; 8], |sum, counts| {
            std::array::from_fn(|place| sum[place] + counts[place])
        })
    });
    assert_eq!(counts, [THREADS * PICKS / 8; 8]);
    assert_eq!(in_flight(&balancer), 0);
}

#[test]
fn calls_outlive_updates_and_nothing_is_lost_among_them() {
    let balancer = Balancer::new(P2c::new());
    balancer.update(endpoints(6)).unwrap();
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 1..THREADS {
            let (balancer, barrier) = (&balancer, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let mut held = Vec::new();
                for turn in 0..PICKS {
                    held.push(balancer.pick(&PickContext::new()).unwrap());
                    if turn % 7 == thread {
                        held.clear();
                    }
                }
            });
        }
        barrier.wait();
        for turn in 0..200 {
            // Two are always there, and never marked.
            let count = 2 + turn % 5;
            balancer.update(endpoints(count)).unwrap();
            let mark = [Mark::Eject, Mark::Readmit, Mark::Drain, Mark::Enable][turn % 4];
            balancer.mark(&(2 + turn % 4).to_string(), mark);
        }
    });
    assert_eq!(in_flight(&balancer), 0);
    balancer.update(endpoints(0)).unwrap();
    let none = balancer.pick(&PickContext::new()).unwrap_err();
    assert_eq!(none, Unavailable::NoEndpoints);
}

#[test]
fn a_panic_in_a_call_gives_back_what_it_held() {
    let balancer = Balancer::new(P2c::new());
    balancer.update(endpoints(3)).unwrap();
    let call = || {
        let _picked = balancer.pick(&PickContext::new()).unwrap();
        std::panic::resume_unwind(Box::new("the call"));
    };
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert_eq!(in_flight(&balancer), 0);
}
