//! Probes that are tower services.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderName, Request, Response, StatusCode};
use stanchion_core::Clock;
use stanchion_lb::check::{Checked, Checks, HttpProbe, Probe, Probed, ServiceProbe};
use stanchion_lb::policy::RoundRobin;
use stanchion_lb::{Balancer, Endpoint, Health};
use testkit::Strict;

/// What one check by `probe` makes of an endpoint at the address `status`.
fn checked(probe: impl Probe<u16> + Send + Sync + 'static, status: u16) -> Health {
    let (clock, _time) = Clock::manual();
    let balancer = Balancer::new(RoundRobin::new()).with_clock(clock);
    balancer
        .update([Endpoint::new("web-1", status)])
        .expect("as it should be");
    let checks = Checks::default()
        .with_jitter_percent(0)
        .expect("as it should be");
    let mut checking = pin!(balancer.check(checks, probe));
    for _ in 0..5 {
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(checking.as_mut().poll(&mut cx), Poll::Pending);
    }
    balancer.health("web-1").expect("as it should be")
}

async fn answer(request: Request<()>) -> Result<Response<()>, Infallible> {
    let status: u16 = request.uri().path()[1..].parse().expect("as it should be");
    let response = Response::builder().status(status);
    let response = match status {
        203 => response.header("x-busy", "yes"),
        _ => response,
    };
    Ok(response.body(()).expect("as it should be"))
}

fn request(endpoint: &Probed<u16>) -> Result<Request<()>, http::Error> {
    match endpoint.address() {
        0 => Request::get("http://web 1/").body(()),
        status => Request::get(format!("http://web-1/{status}")).body(()),
    }
}

#[test]
fn the_status_decides_and_a_header_may_soften_it() {
    let client = tower::service_fn(answer);
    for (status, health) in [
        (200, Health::Healthy),
        (204, Health::Unhealthy),
        (503, Health::Unhealthy),
        (0, Health::Unhealthy),
    ] {
        assert_eq!(checked(HttpProbe::new(client, request), status), health);
    }
    for (status, health) in [
        (199, Health::Unhealthy),
        (200, Health::Healthy),
        (203, Health::Degraded),
        (204, Health::Healthy),
        (205, Health::Unhealthy),
    ] {
        let probe = HttpProbe::new(client, request)
            .with_expected(StatusCode::OK..=StatusCode::NO_CONTENT)
            .unwrap()
            .with_degraded_header(HeaderName::from_static("x-busy"));
        assert_eq!(checked(probe, status), health, "{status}");
    }
    let empty =
        HttpProbe::new(client, request).with_expected(StatusCode::NO_CONTENT..=StatusCode::OK);
    assert_eq!(
        empty.unwrap_err().to_string(),
        "expected is 204 to 200, must be a range that is not empty"
    );
}

#[test]
fn a_service_is_asked_when_it_is_ready_and_its_errors_are_failures() {
    let service = tower::service_fn(async |endpoint: Probed<u16>| match *endpoint.address() {
        200 => Ok(Checked::Passed),
        203 => Ok(Checked::Degraded),
        status => Err(status.to_string()),
    });
    for (status, health) in [
        (200, Health::Healthy),
        (203, Health::Degraded),
        (503, Health::Unhealthy),
    ] {
        let probe = ServiceProbe::new(Strict::new(service));
        assert_eq!(checked(probe, status), health);
    }
}
