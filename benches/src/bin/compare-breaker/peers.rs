//! The peers, built alike, and the loop in which everybody is called.

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use failsafe::failure_policy::{ConsecutiveFailures, SuccessRateOverTimeWindow};
use failsafe::{Config, StateMachine, backoff, failure_policy};
use recloser::Recloser;
use stanchion_benches::Batch;
use tower::{Layer, Service};
use tower_resilience_circuitbreaker::{
    CircuitBreaker, CircuitBreakerLayer, DefaultClassifier, SlidingWindowType,
};

/// Longer than any comparison.
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// Makes so many calls, and says how many passed.
pub(crate) type Calls = Arc<dyn Fn(u64) -> u64 + Send + Sync>;

/// Makes calls of `call`: the loop is compiled together with each contestant's own code.
pub(crate) fn counted(call: impl Fn() -> bool + Send + Sync + 'static) -> Calls {
    Arc::new(move |iterations| {
        let mut passed = 0;
        for _ in 0..iterations {
            passed += u64::from(call());
        }
        passed
    })
}

/// All pass.
pub(crate) fn passing(calls: Calls) -> Batch {
    Box::new(move |iterations| assert_eq!(calls(iterations), iterations, "every call passes"))
}

/// None passes.
pub(crate) fn refused(calls: Calls) -> Batch {
    Box::new(move |iterations| assert_eq!(calls(iterations), 0, "every call is refused"))
}

pub(crate) fn recloser() -> Recloser {
    Recloser::custom().closed_len(100).open_wait(HOUR).build()
}

#[inline(always)]
pub(crate) fn call_recloser(recloser: &Recloser, good: bool) -> bool {
    recloser.call(|| good.then_some(()).ok_or(())).is_ok()
}

pub(crate) fn failsafe_window() -> StateMachine<SuccessRateOverTimeWindow<backoff::Constant>, ()> {
    let policy = failure_policy::success_rate_over_time_window(
        0.5,
        20,
        Duration::from_secs(10),
        backoff::constant(HOUR),
    );
    Config::new().failure_policy(policy).build()
}

pub(crate) fn failsafe_streak() -> StateMachine<ConsecutiveFailures<backoff::Constant>, ()> {
    let policy = failure_policy::consecutive_failures(5, backoff::constant(HOUR));
    Config::new().failure_policy(policy).build()
}

#[inline(always)]
pub(crate) fn call_failsafe(breaker: &impl failsafe::CircuitBreaker, good: bool) -> bool {
    breaker.call(|| good.then_some(()).ok_or(())).is_ok()
}

/// The last 100 calls.
pub(crate) fn resilience() -> CircuitBreaker<Echo, DefaultClassifier> {
    let builder = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .minimum_number_of_calls(20)
        .wait_duration_in_open(HOUR);
    builder.build().expect("valid settings").layer(Echo)
}

/// The calls of the last hour.
pub(crate) fn resilience_time() -> CircuitBreaker<Echo, DefaultClassifier> {
    let builder = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_type(SlidingWindowType::TimeBased)
        .sliding_window_duration(HOUR)
        .minimum_number_of_calls(20)
        .wait_duration_in_open(HOUR);
    builder.build().expect("valid settings").layer(Echo)
}

/// Calls `service` in a loop, as one connection would: the same instance, made ready each time.
/// What is pending is polled again at once. Returns how many were answered.
#[inline(always)]
pub(crate) fn drive<S: Service<bool, Response = ()>>(service: &mut S, calls: u64) -> u64 {
    let mut answered = 0;
    for _ in 0..calls {
        answered += u64::from(call(service, black_box(true)));
    }
    answered
}

/// Makes one call to its end.
#[inline(always)]
pub(crate) fn call<S: Service<bool, Response = ()>>(service: &mut S, good: bool) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    while service.poll_ready(&mut context).is_pending() {}
    let mut future = pin!(service.call(good));
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result.is_ok();
        }
    }
}

/// A service that is always ready, and done at once: well if it is told so.
#[derive(Clone)]
pub(crate) struct Echo;

/// The error of [`Echo`].
#[derive(Debug)]
pub(crate) struct Bad;

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bad")
    }
}

impl std::error::Error for Bad {}

impl Service<bool> for Echo {
    type Response = ();
    type Error = Bad;
    type Future = Ready<Result<(), Bad>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Bad>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, good: bool) -> Self::Future {
        ready(if good { Ok(()) } else { Err(Bad) })
    }
}
