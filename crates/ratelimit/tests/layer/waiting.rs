//! Waiting for a slot instead of a refusal: the service card, for both kinds of readiness.

use std::pin::Pin;

use stanchion_ratelimit::{AsyncRateLimitLayer, KeyedRateLimiter, MissingKey, Waiting};
use tower::Layer;

use super::*;

/// One every 100 ms; waits of up to 300 ms, of up to `waiters_max` requests.
fn waiting(waiters_max: usize) -> (Waiting<RateLimiter>, ManualClock) {
    let (clock, time) = Clock::manual();
    let quota: Quota = "10/s burst 1".parse().unwrap();
    let limiter = RateLimiter::new(quota).with_clock(clock);
    let waiting = Waiting::new(limiter, ms(300)).unwrap();
    (waiting.with_waiters_max(waiters_max).unwrap(), time)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn odd(request: &u32) -> Option<u32> {
    (request % 2 == 1).then_some(*request)
}

fn is_pending<F: Future>(future: &mut Pin<Box<F>>) -> bool {
    poll(future.as_mut()).is_pending()
}

#[test]
fn requests_are_served_in_their_order_each_in_its_slot() {
    let (world, inner) = World::new();
    let (waiting, time) = waiting(10);
    let mut service = AsyncRateLimitLayer::new(waiting.clone()).layer(inner);
    assert_eq!(at_once(ready_and_call(&mut service, 0)).unwrap(), 0);
    let mut calls: Vec<_> = (1..=3)
        .map(|request| Box::pin(ready_and_call(&mut service, request)))
        .collect();
    assert!(calls.iter_mut().all(is_pending));
    assert_eq!(waiting.snapshot().waiting, 3);
    for served in 0..3 {
        time.advance(ms(99));
        assert!(calls.iter_mut().all(is_pending));
        time.advance(ms(1));
        assert_eq!(at_once(calls.remove(0)).unwrap(), 2 * (served + 1));
    }
    assert_eq!(world.probe.take_requests(), [0, 1, 2, 3]);
    let snapshot = waiting.snapshot();
    assert_eq!((snapshot.waiting, snapshot.waited), (0, 3));
    world.strict.assert_idle();
}

#[test]
fn who_would_wait_too_long_is_refused_at_once_and_never_called() {
    let (world, inner) = World::new();
    let (waiting, _time) = waiting(10);
    let mut service = AsyncRateLimitLayer::new(waiting).layer(inner);
    assert!(at_once(ready_and_call(&mut service, 0)).is_ok());
    let mut calls: Vec<_> = (1..=3)
        .map(|request| Box::pin(ready_and_call(&mut service, request)))
        .collect();
    assert!(calls.iter_mut().all(is_pending));
    let error = at_once(ready_and_call(&mut service, 4)).unwrap_err();
    assert_eq!(rejected(&error).reason(), Reason::Exceeded);
    assert_eq!(rejected(&error).retry_after(), Some(ms(400)));
    assert_eq!(world.probe.take_requests(), [0]);
    drop(calls);
    world.strict.assert_idle();
}

/// Whoever finds no seat has taken no slot either, so he does not push back who comes later.
#[test]
fn no_more_wait_than_may_and_who_leaves_makes_room() {
    let (_world, inner) = World::new();
    let (waiting, time) = waiting(1);
    let mut service = AsyncRateLimitLayer::new(waiting.clone()).layer(inner);
    assert!(at_once(ready_and_call(&mut service, 0)).is_ok());
    let mut first = Box::pin(ready_and_call(&mut service, 1));
    assert!(is_pending(&mut first));
    for _ in 0..3 {
        let error = at_once(ready_and_call(&mut service, 2)).unwrap_err();
        assert_eq!(rejected(&error).reason(), Reason::TooManyWaiting);
        assert_eq!(rejected(&error).retry_after(), Some(ms(200)));
        assert!(rejected(&error).to_string().contains("waiting"));
    }
    assert_eq!(waiting.snapshot().turned_away, 3);
    drop(first);
    let mut second = Box::pin(ready_and_call(&mut service, 3));
    assert!(is_pending(&mut second));
    time.advance(ms(100));
    assert_eq!(
        at_once(second).unwrap(),
        6,
        "in the slot that was given back"
    );
}

#[test]
fn each_key_waits_in_its_own_line_and_all_on_the_same_seats() {
    let (_world, inner) = World::new();
    let (clock, time) = Clock::manual();
    let quota: Quota = "10/s burst 1".parse().unwrap();
    let limiter = KeyedRateLimiter::<u32>::new(quota, 100).unwrap();
    let waiting = Waiting::new(limiter.with_clock(clock), ms(300)).unwrap();
    let waiting = waiting.with_waiters_max(3).unwrap();
    let layer = AsyncRateLimitLayer::keyed(waiting.clone(), odd);
    let mut service = layer.layer(inner);
    for key in [1, 3, 5] {
        assert_eq!(at_once(ready_and_call(&mut service, key)).unwrap(), 2 * key);
    }
    let mut calls: Vec<_> = [1, 3, 5]
        .map(|key| Box::pin(ready_and_call(&mut service, key)))
        .into();
    assert!(calls.iter_mut().all(is_pending));
    let error = at_once(ready_and_call(&mut service, 5)).unwrap_err();
    assert_eq!(rejected(&error).reason(), Reason::TooManyWaiting);
    let error = at_once(ready_and_call(&mut service, 2)).unwrap_err();
    assert_eq!(rejected(&error).reason(), Reason::NoKey);
    time.advance(ms(100));
    for (call, key) in calls.into_iter().zip([1, 3, 5]) {
        assert_eq!(at_once(call).unwrap(), 2 * key);
    }
}

/// Pending for the slot, for the readiness of the clone, and for the answer.
#[test]
fn a_future_dropped_anywhere_gives_everything_back() {
    let mut left = Vec::new();
    let drops = drop_at_every_await_in(|| {
        let (world, inner) = World::new();
        world.gate.close();
        world.probe.not_ready();
        let (waiting, time) = waiting(10);
        waiting.limiter().check().unwrap();
        let future = AsyncRateLimitLayer::new(waiting.clone())
            .layer(inner)
            .call(1);
        ((world, waiting, time), future)
    })
    .nudge(|(world, waiting, time)| {
        if waiting.snapshot().waiting > 0 {
            time.advance(ms(100));
        } else {
            world.probe.ready();
            world.gate.open_one();
        }
    })
    .check(|(world, waiting, _time)| {
        world.strict.assert_idle();
        assert_eq!(world.gate.waiting(), 0);
        assert_eq!(waiting.snapshot().waiting, 0);
        left.push(waiting.limiter().peek().reset_after());
    });
    assert_eq!(drops, 7);
    // The first went to its end, and the second was never polled. The next two waited: what they
    // had taken, each 100 ms, came back, also where the slot was there and nobody knew yet. The
    // others had been admitted, 100 ms later.
    let waiting = [100, 100, 100, 0];
    assert_eq!(left[..4], waiting.map(ms));
    assert_eq!(left[4..], [ms(100); 4]);
}

#[test]
fn readiness_goes_with_who_waits_and_is_given_back_with_him() {
    let (world, inner) = World::new();
    let (waiting, time) = waiting(10);
    let layer = AsyncRateLimitLayer::new(waiting).propagate_readiness();
    let mut service = layer.layer(inner);
    assert_eq!(at_once(ready_and_call(&mut service, 1)).unwrap(), 2);
    let mut waits = Box::pin(ready_and_call(&mut service, 2));
    let mut leaves = Box::pin(ready_and_call(&mut service, 3));
    assert!(is_pending(&mut waits) && is_pending(&mut leaves));
    assert_eq!(world.strict.reservations(), 3);
    drop(leaves);
    time.advance(ms(100));
    assert_eq!(at_once(waits).unwrap(), 4);
    assert_eq!(world.probe.take_requests(), [1, 2]);
    world.strict.assert_idle();
}

#[test]
fn a_stuck_inner_service_does_not_hide_refusals() {
    let (world, inner) = World::new();
    world.probe.not_ready();
    let (waiting, time) = waiting(1);
    let mut service = AsyncRateLimitLayer::new(waiting).layer(inner);
    let mut stuck = Box::pin(ready_and_call(&mut service, 1));
    let mut waits = Box::pin(ready_and_call(&mut service, 2));
    assert!(is_pending(&mut stuck) && is_pending(&mut waits));
    let error = at_once(ready_and_call(&mut service, 3)).unwrap_err();
    assert_eq!(rejected(&error).reason(), Reason::TooManyWaiting);
    world.probe.ready();
    assert_eq!(at_once(stuck).unwrap(), 2);
    time.advance(ms(100));
    assert_eq!(at_once(waits).unwrap(), 4);
}

#[test]
fn services_of_one_layer_share_slots_and_seats() {
    let (_world, inner) = World::new();
    let (waiting, time) = waiting(1);
    let layer = AsyncRateLimitLayer::new(waiting);
    let (mut one, mut other) = (layer.layer(inner.clone()), layer.layer(inner));
    assert!(at_once(ready_and_call(&mut one, 1)).is_ok());
    let mut waits = Box::pin(ready_and_call(&mut other, 2));
    assert!(is_pending(&mut waits));
    let error = at_once(ready_and_call(&mut one.clone(), 3)).unwrap_err();
    assert_eq!(rejected(&error).reason(), Reason::TooManyWaiting);
    time.advance(ms(100));
    assert_eq!(at_once(waits).unwrap(), 4);
}

#[test]
fn what_cannot_be_waited_for_is_told_when_it_is_built() {
    for policy in ["sliding-window-counter 2/s", "strict-window 2/s"] {
        let policy: stanchion_ratelimit::Policy = policy.parse().unwrap();
        let refused = Waiting::new(RateLimiter::new(policy), ms(1)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "policy is a {}, must be a token-bucket, leaky-bucket, fixed-window or \
                 sliding-window-log: others promise no slots",
                policy.algorithm()
            )
        );
    }
    let refused = waiting(1).0.with_waiters_max(0).unwrap_err();
    assert_eq!(refused.to_string(), "waiters_max is 0, must be at least 1");
}

/// Nobody races: who came first is served first, also where a later one is polled before him.
#[test]
fn the_order_is_that_of_the_slots_and_not_of_the_polls() {
    let (_world, inner) = World::new();
    let (waiting, time) = waiting(10);
    let mut service = AsyncRateLimitLayer::new(waiting).layer(inner);
    assert!(at_once(ready_and_call(&mut service, 0)).is_ok());
    let mut first = Box::pin(ready_and_call(&mut service, 1));
    let mut second = Box::pin(ready_and_call(&mut service, 2));
    assert!(is_pending(&mut first) && is_pending(&mut second));
    time.advance(ms(100));
    assert!(is_pending(&mut second));
    assert_eq!(at_once(first).unwrap(), 2);
}

#[test]
fn those_without_a_key_wait_in_one_line() {
    let (world, inner) = World::new();
    let (clock, time) = Clock::manual();
    let quota: Quota = "10/s burst 1".parse().unwrap();
    let limiter = KeyedRateLimiter::<u32>::new(quota, 10).unwrap();
    let waiting = Waiting::new(limiter.with_clock(clock), ms(300)).unwrap();
    let layer = AsyncRateLimitLayer::keyed(waiting, odd).on_missing_key(MissingKey::Share);
    let mut service = layer.layer(inner);
    assert_eq!(at_once(ready_and_call(&mut service, 0)).unwrap(), 0);
    let mut second = Box::pin(ready_and_call(&mut service, 2));
    assert!(is_pending(&mut second));
    assert_eq!(at_once(ready_and_call(&mut service, 1)).unwrap(), 2);
    time.advance(ms(100));
    assert_eq!(at_once(second).unwrap(), 4);
    world.strict.assert_idle();
}
