//! The layer whose limiter may have to ask elsewhere: the service card, with decisions that wait.

use std::future::Future;
use std::pin::{Pin, pin};

use stanchion_ratelimit::{
    AsyncLimiter, AsyncRateLimitLayer, KeyedRateLimiter, MissingKey, RateLimiter, Rejected, Status,
};
use testkit::{Gate, drop_at_every_await_in};
use tower::Layer;

use super::*;

/// A limiter that answers when its gate lets it.
#[derive(Clone, Debug)]
struct Slow {
    gate: Gate,
    limiter: RateLimiter,
}

impl Slow {
    /// The gate is open.
    fn new(burst: u64) -> Self {
        let gate = Gate::new();
        gate.stay_open();
        let (limiter, _time) = limiter(burst);
        Self { gate, limiter }
    }
}

impl AsyncLimiter<u32> for Slow {
    type Decision = Pin<Box<dyn Future<Output = Result<Option<Status>, Rejected>> + Send>>;

    fn decide(&self, _key: &u32, cost: u64) -> Self::Decision {
        let Self { gate, limiter } = self.clone();
        Box::pin(async move {
            gate.pass().await;
            limiter.check_n(cost).map(Some)
        })
    }
}

/// Odd requests have a key.
fn odd(request: &u32) -> Option<u32> {
    (request % 2 == 1).then_some(*request)
}

#[test]
fn a_request_is_called_once_it_is_admitted_and_never_when_it_is_refused() {
    let (world, inner) = World::new();
    let slow = Slow::new(1);
    slow.gate.close();
    let mut service = AsyncRateLimitLayer::keyed(slow.clone(), odd).layer(inner);
    let mut call = Box::pin(ready_and_call(&mut service, 1));
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(world.strict.calls(), 0);
    slow.gate.stay_open();
    assert_eq!(at_once(call).unwrap(), 2);
    for request in [3, 5, 7] {
        assert_exceeded(at_once(ready_and_call(&mut service, request)));
    }
    assert_eq!(world.probe.take_requests(), [1]);
    assert_eq!(world.strict.reservations(), 1);
    world.strict.assert_idle();
}

#[test]
fn a_stuck_inner_service_does_not_hide_refusals() {
    let (world, inner) = World::new();
    world.probe.not_ready();
    let mut service = AsyncRateLimitLayer::keyed(Slow::new(1), odd).layer(inner);
    let mut admitted = pin!(ready_and_call(&mut service, 1));
    assert!(poll(admitted.as_mut()).is_pending());
    assert_exceeded(at_once(ready_and_call(&mut service, 3)));
    world.probe.ready();
    assert_eq!(at_once(admitted).unwrap(), 2);
    world.strict.assert_clean();
}

#[test]
fn a_request_without_a_key_is_refused_or_passes_uncounted() {
    let (world, inner) = World::new();
    let slow = Slow::new(1);
    let layer = AsyncRateLimitLayer::keyed(slow.clone(), odd);
    let mut refusing = layer.clone().layer(inner.clone());
    let error = at_once(ready_and_call(&mut refusing, 2)).unwrap_err();
    assert_eq!(rejected(&error).reason(), Reason::NoKey);
    let mut passing = layer.on_missing_key(MissingKey::Pass).layer(inner);
    for _ in 0..3 {
        assert_eq!(at_once(ready_and_call(&mut passing, 2)).unwrap(), 4);
    }
    assert_eq!(slow.limiter.peek().remaining(), 1);
    world.strict.assert_idle();
}

#[test]
fn requests_without_a_key_can_share_one_bucket() {
    let (world, inner) = World::new();
    let quota = Quota::new(1, Duration::from_secs(60)).unwrap();
    let limiter = KeyedRateLimiter::<u32>::new(quota, 100).unwrap();
    let limiter = limiter.with_clock(Clock::manual().0);
    let layer = AsyncRateLimitLayer::keyed(limiter, odd).on_missing_key(MissingKey::Share);
    // Of all services that the layer makes, and beside the keys' own buckets.
    let mut services = [layer.layer(inner.clone()), layer.clone().layer(inner)];
    assert_eq!(at_once(ready_and_call(&mut services[0], 0)).unwrap(), 0);
    assert_exceeded(at_once(ready_and_call(&mut services[1], 2)));
    assert_exceeded(at_once(ready_and_call(&mut services[0], 4)));
    assert_eq!(at_once(ready_and_call(&mut services[1], 1)).unwrap(), 2);
    assert_exceeded(at_once(ready_and_call(&mut services[0], 1)));
    world.strict.assert_idle();
}

/// A quota by key has none to ask for.
#[test]
fn requests_without_a_key_share_by_the_common_quota() {
    let (_world, inner) = World::new();
    let common = "1/m burst 2".parse::<Quota>().unwrap();
    let own = |_: &u32| Some("1/m burst 9".parse::<Quota>().unwrap());
    let limiter = KeyedRateLimiter::per_key(common, own, 100).unwrap();
    let limiter = limiter.with_clock(Clock::manual().0);
    let layer = AsyncRateLimitLayer::keyed(limiter, odd).on_missing_key(MissingKey::Share);
    let mut service = layer.layer(inner);
    assert!(at_once(ready_and_call(&mut service, 0)).is_ok());
    assert!(at_once(ready_and_call(&mut service, 0)).is_ok());
    let refused = at_once(ready_and_call(&mut service, 0)).unwrap_err();
    assert_eq!(rejected(&refused).status().unwrap().limit(), 2);
}

/// Where there is no bucket for them.
#[test]
fn a_limiter_that_cannot_share_refuses() {
    let (world, inner) = World::new();
    let layer = AsyncRateLimitLayer::keyed(Slow::new(9), odd).on_missing_key(MissingKey::Share);
    let error = at_once(ready_and_call(&mut layer.layer(inner), 2)).unwrap_err();
    assert_eq!(rejected(&error).reason(), Reason::NoKey);
    assert_eq!(world.strict.reservations(), 0);
}

#[test]
fn respond_with_hears_the_refusal_and_gets_the_request() {
    let (_world, inner) = World::new();
    let respond = |rejected: &Rejected, request: u32| {
        assert_eq!(rejected.reason(), Reason::Exceeded);
        request + 1_000
    };
    let layer = AsyncRateLimitLayer::keyed(Slow::new(1), odd).respond_with(respond);
    let mut service = layer.layer(inner);
    assert_eq!(at_once(ready_and_call(&mut service, 1)), Ok(2));
    assert_eq!(at_once(ready_and_call(&mut service, 7)), Ok(1_007));
}

#[test]
fn services_of_one_layer_share_the_limiter_and_local_ones_fit_too() {
    let (_world, inner) = World::new();
    let layer = AsyncRateLimitLayer::keyed(limiter(1).0, odd);
    let (mut one, mut other) = (layer.layer(inner.clone()), layer.layer(inner));
    assert_eq!(at_once(ready_and_call(&mut one, 1)).unwrap(), 2);
    assert_exceeded(at_once(ready_and_call(&mut other, 3)));
    assert_exceeded(at_once(ready_and_call(&mut one.clone(), 3)));
}

/// Three times pending: for the decision, the readiness of the clone, and the answer.
#[test]
fn a_future_dropped_anywhere_gives_everything_back() {
    let slow = Slow::new(100);
    let drops = drop_at_every_await_in(|| {
        let (world, inner) = World::new();
        world.gate.close();
        world.probe.not_ready();
        slow.gate.close();
        let future = AsyncRateLimitLayer::keyed(slow.clone(), odd)
            .layer(inner)
            .call(1);
        (world, future)
    })
    .nudge(|world| {
        if !slow.gate.open_one() {
            world.probe.ready();
            world.gate.open_one();
        }
    })
    .check(|world| {
        world.strict.assert_idle();
        assert_eq!((world.gate.waiting(), slow.gate.waiting()), (0, 0));
    });
    assert_eq!(drops, 7);
}

#[test]
fn readiness_is_passed_on_and_given_back_with_a_refusal() {
    let (world, inner) = World::new();
    world.probe.not_ready();
    let layer = AsyncRateLimitLayer::keyed(Slow::new(1), odd).propagate_readiness();
    let mut service = layer.layer(inner);
    let waker = Waker::noop();
    let ready = Service::<u32>::poll_ready(&mut service, &mut Context::from_waker(waker));
    assert!(ready.is_pending());
    world.probe.ready();
    assert_eq!(at_once(ready_and_call(&mut service, 1)).unwrap(), 2);
    assert_exceeded(at_once(ready_and_call(&mut service, 3)));
    world.strict.assert_idle();
    assert_eq!(world.probe.take_requests(), [1]);
}

#[test]
fn a_readied_instance_dropped_with_its_call_gives_everything_back() {
    let slow = Slow::new(100);
    let drops = drop_at_every_await_in(|| {
        let (world, inner) = World::new();
        world.gate.close();
        slow.gate.close();
        let layer = AsyncRateLimitLayer::keyed(slow.clone(), odd).propagate_readiness();
        let future = ready_and_call(&mut layer.layer(inner), 1);
        (world, future)
    })
    .nudge(|world| {
        if !slow.gate.open_one() {
            world.gate.open_one();
        }
    })
    .check(|world| world.strict.assert_idle());
    assert_eq!(drops, 5);
}

#[test]
#[should_panic(expected = "call without poll_ready")]
fn a_call_without_readiness_is_a_bug_of_the_caller() {
    let (_world, inner) = World::new();
    let layer = AsyncRateLimitLayer::keyed(Slow::new(1), odd).propagate_readiness();
    drop(layer.layer(inner).call(1));
}
