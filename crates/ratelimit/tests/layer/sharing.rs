//! Who shares a bucket with whom.

use stanchion_core::Clock;
use stanchion_ratelimit::{KeyedRateLimiter, Quota, RateLimitLayer};
use tower::Layer;

use super::*;

/// How many of ten calls are admitted, over all of `services` in turn.
fn admitted<S>(services: &mut [S]) -> usize
where
    S: Service<u32, Response = u32, Error = BoxError>,
{
    let call = |request: u32| {
        let service = &mut services[request as usize % services.len()];
        at_once(ready_and_call(service, request)).is_ok()
    };
    (0..10).map(call).filter(|admitted| *admitted).count()
}

/// axum calls `Layer::layer` once per route: a limiter made in there is a limit per route, and
/// one peer's cap of 5 per second let 1500 through that way.
#[test]
fn services_made_by_one_layer_share_the_bucket() {
    let layer = RateLimitLayer::from_limiter(limiter(4).0);
    let mut routes: Vec<_> = (0..3).map(|_| layer.layer(World::new().1)).collect();
    assert_eq!(admitted(&mut routes), 4);
}

#[test]
fn clones_of_a_layer_and_of_its_services_share_the_bucket() {
    let layer = RateLimitLayer::from_limiter(limiter(4).0);
    let first = layer.clone().layer(World::new().1);
    let mut services = [first.clone(), first, layer.layer(World::new().1)];
    assert_eq!(admitted(&mut services), 4);
}

#[test]
fn readiness_and_answer_leave_the_bucket_shared() {
    let (limiter, _time) = limiter(4);
    let layer = RateLimitLayer::from_limiter(limiter.clone());
    let mut isolated = layer.clone().layer(World::new().1);
    let mut propagated = layer.clone().propagate_readiness().layer(World::new().1);
    let mut answering = layer
        .respond_with(|_: &Rejected, _: u32| 99)
        .layer(World::new().1);
    assert_eq!(at_once(ready_and_call(&mut isolated, 1)).unwrap(), 2);
    assert_eq!(at_once(ready_and_call(&mut propagated, 1)).unwrap(), 2);
    assert_eq!(at_once(ready_and_call(&mut answering, 1)), Ok(2));
    // The plain handle draws from it too.
    assert_eq!(limiter.check().unwrap().remaining(), 0);
    assert_exceeded(at_once(ready_and_call(&mut isolated, 1)));
    assert_exceeded(at_once(ready_and_call(&mut propagated, 1)));
    assert_eq!(at_once(ready_and_call(&mut answering, 1)), Ok(99));
}

#[test]
fn a_layer_applied_twice_takes_twice() {
    let (limiter, _time) = limiter(4);
    let layer = RateLimitLayer::from_limiter(limiter.clone());
    let mut service = layer.layer(layer.layer(World::new().1));
    assert_eq!(at_once(ready_and_call(&mut service, 1)).unwrap(), 2);
    assert_eq!(limiter.peek().remaining(), 2);
}

#[test]
fn keyed_services_share_the_buckets_of_all_keys() {
    let (clock, _time) = Clock::manual();
    let quota: Quota = "2/m".parse().unwrap();
    let limiter = KeyedRateLimiter::new(quota, 100).unwrap().with_clock(clock);
    let layer = RateLimitLayer::keyed(limiter.clone(), |request: &u32| Some(request % 2));
    let mut routes = [
        layer.layer(World::new().1),
        layer.clone().layer(World::new().1),
    ];
    assert!(limiter.check(&0).is_ok());
    // Of the even requests one is left, of the odd ones two.
    for (route, request, admitted) in [
        (0, 2, true),
        (1, 4, false),
        (0, 4, false),
        (0, 1, true),
        (1, 3, true),
        (1, 1, false),
    ] {
        let result = at_once(ready_and_call(&mut routes[route], request));
        assert_eq!(result.is_ok(), admitted, "{request} on route {route}");
    }
}

#[test]
fn each_new_layer_has_a_limiter_of_its_own() {
    let quota: Quota = "1/d".parse().unwrap();
    for _ in 0..3 {
        let layer = RateLimitLayer::new(quota);
        let mut service = layer.layer(World::new().1);
        assert_eq!(admitted(std::slice::from_mut(&mut service)), 1);
    }
}

/// axum makes a service for each route from one layer; there a limit of one for each has to be asked
/// for.
#[test]
fn services_made_per_service_share_nothing_and_their_clones_do() {
    let (_world, inner) = World::new();
    let (clock, time) = Clock::manual();
    let quota = Quota::new(1, Duration::from_secs(60)).unwrap();
    let shared = RateLimiter::new(quota).with_clock(clock.clone());
    let layer = RateLimitLayer::from_limiter(shared.clone()).per_service();
    let (mut one, mut other) = (layer.layer(inner.clone()), layer.layer(inner.clone()));
    for service in [&mut one, &mut other] {
        assert!(at_once(ready_and_call(service, 1)).is_ok());
        assert_exceeded(at_once(ready_and_call(service, 1)));
        assert_exceeded(at_once(ready_and_call(&mut service.clone(), 1)));
    }
    assert_eq!(shared.peek().remaining(), 1);
    // On the same clock.
    time.advance(Duration::from_secs(60));
    assert!(at_once(ready_and_call(&mut one, 1)).is_ok());

    let keyed = KeyedRateLimiter::<u32>::new(quota, 10).unwrap();
    let layer = RateLimitLayer::keyed(keyed.with_clock(clock), |request: &u32| Some(*request));
    let layer = layer.per_service();
    let (mut one, mut other) = (layer.layer(inner.clone()), layer.layer(inner));
    for service in [&mut one, &mut other] {
        assert!(at_once(ready_and_call(service, 7)).is_ok());
        assert_exceeded(at_once(ready_and_call(service, 7)));
    }
}

#[cfg(feature = "tokio")]
#[test]
fn services_made_per_service_wait_on_their_own() {
    use stanchion_ratelimit::{AsyncRateLimitLayer, Waiting};
    let (_world, inner) = World::new();
    let waiting = Waiting::new(limiter(1).0, Duration::from_secs(60)).unwrap();
    let waiting = waiting.with_waiters_max(1).unwrap();
    let layer = AsyncRateLimitLayer::new(waiting.clone()).per_service();
    let (mut one, mut other) = (layer.layer(inner.clone()), layer.layer(inner));
    let mut waits = Vec::new();
    for service in [&mut one, &mut other] {
        assert!(at_once(ready_and_call(service, 1)).is_ok());
        let mut second = Box::pin(ready_and_call(service, 1));
        assert!(poll(second.as_mut()).is_pending());
        waits.push(second);
        assert!(at_once(ready_and_call(service, 1)).is_err());
    }
    assert_eq!(waiting.snapshot().waited, 0);
}
