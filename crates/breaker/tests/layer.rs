//! The service card: what a breaker owes tower, for both kinds of readiness.
#![cfg(feature = "tower")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stanchion_breaker::{
    BoxError, Breaker, BreakerLayer, CancelPolicy, Config, HalfOpen, OpenTime, Rejected, State,
    Window,
};
use stanchion_core::{Clock, ManualClock, Outcome};
use testkit::{Gate, Probe, Strict, StrictHandle, drop_at_every_await_in};
use tower::{Layer, Service};

type Inner = Strict<testkit::Gated<Probe<u32, u32, Broken>>>;

const S: Duration = Duration::from_secs(1);

/// The error of the inner service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

/// An inner service with all that moves and watches it.
struct World {
    probe: Probe<u32, u32, Broken>,
    gate: Gate,
    strict: StrictHandle,
}

/// Doubles its requests; the gate is open.
fn world() -> (World, Inner) {
    let probe = Probe::answering(|request: u32| Ok(request * 2)).recording();
    let gate = Gate::new();
    gate.stay_open();
    let inner = Strict::new(gate.before(probe.clone()));
    let strict = inner.handle();
    let world = World {
        probe,
        gate,
        strict,
    };
    (world, inner)
}

/// Opens with the second of two failures; one trial decides.
fn breaker() -> (Breaker, ManualClock) {
    breaker_with(|config| config)
}

fn breaker_with(change: impl FnOnce(Config) -> Config) -> (Breaker, ManualClock) {
    let (clock, time) = Clock::manual();
    let config = Config::new(Window::calls(2).unwrap());
    let config = config.with_half_open(HalfOpen::new(1).unwrap());
    (Breaker::new(change(config)).with_clock(clock), time)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn at_once<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future has to be ready at once"),
    }
}

fn ready_and_call<Sv: Service<Req>, Req>(service: &mut Sv, request: Req) -> Sv::Future {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    service.call(request)
}

fn assert_rejected(answer: Result<u32, BoxError>) {
    assert!(answer.unwrap_err().is::<Rejected>());
}

#[test]
fn failures_open_it_and_a_refusal_never_touches_the_inner_service() {
    let (world, inner) = world();
    world.probe.answer_with(|_| Err(Broken));
    let (breaker, _time) = breaker();
    let mut service = BreakerLayer::new(breaker.clone()).layer(inner);
    for request in 1..=2 {
        let error = at_once(ready_and_call(&mut service, request)).unwrap_err();
        assert!(error.is::<Broken>());
    }
    assert_eq!(breaker.state(), State::Open);
    for request in 3..10 {
        assert_rejected(at_once(ready_and_call(&mut service, request)));
    }
    assert_eq!((world.strict.calls(), world.strict.reservations()), (2, 2));
    assert_eq!(world.probe.take_requests(), [1, 2]);
    world.strict.assert_idle();
}

#[test]
fn it_closes_again_by_a_trial_through_the_layer() {
    let (world, inner) = world();
    let (breaker, time) = breaker();
    let mut service = BreakerLayer::new(breaker.clone()).layer(inner);
    breaker.open();
    time.advance(6 * S);
    assert_eq!(at_once(ready_and_call(&mut service, 4)).unwrap(), 8);
    assert_eq!(breaker.state(), State::Closed);
    world.strict.assert_idle();
}

#[test]
fn a_stuck_inner_service_does_not_hide_refusals() {
    let (world, inner) = world();
    world.probe.not_ready();
    let (breaker, _time) = breaker();
    let mut service = BreakerLayer::new(breaker.clone()).layer(inner);
    let mut stuck = pin!(ready_and_call(&mut service, 1));
    assert!(poll(stuck.as_mut()).is_pending());
    breaker.open();
    assert_rejected(at_once(ready_and_call(&mut service, 2)));
    world.probe.ready();
    assert_eq!(at_once(stuck).unwrap(), 2);
    world.strict.assert_clean();
}

#[test]
fn an_error_of_the_inner_readiness_counts_and_comes_from_the_future() {
    let (world, inner) = world();
    world.probe.fail_readiness(|| Broken);
    let (breaker, _time) = breaker();
    let mut service = BreakerLayer::new(breaker.clone()).layer(inner);
    for _ in 0..2 {
        let error = at_once(ready_and_call(&mut service, 1)).unwrap_err();
        assert!(error.is::<Broken>());
    }
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_classifier_judges_responses() {
    let (world, inner) = world();
    let (breaker, _time) = breaker();
    let layer = BreakerLayer::new(breaker.clone());
    let odd = |result: Result<&u32, &Broken>| match result {
        Ok(20) => Outcome::Overload,
        Ok(30) => Outcome::Ignore,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Failure,
    };
    let mut service = layer.classify(odd).layer(inner);
    for request in [15, 15, 10] {
        at_once(ready_and_call(&mut service, request)).unwrap();
    }
    assert_eq!(breaker.snapshot().calls, 1);
    at_once(ready_and_call(&mut service, 10)).unwrap();
    assert_eq!(breaker.state(), State::Open);
    world.strict.assert_idle();
}

#[test]
fn what_the_dependency_asks_for_is_heeded() {
    let (world, inner) = world();
    world.probe.answer_with(|_| Err(Broken));
    let (breaker, _time) = breaker_with(|config| {
        let open_time = OpenTime::fixed(S)
            .unwrap()
            .with_retry_after(60 * S)
            .unwrap();
        config.with_open_time(open_time)
    });
    let read = |result: Result<&u32, &Broken>| result.is_err().then_some(30 * S);
    let layer = BreakerLayer::new(breaker.clone()).retry_after(read);
    let mut service = layer.layer(inner);
    for _ in 0..2 {
        at_once(ready_and_call(&mut service, 1)).unwrap_err();
    }
    assert_eq!(
        breaker.snapshot().open_for,
        Some(30 * S + Duration::from_nanos(1))
    );
}

#[test]
fn respond_with_hears_the_refusal_and_leaves_the_error_type_alone() {
    let (world, inner) = world();
    let (breaker, _time) = breaker();
    let respond = |rejected: &Rejected, request: u32| {
        assert_eq!(rejected.state(), State::ForcedOpen);
        request + 1_000
    };
    let layer = BreakerLayer::new(breaker.clone()).respond_with(respond);
    let mut service = layer.layer(inner);
    world.probe.answer_with(|_| Err(Broken));
    assert_eq!(at_once(ready_and_call(&mut service, 1)), Err(Broken));
    breaker.force_open();
    assert_eq!(at_once(ready_and_call(&mut service, 7)), Ok(1_007));
}

#[test]
fn all_services_of_a_layer_share_its_breaker() {
    let (breaker, _time) = breaker();
    let layer = BreakerLayer::new(breaker.clone());
    let (mut one, mut other) = (layer.layer(world().1), layer.clone().layer(world().1));
    breaker.force_open();
    assert_rejected(at_once(ready_and_call(&mut one, 1)));
    assert_rejected(at_once(ready_and_call(&mut other, 1)));
    assert_eq!(breaker.snapshot().rejected_total, 2);
}

#[test]
fn passed_on_readiness_is_kept_over_a_refusal() {
    let (world, inner) = world();
    let (breaker, _time) = breaker();
    let layer = BreakerLayer::new(breaker.clone()).propagate_readiness();
    let mut service = layer.layer(inner);
    breaker.force_open();
    assert_rejected(at_once(ready_and_call(&mut service, 1)));
    breaker.reset();
    assert_eq!(at_once(ready_and_call(&mut service, 2)).unwrap(), 4);
    assert_eq!((world.strict.reservations(), world.strict.calls()), (1, 1));
    world.strict.assert_idle();
}

#[test]
fn passed_on_readiness_waits_for_the_inner_service() {
    let (world, inner) = world();
    world.probe.not_ready();
    let mut service = BreakerLayer::new(breaker().0)
        .propagate_readiness()
        .layer(inner);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Service::<u32>::poll_ready(&mut service, &mut cx).is_pending());
    world.probe.ready();
    assert_eq!(at_once(ready_and_call(&mut service, 2)).unwrap(), 4);
}

/// Half-open with one trial, dropped wherever it may be: the next call gets the trial.
#[test]
fn a_dropped_trial_is_given_back_at_every_await() {
    let drops = drop_at_every_await_in(|| {
        let (world, inner) = world();
        world.gate.close();
        let (breaker, time) = breaker();
        breaker.open();
        time.advance(6 * S);
        let mut service = BreakerLayer::new(breaker.clone()).layer(inner);
        let call = ready_and_call(&mut service, 1);
        ((world, breaker), async move {
            let _ = call.await;
        })
    })
    .nudge(|(world, _)| {
        world.gate.open_one();
    })
    .check(|(world, breaker)| {
        world.strict.assert_idle();
        if breaker.state() == State::HalfOpen {
            assert_eq!(breaker.snapshot().trials_in_flight, 0);
            assert!(breaker.try_acquire().is_ok());
        }
    });
    assert!(drops > 2, "{drops}");
}

/// The same where the instance that was readied is called.
#[test]
fn a_dropped_trial_is_given_back_where_readiness_is_passed_on() {
    let drops = drop_at_every_await_in(|| {
        let (world, inner) = world();
        world.gate.close();
        let (breaker, time) = breaker();
        breaker.open();
        time.advance(6 * S);
        let layer = BreakerLayer::new(breaker.clone()).propagate_readiness();
        let mut service = layer.layer(inner);
        ((world, breaker), async move {
            let ready = poll_fn(|cx| Service::<u32>::poll_ready(&mut service, cx));
            if ready.await.is_ok() {
                let _ = service.call(1).await;
            }
        })
    })
    .nudge(|(world, _)| {
        world.gate.open_one();
    })
    .check(|(world, breaker)| {
        world.strict.assert_idle();
        if breaker.state() != State::Closed {
            let trial = breaker.try_acquire();
            assert!(trial.is_ok(), "{trial:?}");
        }
    });
    assert!(drops > 2, "{drops}");
}

#[test]
fn a_clone_is_not_ready_because_its_original_is() {
    let (world, inner) = world();
    let layer = BreakerLayer::new(breaker().0).propagate_readiness();
    let mut service = layer.layer(inner);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(
        Service::<u32>::poll_ready(&mut service, &mut cx),
        Poll::Ready(Ok(()))
    ));
    let mut clone = service.clone();
    assert_eq!(at_once(ready_and_call(&mut clone, 2)).unwrap(), 4);
    assert_eq!(at_once(service.call(3)).unwrap(), 6);
    assert_eq!((world.strict.reservations(), world.strict.calls()), (2, 2));
    world.strict.assert_idle();
}

#[test]
fn a_dropped_call_counts_by_the_cancel_policy() {
    let (world, inner) = world();
    world.gate.close();
    let (breaker, _time) = breaker_with(|config| config.with_cancel_policy(CancelPolicy::Failure));
    let mut service = BreakerLayer::new(breaker.clone()).layer(inner);
    for _ in 0..2 {
        let mut call = Box::pin(ready_and_call(&mut service, 1));
        assert!(poll(call.as_mut()).is_pending());
        drop(call);
    }
    assert_eq!(breaker.state(), State::Open);
    world.strict.assert_idle();
}
