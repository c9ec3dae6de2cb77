//! `propagate_readiness`: the inner service's readiness is the limiter's own.

use stanchion_ratelimit::{Propagate, RateLimit, RateLimitLayer};
use testkit::drop_at_every_await;
use tower::{Layer, ServiceExt};

use super::*;

fn service<S>(
    inner: S,
    burst: u64,
) -> (
    RateLimit<S, RateLimiter, stanchion_ratelimit::Fail, Propagate>,
    RateLimiter,
) {
    let (limiter, _) = limiter(burst);
    let layer = RateLimitLayer::from_limiter(limiter.clone()).propagate_readiness();
    (layer.layer(inner), limiter)
}

#[test]
fn the_instance_that_was_readied_is_the_one_that_is_called() {
    let (world, inner) = World::new();
    let (mut service, _) = service(inner, 10);
    for request in 0..10 {
        assert_eq!(
            at_once(ready_and_call(&mut service, request)).unwrap(),
            request * 2
        );
    }
    // No clone was made ready beside it.
    assert_eq!(world.strict.reservations(), 10);
    assert_eq!(world.strict.calls(), 10);
    world.strict.assert_idle();
}

#[test]
fn ready_stays_true_until_it_is_used() {
    let (world, inner) = World::new();
    let (mut service, _) = service(inner, 1);
    for _ in 0..5 {
        assert_ready(&mut service);
    }
    assert_eq!(world.strict.reservations(), 1);
    world.probe.not_ready();
    assert_ready(&mut service);
    assert_eq!(at_once(service.call(1)).unwrap(), 2);
    world.strict.assert_idle();
}

#[test]
fn a_refusal_keeps_the_readiness_and_never_touches_the_inner_service() {
    let (world, inner) = World::new();
    let (limiter, time) = limiter(1);
    let layer = RateLimitLayer::from_limiter(limiter).propagate_readiness();
    let mut service = layer.layer(inner);
    assert!(at_once(ready_and_call(&mut service, 1)).is_ok());
    for request in 2..6 {
        assert_exceeded(at_once(ready_and_call(&mut service, request)));
        assert_eq!(world.strict.reserved(), 1);
    }
    assert_eq!(world.strict.reservations(), 2);
    assert_eq!(world.probe.take_requests(), [1]);
    // The reservation that four refusals kept serves the next admission.
    time.advance(Duration::from_secs(60));
    assert_eq!(at_once(ready_and_call(&mut service, 7)).unwrap(), 14);
    assert_eq!(world.strict.reservations(), 2);
    world.strict.assert_idle();
}

#[test]
fn a_clone_of_a_readied_service_has_to_be_readied_itself() {
    let (world, inner) = World::new();
    let (mut service, _) = service(inner, 4);
    assert_ready(&mut service);
    let mut clone = service.clone();
    assert_eq!(world.strict.reserved(), 1);
    assert_ready(&mut clone);
    assert_eq!(world.strict.reserved(), 2);
    assert_eq!(at_once(clone.call(1)).unwrap(), 2);
    assert_eq!(at_once(service.call(2)).unwrap(), 4);
    world.strict.assert_idle();
}

#[test]
#[should_panic(expected = "call without poll_ready")]
fn calling_a_clone_of_a_readied_service_is_a_bug() {
    let (mut service, _) = service(World::new().1, 4);
    assert_ready(&mut service);
    drop(service.clone().call(1));
}

#[test]
fn a_call_that_was_not_readied_takes_nothing_from_the_limit() {
    let (world, inner) = World::new();
    let (mut service, limiter) = service(inner, 1);
    let call = std::panic::AssertUnwindSafe(|| drop(service.call(1)));
    assert!(std::panic::catch_unwind(call).is_err());
    assert_eq!(limiter.peek().remaining(), 1);
    world.strict.assert_idle();
}

#[test]
fn a_service_that_was_readied_and_dropped_gives_its_permit_back() {
    let (world, inner) = World::new();
    let (mut service, limiter) = service(inner, 1);
    assert_ready(&mut service);
    assert_eq!(world.strict.permits_out(), 1);
    drop(service);
    world.strict.assert_idle();
    assert_eq!(limiter.peek().remaining(), 1, "being ready takes nothing");
}

/// Waits for the inner service's permit, then for its readiness; each wait leaves a waker.
#[test]
fn readiness_waits_for_the_inner_service() {
    let drops = drop_at_every_await_in(|| {
        let (world, inner) = World::new();
        world.probe.not_ready();
        let (service, limiter) = service(inner, 1);
        ((world, limiter), async move {
            let mut service = service;
            service.ready().await.unwrap();
        })
    })
    .nudge(|(world, _)| world.probe.ready())
    .check(|(world, limiter)| {
        world.strict.assert_idle();
        assert_eq!(limiter.peek().remaining(), 1);
    });
    assert_eq!(drops, 3);
}

#[test]
fn an_error_of_the_inner_readiness_is_an_error_of_readiness() {
    let (world, inner) = World::new();
    world.probe.fail_readiness(|| Broken);
    let (mut service, limiter) = service(inner, 1);
    let Poll::Ready(Err(error)) = service.poll_ready(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("the inner service's error has to come through");
    };
    assert!(error.is::<Broken>());
    assert_eq!(limiter.peek().remaining(), 1);
    world.strict.assert_idle();
}

#[test]
fn a_future_dropped_anywhere_gives_everything_back() {
    let (world, inner) = World::new();
    world.gate.close();
    let (service, limiter) = service(inner, 100);
    let drops = drop_at_every_await(|| service.clone().oneshot(1))
        .nudge(|()| {
            world.gate.open_one();
        })
        .check(|()| {
            world.strict.assert_idle();
            assert_eq!(world.gate.waiting(), 0);
        });
    assert_eq!(drops, 3);
    // The one that was never polled never asked.
    assert_eq!(limiter.peek().remaining(), 97);
}

#[test]
fn one_service_may_have_many_calls_in_flight() {
    let (world, inner) = World::new();
    world.gate.close();
    let (mut service, _) = service(inner, 10);
    let mut first = Box::pin(ready_and_call(&mut service, 1));
    let mut second = Box::pin(ready_and_call(&mut service, 2));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(world.strict.in_flight(), 2);
    world.gate.stay_open();
    assert_eq!(at_once(second).unwrap(), 4);
    assert_eq!(at_once(first).unwrap(), 2);
    world.strict.assert_idle();
}

/// A service that cannot be cloned, such as one connection.
struct Single(Inner);

impl Service<u32> for Single {
    type Response = u32;
    type Error = Broken;
    type Future = <Inner as Service<u32>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.0.call(request)
    }
}

#[test]
fn the_inner_service_need_not_be_clone() {
    let (world, inner) = World::new();
    let (limiter, _time) = limiter(1);
    let layer = RateLimitLayer::from_limiter(limiter).propagate_readiness();
    let mut service = layer
        .respond_with(|_: &Rejected, request: u32| request)
        .layer(Single(inner));
    assert_eq!(at_once(ready_and_call(&mut service, 5)), Ok(10));
    assert_eq!(at_once(ready_and_call(&mut service, 5)), Ok(5));
    drop(service);
    world.strict.assert_idle();
}
