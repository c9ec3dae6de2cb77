//! What a call through a breaker allocates: nothing.
#![cfg(feature = "tower")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stanchion_breaker::{
    Breaker, BreakerLayer, Config, KeyedBreaker, Ratio, Rejected, SlowCalls, Throttle,
    ThrottleConfig, Window,
};
use stanchion_core::{Clock, Outcome};
use testkit::{CountingAllocator, allocations};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

fn breakers() -> [Breaker; 2] {
    let slow = SlowCalls::new(Duration::from_secs(1), Ratio::HALF).unwrap();
    let calls = Config::default().with_slow_calls(slow.counting_in_flight());
    let time = Config::new(Window::time(Duration::from_secs(10)).unwrap());
    [calls.unwrap(), time].map(|config| Breaker::new(config).with_clock(Clock::manual().0))
}

#[test]
fn neither_passing_nor_refusing_nor_opening_allocates() {
    for breaker in breakers() {
        let counted = allocations(|| {
            for _ in 0..1_000 {
                breaker.try_acquire().unwrap().record(Outcome::Success);
            }
            let mut refused = 0;
            for _ in 0..2_000 {
                match breaker.try_acquire() {
                    Ok(permit) => permit.record(Outcome::Failure),
                    Err(_) => refused += 1,
                }
            }
            refused
        });
        assert!(counted.result > 0);
        assert_eq!(counted.allocations, 0);
    }
}

#[test]
fn a_known_key_and_a_throttle_allocate_nothing() {
    let keyed = KeyedBreaker::<str>::new(Config::default(), 10).unwrap();
    let throttle = Throttle::new(ThrottleConfig::default());
    drop(keyed.try_acquire("known"));
    let counted = allocations(|| {
        for call in 0..1_000 {
            let good = call % 4 == 0;
            let outcome = if good {
                Outcome::Success
            } else {
                Outcome::Overload
            };
            if let Ok(permit) = keyed.try_acquire("known") {
                permit.record(outcome);
            }
            if let Ok(permit) = throttle.try_acquire() {
                permit.record(outcome);
            }
        }
    });
    assert_eq!(counted.allocations, 0);
    assert!(keyed.try_acquire("known").is_err());
    assert!(throttle.snapshot().rejected_total > 0);
}

fn double(request: u32) -> Ready<Result<u32, Infallible>> {
    ready(Ok(request * 2))
}

#[test]
fn the_layer_allocates_nothing_where_refusals_are_answered() {
    let breaker = Breaker::default();
    let answer = |_: &Rejected, request: u32| request;
    let layer = BreakerLayer::new(breaker.clone()).respond_with(answer);
    let mut service = layer.layer(service_fn(double));
    let mut call = |request: u32| {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
        match pin!(service.call(request)).poll(&mut cx) {
            Poll::Ready(Ok(answer)) => answer,
            _ => panic!("the service has to answer at once"),
        }
    };
    let passed = allocations(|| call(2));
    breaker.force_open();
    let refused = allocations(|| call(2));
    assert_eq!((passed.result, refused.result), (4, 2));
    assert_eq!((passed.allocations, refused.allocations), (0, 0));
}
