//! The default: always ready, and each call readies its own clone of the inner service.

use std::pin::pin;

use stanchion_ratelimit::RateLimitLayer;
use tower::Layer;

use super::*;

#[test]
fn an_admitted_request_reaches_the_inner_service_unchanged() {
    let (world, inner) = World::new();
    let mut service = RateLimitLayer::from_limiter(limiter(2).0).layer(inner);
    assert_ready(&mut service);
    assert_eq!(at_once(service.call(21)).unwrap(), 42);
    assert_eq!(world.probe.take_requests(), [21]);
    world.strict.assert_idle();
}

#[test]
fn a_refusal_never_touches_the_inner_service() {
    let (world, inner) = World::new();
    let mut service = RateLimitLayer::from_limiter(limiter(1).0).layer(inner);
    assert_eq!(at_once(ready_and_call(&mut service, 1)).unwrap(), 2);
    for request in 2..10 {
        assert_exceeded(at_once(ready_and_call(&mut service, request)));
    }
    assert_eq!(world.strict.calls(), 1);
    assert_eq!(world.strict.reservations(), 1);
    assert_eq!(world.probe.take_requests(), [1]);
    world.strict.assert_idle();
}

#[test]
fn a_stuck_inner_service_does_not_hide_refusals() {
    let (world, inner) = World::new();
    world.probe.not_ready();
    let mut service = RateLimitLayer::from_limiter(limiter(1).0).layer(inner);
    let mut admitted = pin!(ready_and_call(&mut service, 1));
    assert!(poll(admitted.as_mut()).is_pending());
    assert_exceeded(at_once(ready_and_call(&mut service, 2)));
    world.probe.ready();
    assert_eq!(at_once(admitted).unwrap(), 2);
    world.strict.assert_clean();
}

#[test]
fn calls_that_overlap_each_ready_an_instance_of_their_own() {
    let (world, inner) = World::new();
    world.gate.close();
    let mut service = RateLimitLayer::from_limiter(limiter(3).0).layer(inner);
    let mut calls: Vec<_> = (0..3)
        .map(|request| Box::pin(ready_and_call(&mut service, request)))
        .collect();
    for call in &mut calls {
        assert!(poll(call.as_mut()).is_pending());
    }
    assert_eq!(world.strict.in_flight(), 3);
    world.gate.stay_open();
    let answers: Vec<_> = calls
        .into_iter()
        .map(|call| at_once(call).unwrap())
        .collect();
    assert_eq!(answers, [0, 2, 4]);
    assert_eq!(world.strict.reservations(), 3);
    world.strict.assert_idle();
}

/// An error from `poll_ready` is final: a buffer in front would close for one broken clone.
#[test]
fn an_error_of_the_inner_readiness_comes_from_the_future() {
    let (world, inner) = World::new();
    world.probe.fail_readiness(|| Broken);
    let mut service = RateLimitLayer::from_limiter(limiter(2).0).layer(inner);
    assert_ready(&mut service);
    let error = at_once(service.call(1)).unwrap_err();
    assert!(error.is::<Broken>());
    world.probe.ready();
    assert_eq!(at_once(ready_and_call(&mut service, 1)).unwrap(), 2);
    world.strict.assert_idle();
}

#[test]
fn errors_of_the_inner_service_are_passed_on_as_they_are() {
    let (world, inner) = World::new();
    world.probe.answer_with(|_| Err(Broken));
    let layer = RateLimitLayer::from_limiter(limiter(2).0);
    let mut failing = layer.clone().layer(inner.clone());
    assert!(
        at_once(ready_and_call(&mut failing, 1))
            .unwrap_err()
            .is::<Broken>()
    );
    let mut answering = layer.respond_with(|_: &Rejected, _: u32| 0).layer(inner);
    assert_eq!(at_once(ready_and_call(&mut answering, 1)), Err(Broken));
}

#[test]
fn respond_with_hears_the_refusal_and_gets_the_request() {
    let (world, inner) = World::new();
    let respond = |rejected: &Rejected, request: u32| {
        assert_eq!(rejected.retry_after(), Some(Duration::from_secs(60)));
        request + 1_000
    };
    let layer = RateLimitLayer::from_limiter(limiter(1).0).respond_with(respond);
    let mut service = layer.layer(inner);
    assert_eq!(at_once(ready_and_call(&mut service, 1)), Ok(2));
    assert_eq!(at_once(ready_and_call(&mut service, 7)), Ok(1_007));
    assert_eq!(world.probe.calls(), 1);
}

#[test]
fn what_is_refused_now_passes_when_the_clock_has_moved() {
    let (world, inner) = World::new();
    let (limiter, time) = limiter(1);
    let mut service = RateLimitLayer::from_limiter(limiter).layer(inner);
    assert!(at_once(ready_and_call(&mut service, 1)).is_ok());
    let error = at_once(ready_and_call(&mut service, 2)).unwrap_err();
    time.advance(rejected(&error).retry_after().unwrap());
    assert_eq!(at_once(ready_and_call(&mut service, 2)).unwrap(), 4);
    assert_eq!(world.probe.calls(), 2);
}

/// Twice pending: for the readiness of the clone, then for the answer.
#[test]
fn a_future_dropped_anywhere_gives_everything_back() {
    let (limiter, _time) = limiter(100);
    let layer = RateLimitLayer::from_limiter(limiter.clone());
    let drops = drop_at_every_await_in(|| {
        let (world, inner) = World::new();
        world.gate.close();
        world.probe.not_ready();
        let future = layer.layer(inner).call(1);
        (world, future)
    })
    .nudge(|world| {
        world.probe.ready();
        world.gate.open_one();
    })
    .check(|world| {
        world.strict.assert_idle();
        assert_eq!(world.gate.waiting(), 0);
    });
    assert_eq!(drops, 5);
    // What was admitted stays taken: six futures were made.
    assert_eq!(limiter.peek().remaining(), 94);
}

#[test]
fn a_refusal_dropped_unpolled_holds_nothing() {
    let (world, inner) = World::new();
    let (limiter, _time) = limiter(1);
    limiter.check().unwrap();
    let layer = RateLimitLayer::from_limiter(limiter);
    let drops = drop_at_every_await_in(|| ((), layer.layer(inner.clone()).call(1)))
        .check(|()| world.strict.assert_idle());
    assert_eq!(drops, 1);
    assert_eq!(world.strict.reservations(), 0);
}

#[test]
#[should_panic(expected = "polled after completion")]
fn a_future_that_has_answered_is_not_polled_again() {
    let (limiter, _time) = limiter(1);
    limiter.check().unwrap();
    let mut service = RateLimitLayer::from_limiter(limiter).layer(World::new().1);
    let mut refused = pin!(ready_and_call(&mut service, 1));
    assert!(poll(refused.as_mut()).is_ready());
    let _ = poll(refused.as_mut());
}

#[test]
fn the_inner_service_can_be_looked_at_and_taken_out() {
    let (world, inner) = World::new();
    let mut service = RateLimitLayer::from_limiter(limiter(1).0).layer(inner);
    assert!(format!("{:?}", service.get_ref()).contains("Strict"));
    assert_ready(service.get_mut());
    assert_eq!(at_once(service.get_mut().call(3)), Ok(6));
    let mut out = service.into_inner();
    assert_ready(&mut out);
    assert_eq!(at_once(out.call(4)), Ok(8));
    drop(out);
    world.strict.assert_idle();
}
