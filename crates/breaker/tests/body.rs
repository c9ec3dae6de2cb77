//! Verdicts at the end of a body: trailers, broken bodies, dropped ones.
#![cfg(feature = "http")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Response;
use http_body::Body;
use stanchion_breaker::{
    Breaker, BreakerLayer, CancelPolicy, Config, HalfOpen, OpenTime, Ratio, Rejected, SlowCalls,
    State, Window,
};
use stanchion_core::{Classify, Clock, End, Outcome, Verdict};
use testkit::{Part, Parts};
use tower::{Layer, ServiceExt, service_fn};

struct GrpcStatus;

impl<Res, Err> Classify<Response<Res>, Err> for GrpcStatus {
    fn classify(&self, result: Result<&Response<Res>, &Err>) -> Verdict {
        match result {
            Ok(response) if response.status().is_server_error() => Outcome::Failure.into(),
            Ok(_) => Verdict::AtEnd,
            Err(_) => Outcome::Failure.into(),
        }
    }

    fn at_end(&self, end: End<'_>) -> Outcome {
        match end {
            End::Complete(trailers) => match trailers.get("grpc-status") {
                Some(b"0") | None => Outcome::Success,
                Some(b"8") => Outcome::Overload,
                Some(_) => Outcome::Failure,
            },
            End::Broken(error) => {
                assert_eq!(error.to_string(), "cut off");
                Outcome::Failure
            }
            _ => Outcome::Ignore,
        }
    }
}

/// Opens with the first failure; one trial decides.
fn config() -> Config {
    Config::consecutive_failures(NonZeroU32::MIN).with_half_open(HalfOpen::new(1).unwrap())
}

/// Calls once through `breaker`, and reads so much of the body that comes as it gives at once.
async fn read(breaker: &Breaker, parts: &[Part]) -> (usize, impl Body + use<>) {
    let parts = Parts::new(parts);
    let inner = service_fn(move |()| {
        let response = Response::new(parts.clone());
        async { Ok::<_, Infallible>(response) }
    });
    let layer = BreakerLayer::new(breaker.clone()).classify_body(GrpcStatus);
    let response = layer.layer(inner).oneshot(()).await.unwrap();
    let mut body = Box::pin(response.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    let mut frames = 0;
    // As servers do, which ask no further once they are told that this is the end.
    while !body.is_end_stream()
        && let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx)
    {
        frames += 1;
        if frame.is_err() {
            break;
        }
    }
    (frames, body)
}

#[tokio::test]
async fn trailers_and_broken_bodies_decide() {
    use Part::{Break, Data, Status};
    for (parts, frames, opens) in [
        (&[][..], 0, false),
        (&[Data, Data], 2, false),
        (&[Data, Status("0")], 2, false),
        (&[Status("8")], 1, true),
        (&[Data, Status("13")], 2, true),
        (&[Data, Break], 2, true),
    ] {
        let breaker = Breaker::new(config());
        let (read, _body) = read(&breaker, parts).await;
        assert_eq!(read, frames, "{parts:?}");
        assert_eq!(breaker.state() == State::Open, opens, "{parts:?}");
        assert_eq!(breaker.snapshot().late_total, 0);
    }
}

#[tokio::test]
async fn a_trial_lasts_as_long_as_its_body() {
    let (clock, time) = Clock::manual();
    let breaker = Breaker::new(config()).with_clock(clock);
    let again = || {
        breaker.open();
        time.advance(std::time::Duration::from_secs(6));
    };
    again();
    let (_, body) = read(&breaker, &[Part::Data, Part::Hang]).await;
    assert_eq!(breaker.snapshot().trials_in_flight, 1);
    assert!(breaker.try_acquire().is_err(), "the trial is taken");
    drop(body);
    assert_eq!(breaker.snapshot().trials_in_flight, 0, "given back");
    let (..) = read(&breaker, &[Part::Data]).await;
    assert_eq!(breaker.state(), State::Closed);
    again();
    // Nobody polls a body that is over from the beginning.
    let (..) = read(&breaker, &[]).await;
    assert_eq!(breaker.state(), State::Closed);
    again();
    let (..) = read(&breaker, &[Part::Data, Part::Break]).await;
    assert_eq!(breaker.state(), State::Open);
}

/// How fast a body is read is up to the caller: whoever reads slowly must not open the breaker, and
/// whoever waits for the head must.
#[tokio::test]
async fn a_call_is_slow_by_its_head_and_not_by_who_reads_its_body() {
    let second = Duration::from_secs(1);
    let slow = SlowCalls::new(second, Ratio::ALL).unwrap();
    let config = Config::new(Window::calls(4).unwrap());
    let config = config.with_min_calls(1).unwrap();
    for slow in [slow, slow.counting_in_flight()] {
        let (clock, time) = Clock::manual();
        let config = config.clone().with_slow_calls(slow).unwrap();
        let config = config.with_cancel_policy(CancelPolicy::FailureIfOlderThan(second));
        let breaker = Breaker::new(config).with_clock(clock);
        let (_, body) = read(&breaker, &[Part::Data, Part::Hang]).await;
        time.advance(10 * second);
        assert_eq!(breaker.snapshot().hanging, 0);
        drop(body);
        assert_eq!(
            breaker.snapshot().calls,
            0,
            "it was dropped, but not waited for"
        );
        let mut permit = breaker.try_acquire_owned().unwrap();
        permit.answered();
        time.advance(10 * second);
        permit.record(Outcome::Success);
        assert_eq!((breaker.snapshot().calls, breaker.snapshot().slow), (1, 0));

        let mut permit = breaker.try_acquire().unwrap();
        time.advance(2 * second);
        permit.answered();
        permit.record(Outcome::Success);
        assert_eq!((breaker.snapshot().calls, breaker.snapshot().slow), (2, 1));
    }
}

/// Dropped before its end, wherever that is: by the cancel policy, since the classifier says
/// nothing of it.
#[tokio::test]
async fn a_dropped_body_counts_by_the_cancel_policy() {
    for (policy, opens) in [(CancelPolicy::Ignore, false), (CancelPolicy::Failure, true)] {
        for parts in [&[Part::Hang][..], &[Part::Data, Part::Hang]] {
            let breaker = Breaker::new(config().with_cancel_policy(policy));
            let (_, body) = read(&breaker, parts).await;
            assert_eq!(breaker.state(), State::Closed);
            drop(body);
            assert_eq!(
                breaker.state() == State::Open,
                opens,
                "{policy:?} {parts:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_was_asked_for_in_the_head_is_heeded_at_the_end() {
    let minute = std::time::Duration::from_secs(60);
    let open_time = OpenTime::default().with_retry_after(minute).unwrap();
    let breaker = Breaker::new(config().with_open_time(open_time)).with_clock(Clock::manual().0);
    let inner =
        service_fn(|()| async { Ok::<_, Infallible>(Response::new(Parts::new(&[Part::Break]))) });
    let layer = BreakerLayer::new(breaker.clone())
        .classify_body(GrpcStatus)
        .retry_after(move |_: Result<&Response<Parts>, &Infallible>| Some(minute));
    let response = layer.layer(inner).oneshot(()).await.unwrap();
    let mut body = Box::pin(response.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(
        body.as_mut().poll_frame(&mut cx),
        Poll::Ready(Some(Err(_)))
    ));
    let wait = breaker.try_acquire().unwrap_err().retry_after().unwrap();
    assert!(
        wait > minute - std::time::Duration::from_secs(1),
        "{wait:?}"
    );
}

#[tokio::test]
async fn answers_to_refusals_have_the_same_kind_of_body() {
    let breaker = Breaker::new(config());
    breaker.force_open();
    let inner = service_fn(|()| async { Ok::<_, Infallible>(Response::new(Parts::default())) });
    let layer = BreakerLayer::new(breaker.clone())
        .classify_body(GrpcStatus)
        .respond_with(|_: &Rejected, ()| Response::new(Parts::new(&[Part::Break])));
    let response = layer.layer(inner).oneshot(()).await.unwrap();
    let mut body = Box::pin(response.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(
        body.as_mut().poll_frame(&mut cx),
        Poll::Ready(Some(Err(_)))
    ));
    assert_eq!(breaker.snapshot().failed_total, 0, "nobody judges it");
}
