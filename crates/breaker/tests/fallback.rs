//! Another service in place of a refusal, and a breaker for each key, through the layer.
#![cfg(feature = "tower")]

use std::convert::Infallible;
use std::num::NonZeroU32;

use stanchion_breaker::{BoxError, Breaker, BreakerLayer, Config, KeyedBreaker, Rejected, State};
use testkit::{Gate, Probe, Strict, drop_at_every_await_in};
use tower::{Layer, ServiceExt, service_fn};

fn opens_at_once() -> Config {
    Config::consecutive_failures(NonZeroU32::MIN)
}

fn doubling() -> Probe<u32, u32, Infallible> {
    Probe::answering(|request: u32| Ok(request * 2)).recording()
}

#[tokio::test]
async fn a_refused_request_goes_to_the_fallback_and_its_answer_is_not_judged() {
    let primary = service_fn(|_: u32| async { Err::<u32, _>("down") });
    let fallback = service_fn(|request: u32| async move {
        match request {
            0 => Err("nothing here either"),
            _ => Ok(request + 1_000),
        }
    });
    let breaker = Breaker::new(opens_at_once());
    let layer = BreakerLayer::new(breaker.clone()).fallback(fallback);
    let service = layer.layer(primary);
    assert_eq!(service.clone().oneshot(7).await, Err("down"));
    assert_eq!(service.clone().oneshot(7).await, Ok(1_007));
    assert_eq!(service.oneshot(0).await, Err("nothing here either"));
    assert_eq!(breaker.snapshot().failed_total, 1);
    assert_eq!(breaker.snapshot().rejected_total, 2);
}

#[test]
fn the_fallback_is_readied_before_it_is_called_and_dropped_with_the_call() {
    let drops = drop_at_every_await_in(|| {
        let gate = Gate::new();
        let other = Strict::new(gate.before(doubling()));
        let (strict, primary) = (other.handle(), doubling());
        let breaker = Breaker::new(opens_at_once());
        breaker.force_open();
        let layer = BreakerLayer::new(breaker).fallback(other);
        let service = layer.propagate_readiness().layer(primary.clone());
        ((gate, strict, primary), async move {
            assert_eq!(service.oneshot(4).await, Ok(8));
        })
    })
    .nudge(|(gate, ..)| {
        gate.open_one();
    })
    .check(|(_, strict, primary)| {
        strict.assert_idle();
        assert!(
            primary.take_requests().is_empty(),
            "the inner one is left alone"
        );
    });
    assert!(drops > 1, "{drops}");
}

#[tokio::test]
async fn each_key_has_a_breaker_and_who_has_no_key_passes() {
    let keyed = KeyedBreaker::<u32>::new(opens_at_once(), 10).unwrap();
    let by_tens = |request: &u32| (*request >= 10).then_some(request / 10);
    let layer = BreakerLayer::keyed(keyed.clone(), by_tens);
    let failing = service_fn(|_: u32| async { Err::<(), BoxError>("down".into()) });
    let service = layer.layer(failing);
    let is_rejected = async |request| {
        let error = service.clone().oneshot(request).await.unwrap_err();
        error.is::<Rejected>()
    };
    assert!(!is_rejected(11).await);
    assert!(is_rejected(12).await);
    assert!(!is_rejected(21).await);
    for _ in 0..3 {
        assert!(!is_rejected(5).await);
    }
    assert_eq!(keyed.find(&1).unwrap().state(), State::Open);
    assert_eq!(keyed.snapshot().keys, 2);
}

#[tokio::test]
async fn calls_by_key_go_without_a_layer_too() {
    let keyed = KeyedBreaker::<str>::new(opens_at_once(), 1).unwrap();
    let fails = || async { Err::<(), _>("down") };
    assert_eq!(
        keyed.call("a", fails()).await.unwrap_err().to_string(),
        "down"
    );
    let refused = keyed.call("a", fails()).await.unwrap_err();
    assert!(refused.to_string().starts_with("circuit breaker is open"));
    for _ in 0..2 {
        let untracked = keyed.call("b", fails()).await.unwrap_err();
        assert_eq!(untracked.to_string(), "down");
    }
}
