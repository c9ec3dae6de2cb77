//! What a refusal costs in HTTP's terms, where an attacker has most of his requests end.
//!
//! Each operation makes a request, asks the service, and drops the response. Refused: one per
//! hour, taken before the clock starts. The yardstick is an admission by a plain limiter and a
//! response with the same three fields, made by hand.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use stanchion_benches::{Case, Contestant, Measure, Target, Unit, allocations, single};
use stanchion_ratelimit::{Quota, RateLimitLayer, RateLimiter};
use tower::{Layer, Service};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::GlobalKeyExtractor;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const GIGA: u32 = 1_000_000_000;
const REFUSED: StatusCode = StatusCode::TOO_MANY_REQUESTS;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        refusal("http refusal", Unit::NS, Way::Time),
        refusal(
            "http refusal, allocations",
            Unit::ALLOCATIONS,
            Way::Allocations,
        ),
        admission("http admission", Unit::NS, Way::Time),
        admission(
            "http admission, allocations",
            Unit::ALLOCATIONS,
            Way::Allocations,
        ),
    ]
}

#[derive(Clone, Copy)]
enum Way {
    Time,
    Allocations,
}

impl Way {
    fn measure<F: FnMut(u64) + 'static>(self, build: impl Fn() -> F + 'static) -> Measure {
        match self {
            Self::Time => single(build),
            Self::Allocations => allocations(build),
        }
    }
}

fn refusal(name: &'static str, unit: Unit, way: Way) -> Case {
    let ours = Contestant::ours("stanchion", way.measure(|| stanchion(REFUSED)));
    let ours = match way {
        Way::Time => ours.must(Target::AtMost {
            ratio: 1.5,
            versus: "admission + answer by hand",
        }),
        Way::Allocations => ours,
    };
    Case::new(name, unit)
        .with(ours)
        .with(Contestant::peer(
            "admission + answer by hand",
            way.measure(by_hand),
        ))
        .with(Contestant::peer(
            "tower_governor",
            way.measure(|| tower_governor(REFUSED)),
        ))
}

fn admission(name: &'static str, unit: Unit, way: Way) -> Case {
    Case::new(name, unit)
        .with(Contestant::ours(
            "stanchion",
            way.measure(|| stanchion(StatusCode::OK)),
        ))
        .with(Contestant::peer(
            "no layer",
            way.measure(|| driven(Hello, StatusCode::OK)),
        ))
        .with(Contestant::peer(
            "tower_governor",
            way.measure(|| tower_governor(StatusCode::OK)),
        ))
}

/// Tells the fields of the IETF draft on every response; tower_governor, without `use_headers`,
/// tells nothing on an admission.
fn stanchion(expected: StatusCode) -> impl FnMut(u64) {
    let quota = if expected == REFUSED {
        Quota::new(1, HOUR)
    } else {
        Quota::new(u64::from(GIGA), SECOND)
    };
    let layer = RateLimitLayer::new(quota.expect("a valid quota")).http();
    driven(spent(layer.layer(Hello), expected), expected)
}

/// One bucket for everybody, as above.
fn tower_governor(expected: StatusCode) -> impl FnMut(u64) {
    let mut config = GovernorConfigBuilder::default().key_extractor(GlobalKeyExtractor);
    let config = if expected == REFUSED {
        config.period(HOUR).burst_size(1)
    } else {
        config.per_nanosecond(1).burst_size(GIGA)
    };
    let layer = GovernorLayer::new(config.finish().expect("valid settings"));
    driven(spent(layer.layer(Hello), expected), expected)
}

/// Admits a request, and writes down what a refusal says.
fn by_hand() -> impl FnMut(u64) {
    let admitting = RateLimiter::new(Quota::new(u64::from(GIGA), SECOND).expect("a valid quota"));
    let refusing = RateLimiter::new(Quota::new(1, HOUR).expect("a valid quota"));
    assert!(refusing.check().is_ok(), "the first is admitted");
    let rejected = refusing.check().expect_err("the second is refused");
    let policy = HeaderValue::from_static("\"default\";q=1;w=3600");
    move |iterations| {
        for _ in 0..iterations {
            let request = black_box(Request::new(Body::empty()));
            assert!(admitting.check().is_ok());
            let wait = black_box(&rejected).retry_after().unwrap_or_default();
            let seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
            let text = format!("\"default\";r=0;t={seconds}");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = REFUSED;
            let fields = response.headers_mut();
            fields.insert(HeaderName::from_static("ratelimit-policy"), policy.clone());
            let told = HeaderValue::try_from(text).expect("printable");
            fields.insert(HeaderName::from_static("ratelimit"), told);
            fields.insert(header::RETRY_AFTER, seconds.into());
            drop(request);
            black_box(response);
        }
    }
}

/// Takes the only permit, where all are to be refused.
fn spent<S>(mut service: S, expected: StatusCode) -> S
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    if expected == REFUSED {
        let first = status(&mut service);
        assert_eq!(first, Some(StatusCode::OK), "the first request is admitted");
    }
    service
}

fn driven<S>(mut service: S, expected: StatusCode) -> impl FnMut(u64)
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    move |iterations| {
        let mut as_expected = 0;
        for _ in 0..iterations {
            as_expected += u64::from(status(&mut service) == Some(expected));
        }
        assert_eq!(as_expected, iterations, "every response is {expected}");
    }
}

/// One request: the same instance each time, made ready, called, and polled to its end.
#[inline]
fn status<S>(service: &mut S) -> Option<StatusCode>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(())) = service.poll_ready(&mut context) else {
        return None;
    };
    let future = pin!(service.call(black_box(Request::new(Body::empty()))));
    match future.poll(&mut context) {
        Poll::Ready(Ok(response)) => Some(black_box(response).status()),
        _ => None,
    }
}

/// The inner service: ready at all times, and done at once.
#[derive(Clone)]
struct Hello;

impl Service<Request<Body>> for Hello {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        ready(Ok(Response::new(Body::empty())))
    }
}
