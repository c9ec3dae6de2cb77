//! A limit for each key, and what becomes of requests without one.

use std::sync::{Arc, Mutex};

use stanchion_core::Clock;
use stanchion_ratelimit::{Event, KeyedRateLimiter, MissingKey, Quota, RateLimitLayer};
use tower::Layer;

use super::*;

type Heard = Arc<Mutex<Vec<Option<Reason>>>>;

/// One request per key and minute; notes refusals by their reason, and overflows as `None`.
fn keyed(max_keys: usize) -> (KeyedRateLimiter<u32>, Heard) {
    let heard = Heard::default();
    let notes = heard.clone();
    let observer = move |event: &Event| {
        notes.lock().unwrap().push(match event {
            Event::Rejected(rejected) => Some(rejected.reason()),
            _ => None,
        });
    };
    let limiter = KeyedRateLimiter::new("1/m".parse::<Quota>().unwrap(), max_keys).unwrap();
    let limiter = limiter
        .with_clock(Clock::manual().0)
        .with_observer(observer);
    (limiter, heard)
}

/// Requests from 1000 on have no key.
fn key(request: &u32) -> Option<u32> {
    (*request < 1_000).then_some(*request)
}

#[test]
fn each_key_has_a_bucket_of_its_own() {
    let (world, inner) = World::new();
    let (limiter, heard) = keyed(100);
    let mut service = RateLimitLayer::keyed(limiter, key).layer(inner);
    for request in 0..10 {
        assert!(at_once(ready_and_call(&mut service, request)).is_ok());
    }
    for request in 0..10 {
        assert_exceeded(at_once(ready_and_call(&mut service, request)));
    }
    assert_eq!(world.probe.calls(), 10);
    assert_eq!(*heard.lock().unwrap(), [Some(Reason::Exceeded); 10]);
    world.strict.assert_idle();
}

#[test]
fn a_request_without_a_key_is_refused_unless_told_otherwise() {
    let (world, inner) = World::new();
    let (limiter, heard) = keyed(100);
    let mut service = RateLimitLayer::keyed(limiter, key).layer(inner);
    let error = at_once(ready_and_call(&mut service, 1_000)).unwrap_err();
    let refused = rejected(&error);
    assert_eq!(refused.reason(), Reason::NoKey);
    assert_eq!(refused.retry_after(), None);
    assert_eq!(refused.status(), None);
    assert_eq!(world.strict.reservations(), 0);
    assert_eq!(*heard.lock().unwrap(), [Some(Reason::NoKey)]);
}

#[test]
fn requests_without_a_key_can_share_one_bucket() {
    let (world, inner) = World::new();
    let (limiter, heard) = keyed(100);
    let layer = RateLimitLayer::keyed(limiter.clone(), key).on_missing_key(MissingKey::Share);
    // Of all services that the layer makes, and beside the keys' own buckets.
    let mut services = [layer.layer(inner.clone()), layer.clone().layer(inner)];
    assert!(at_once(ready_and_call(&mut services[0], 1_000)).is_ok());
    assert_exceeded(at_once(ready_and_call(&mut services[1], 1_001)));
    assert_exceeded(at_once(ready_and_call(&mut services[0], 1_002)));
    assert!(at_once(ready_and_call(&mut services[1], 1)).is_ok());
    assert_eq!(limiter.count_keys(), 1);
    assert_eq!(world.probe.calls(), 2);
    assert_eq!(*heard.lock().unwrap(), [Some(Reason::Exceeded); 2]);
}

#[test]
fn requests_without_a_key_can_pass_uncounted() {
    let (world, inner) = World::new();
    let (limiter, heard) = keyed(100);
    let layer = RateLimitLayer::keyed(limiter.clone(), key).on_missing_key(MissingKey::Pass);
    let mut service = layer.layer(inner);
    for request in 1_000..1_010 {
        assert!(at_once(ready_and_call(&mut service, request)).is_ok());
    }
    assert!(at_once(ready_and_call(&mut service, 1)).is_ok());
    assert_exceeded(at_once(ready_and_call(&mut service, 1)));
    assert_eq!(limiter.count_keys(), 1);
    assert_eq!(world.probe.calls(), 11);
    assert_eq!(*heard.lock().unwrap(), [Some(Reason::Exceeded)]);
}

#[test]
fn keys_are_limited_in_both_kinds_of_readiness_and_answered_either_way() {
    let (world, inner) = World::new();
    let (limiter, _) = keyed(100);
    let mut service = RateLimitLayer::keyed(limiter, key)
        .respond_with(|rejected: &Rejected, _: u32| match rejected.reason() {
            Reason::NoKey => 400,
            _ => 429,
        })
        .on_missing_key(MissingKey::Refuse)
        .propagate_readiness()
        .layer(inner);
    let answers: Vec<_> = [7, 7, 8, 1_000]
        .map(|request| at_once(ready_and_call(&mut service, request)))
        .into();
    assert_eq!(answers, [Ok(14), Ok(429), Ok(16), Ok(400)]);
    drop(service);
    world.strict.assert_idle();
}

#[test]
fn an_observer_hears_of_keys_that_found_no_room() {
    let (world, inner) = World::new();
    let (limiter, heard) = keyed(1);
    let mut service = RateLimitLayer::keyed(limiter.clone(), key).layer(inner);
    for request in 0..100 {
        drop(ready_and_call(&mut service, request));
    }
    let overflowed = limiter.snapshot().overflowed;
    let heard = heard.lock().unwrap();
    assert!(overflowed > 80, "{overflowed} of 100 in a table of eight");
    let overflows = heard.iter().filter(|reason| reason.is_none()).count();
    assert_eq!(overflows as u64, overflowed);
    // The overflow cell admits one, and refuses the others.
    let refused = heard.iter().flatten().count();
    assert_eq!(refused as u64, overflowed - 1);
    world.strict.assert_idle();
}
