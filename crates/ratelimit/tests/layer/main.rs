//! The service card: what a limiter owes tower, for both kinds of readiness.
#![cfg(feature = "tower")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod composite;
mod deciding;
#[cfg(feature = "http")]
mod http;
mod isolate;
mod keyed;
mod propagate;
mod sharing;
#[cfg(feature = "tokio")]
mod waiting;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stanchion_core::{Clock, ManualClock};
use stanchion_ratelimit::{BoxError, Quota, RateLimiter, Reason, Rejected};
use testkit::{Gate, Probe, Strict, StrictHandle, drop_at_every_await_in};
use tower::Service;

type Inner = Strict<testkit::Gated<Probe<u32, u32, Broken>>>;

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

impl World {
    /// Doubles its requests; the gate is open.
    fn new() -> (Self, Inner) {
        let probe = Probe::answering(|request: u32| Ok(request * 2)).recording();
        let gate = Gate::new();
        gate.stay_open();
        let inner = Strict::new(gate.before(probe.clone()));
        let strict = inner.handle();
        let world = Self {
            probe,
            gate,
            strict,
        };
        (world, inner)
    }
}

/// `burst` at once, and one more each minute of a clock that stands still.
fn limiter(burst: u64) -> (RateLimiter, ManualClock) {
    let (clock, time) = Clock::manual();
    let quota = Quota::new(1, Duration::from_secs(60)).unwrap();
    let quota = quota.with_burst(burst).unwrap();
    (RateLimiter::new(quota).with_clock(clock), time)
}

/// Polls `ready` on a service that is to be ready at once.
#[track_caller]
fn assert_ready<S: Service<u32>>(service: &mut S) {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))));
}

/// Calls a service that is to be ready at once.
#[track_caller]
fn ready_and_call<S: Service<u32>>(service: &mut S, request: u32) -> S::Future {
    assert_ready(service);
    service.call(request)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The answer of a future that is to have one at its first poll.
#[track_caller]
fn at_once<F: Future>(future: F) -> F::Output {
    match poll(std::pin::pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future has to answer at once"),
    }
}

#[track_caller]
fn rejected(error: &BoxError) -> Rejected {
    *error.downcast_ref().expect("the error is a refusal")
}

#[track_caller]
fn assert_exceeded(result: Result<u32, BoxError>) {
    assert_eq!(rejected(&result.unwrap_err()).reason(), Reason::Exceeded);
}
