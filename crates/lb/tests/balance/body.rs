//! Calls that last until their body is over.

use std::convert::Infallible;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Response;
use http_body::Body;
use stanchion_core::{Classify, Clock, End, Outcome, Verdict};
use stanchion_lb::policy::PeakEwma;
use stanchion_lb::{Backend, Balance, Balancer, Endpoint};
use testkit::{Part, Parts};
use tower::{ServiceExt, service_fn};

/// Leaves all but server errors to the end.
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
                Some(_) => Outcome::Failure,
            },
            End::Broken(_) => Outcome::Failure,
            _ => Outcome::Ignore,
        }
    }
}

/// What became of a call.
#[derive(Debug, PartialEq)]
enum Call {
    InFlight,
    Succeeded,
    Failed,
}

/// Calls once for a body of these parts, with that status; reads what comes of it at once.
async fn call(parts: &[Part], status: u16, drop_body: bool) -> Call {
    let parts = Parts::new(parts);
    let inner = service_fn(move |()| {
        let response = Response::builder().status(status);
        let response = response.body(parts.clone());
        async { Ok::<_, Infallible>(response.unwrap()) }
    });
    let (clock, time) = Clock::manual();
    let balancer = Balancer::new(PeakEwma::new()).with_clock(clock);
    let endpoint = Endpoint::new("only", Backend::new(0, inner));
    balancer.update([endpoint]).unwrap();
    let balance = Balance::new(balancer.clone()).classify_body(GrpcStatus);
    let response = balance.oneshot(()).await.unwrap();
    time.advance(Duration::from_millis(10));
    let mut body = Box::pin(response.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    // As servers do, which ask no further once they are told that this is the end.
    while !body.is_end_stream()
        && let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx)
    {
        if frame.is_err() {
            break;
        }
    }
    if drop_body {
        drop(body);
    }
    let endpoint = &balancer.snapshot().endpoints[0];
    match endpoint.latency {
        _ if endpoint.in_flight > 0 => Call::InFlight,
        Some(latency) if latency > Duration::from_millis(10) => Call::Failed,
        _ => Call::Succeeded,
    }
}

#[tokio::test]
async fn a_call_is_in_flight_until_its_body_is_over() {
    use Part::{Break, Data, Hang, Status};
    for (parts, becomes) in [
        (&[][..], Call::Succeeded),
        (&[Data, Data], Call::Succeeded),
        (&[Hang], Call::InFlight),
        (&[Data, Hang], Call::InFlight),
        (&[Data, Status("0")], Call::Succeeded),
        (&[Data, Status("13")], Call::Failed),
        (&[Data, Break], Call::Failed),
    ] {
        assert_eq!(call(parts, 200, false).await, becomes, "{parts:?}");
    }
}

#[tokio::test]
async fn what_the_head_says_stands_and_the_body_still_counts() {
    use Part::{Data, Hang};
    assert_eq!(call(&[Data, Hang], 500, false).await, Call::InFlight);
    assert_eq!(call(&[Data], 500, false).await, Call::Failed);
    assert_eq!(call(&[Data, Hang], 500, true).await, Call::Failed);
}

#[tokio::test]
async fn a_dropped_body_ends_its_call() {
    use Part::{Data, Hang};
    assert_ne!(call(&[Hang], 200, true).await, Call::InFlight);
    assert_ne!(call(&[Data, Hang], 200, true).await, Call::InFlight);
}
