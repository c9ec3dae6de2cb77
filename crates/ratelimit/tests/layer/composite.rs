//! Several limits at once as one layer.

use std::pin::pin;

use stanchion_ratelimit::{
    CompositeLimit, CompositeRateLimiter, RateLimitLayer, Refused, WhenFull,
};
use tower::Layer;

use super::*;

/// `per_second` of all requests, and `per_minute` of each.
fn limits(per_second: u64, per_minute: u64) -> (CompositeRateLimiter<u32>, ManualClock) {
    let (clock, time) = Clock::manual();
    let quota = |count, seconds| Quota::new(count, Duration::from_secs(seconds)).unwrap();
    let limits = CompositeRateLimiter::new([
        CompositeLimit::shared("second", quota(per_second, 1)),
        CompositeLimit::keyed("client", quota(per_minute, 60), 100, |request: &u32| {
            Some(request % 10)
        })
        .with_when_full(WhenFull::Deny),
    ]);
    (limits.unwrap().with_clock(clock), time)
}

#[track_caller]
fn refused(result: Result<u32, BoxError>) -> Refused {
    let error = result.unwrap_err();
    error.downcast_ref::<Refused>().unwrap().clone()
}

#[test]
fn a_request_passes_all_limits_or_is_never_called_and_counted_by_none() {
    let (world, inner) = World::new();
    let (limits, _time) = limits(3, 1);
    let mut service = RateLimitLayer::composite(limits.clone()).layer(inner);
    assert_eq!(at_once(ready_and_call(&mut service, 1)).unwrap(), 2);
    for _ in 0..5 {
        let refused = refused(at_once(ready_and_call(&mut service, 11)));
        assert!(refused.violated().eq(["client"]));
        assert_eq!(refused.limit(), "client");
    }
    assert_eq!(at_once(ready_and_call(&mut service, 2)).unwrap(), 4);
    assert_eq!(at_once(ready_and_call(&mut service, 3)).unwrap(), 6);
    let refused = refused(at_once(ready_and_call(&mut service, 4)));
    assert!(refused.violated().eq(["second"]));
    assert_eq!(world.probe.take_requests(), [1, 2, 3]);
    world.strict.assert_idle();
}

#[test]
fn a_refusal_is_answered_and_a_readiness_kept() {
    let (world, inner) = World::new();
    let respond = |refused: &Refused, request: u32| {
        assert_eq!(refused.limit(), "client");
        request + 1_000
    };
    let layer = RateLimitLayer::composite(limits(9, 1).0).respond_with(respond);
    let mut service = layer.propagate_readiness().layer(inner);
    assert_eq!(at_once(ready_and_call(&mut service, 1)), Ok(2));
    assert_eq!(at_once(ready_and_call(&mut service, 1)), Ok(1_001));
    assert_eq!(at_once(ready_and_call(&mut service, 2)), Ok(4));
    assert_eq!(world.strict.reservations(), 2);
    world.strict.assert_idle();
}

#[test]
fn a_stuck_inner_service_does_not_hide_refusals() {
    let (world, inner) = World::new();
    world.probe.not_ready();
    let mut service = RateLimitLayer::composite(limits(9, 1).0).layer(inner);
    let mut admitted = pin!(ready_and_call(&mut service, 1));
    assert!(poll(admitted.as_mut()).is_pending());
    refused(at_once(ready_and_call(&mut service, 1)));
    world.probe.ready();
    assert_eq!(at_once(admitted).unwrap(), 2);
    world.strict.assert_clean();
}

#[test]
fn services_share_all_limits_unless_each_is_to_have_its_own() {
    let (_world, inner) = World::new();
    let layer = RateLimitLayer::composite(limits(9, 1).0);
    let (mut one, mut other) = (layer.layer(inner.clone()), layer.layer(inner.clone()));
    assert!(at_once(ready_and_call(&mut one, 1)).is_ok());
    refused(at_once(ready_and_call(&mut other, 1)));
    refused(at_once(ready_and_call(&mut one.clone(), 1)));
    let layer = layer.per_service();
    let (mut one, mut other) = (layer.layer(inner.clone()), layer.layer(inner));
    for service in [&mut one, &mut other] {
        assert!(at_once(ready_and_call(service, 1)).is_ok());
        refused(at_once(ready_and_call(service, 1)));
    }
}

#[test]
fn a_future_dropped_anywhere_gives_everything_back() {
    let (limits, _time) = limits(100, 100);
    let layer = RateLimitLayer::composite(limits.clone());
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
    let left = limits
        .peek(&1)
        .map(|(_, status)| status.unwrap().remaining());
    assert_eq!(left.collect::<Vec<_>>(), [94, 94]);
}
