//! What a decision allocates, counted on the thread that asks.
#![cfg(feature = "tower")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use stanchion_core::{Clock, ManualClock};
use stanchion_ratelimit::{
    BoxError, KeyedRateLimiter, Policy, Quota, RateLimitLayer, RateLimiter, Rejected,
};
use testkit::{CountingAllocator, allocations, live_bytes};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// One at once, and one more each minute of a clock that stands still.
fn limiter() -> (RateLimiter, ManualClock) {
    let (clock, time) = Clock::manual();
    let limiter = RateLimiter::new("1/m".parse::<Policy>().unwrap());
    (limiter.with_clock(clock), time)
}

fn double(request: u32) -> Ready<Result<u32, Infallible>> {
    ready(Ok(request * 2))
}

/// One call, from `poll_ready` to the answer.
fn call<S: Service<Req>, Req>(service: &mut S, request: Req) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) else {
        panic!("the service has to be ready");
    };
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the service has to answer at once"),
    }
}

#[test]
fn a_plain_check_allocates_nothing() {
    let (limiter, _time) = limiter();
    let admitted = allocations(|| limiter.check());
    let refused = allocations(|| limiter.check());
    assert!(admitted.result.is_ok() && refused.result.is_err());
    assert_eq!((admitted.allocations, refused.allocations), (0, 0));
}

#[test]
fn a_keyed_check_allocates_nothing_for_old_keys_new_ones_and_too_many() {
    let limiter = KeyedRateLimiter::<str>::new("1/m".parse::<Quota>().unwrap(), 50).unwrap();
    let limiter = limiter.with_clock(Clock::manual().0);
    let keys: Vec<String> = (0..1_000).map(|key| format!("key {key}")).collect();
    let counted = allocations(|| {
        let checks = keys.iter().chain(&keys).map(|key| limiter.check(key));
        checks.filter(Result::is_ok).count()
    });
    assert!(counted.result > 50, "{} admitted", counted.result);
    assert!(limiter.snapshot().overflowed > 900);
    assert_eq!(counted.allocations, 0);
}

#[test]
fn a_keyed_limiter_takes_all_its_memory_when_it_is_built() {
    let before = live_bytes();
    let quota: Quota = "1/m".parse().unwrap();
    let limiter = KeyedRateLimiter::<u64>::new(quota, 100_000).unwrap();
    let built = live_bytes() - before;
    for key in 0..200_000 {
        let _ = limiter.check(&key);
    }
    // Other tests may hold a few bytes meanwhile.
    let full = live_bytes() - before;
    assert!(
        full.abs_diff(built) < 256 * 1_024,
        "{built} bytes became {full}"
    );
    assert!(built < 24 * 100_000, "{built} bytes for 100,000 keys");
}

#[test]
fn an_admission_through_the_layer_allocates_nothing() {
    let (limiter, time) = limiter();
    let layer = RateLimitLayer::from_limiter(limiter);
    let mut isolated = layer.clone().layer(service_fn(double));
    let propagated = layer.clone().propagate_readiness();
    let mut propagated = propagated.layer(service_fn(double));
    let mut answering = layer
        .respond_with(|_: &Rejected, request: u32| request)
        .layer(service_fn(double));
    for _ in 0..3 {
        time.advance(std::time::Duration::from_secs(60));
        let counted = allocations(|| call(&mut isolated, 1).unwrap());
        assert_eq!((counted.result, counted.allocations), (2, 0));
        time.advance(std::time::Duration::from_secs(60));
        let counted = allocations(|| call(&mut propagated, 2).unwrap());
        assert_eq!((counted.result, counted.allocations), (4, 0));
        time.advance(std::time::Duration::from_secs(60));
        let counted = allocations(|| call(&mut answering, 3).unwrap());
        assert_eq!((counted.result, counted.allocations), (6, 0));
    }
}

#[test]
fn a_refusal_costs_its_box_and_answered_nothing() {
    let (limiter, _time) = limiter();
    limiter.check().unwrap();
    let layer = RateLimitLayer::from_limiter(limiter);
    let mut failing = layer.clone().layer(service_fn(double));
    let counted = allocations(|| call(&mut failing, 1));
    assert!(counted.result.unwrap_err().is::<Rejected>());
    assert_eq!(counted.allocations, 1);
    assert_eq!(counted.bytes, size_of::<Rejected>() as u64);

    let mut propagated = layer
        .clone()
        .propagate_readiness()
        .layer(service_fn(double));
    let counted = allocations(|| call(&mut propagated, 1));
    assert!(counted.result.is_err());
    assert_eq!(counted.allocations, 1);

    let mut answering = layer
        .respond_with(|_: &Rejected, request: u32| request + 100)
        .layer(service_fn(double));
    let counted = allocations(|| call(&mut answering, 7));
    assert_eq!((counted.result, counted.allocations), (Ok(107), 0));
}

#[test]
fn a_keyed_layer_allocates_no_more_than_a_plain_one() {
    let limiter = KeyedRateLimiter::new("1/m".parse::<Quota>().unwrap(), 100).unwrap();
    let limiter = limiter.with_clock(Clock::manual().0);
    let layer = RateLimitLayer::keyed(limiter, |request: &u32| Some(*request));
    let mut service = layer.layer(service_fn(double));
    for key in 0..20 {
        let admitted = allocations(|| call(&mut service, key));
        assert_eq!(
            (admitted.result.unwrap(), admitted.allocations),
            (key * 2, 0)
        );
        let refused = allocations(|| call(&mut service, key));
        let error: BoxError = refused.result.unwrap_err();
        assert!(error.is::<Rejected>());
        assert_eq!(refused.allocations, 1);
    }
}

#[cfg(feature = "http")]
mod http {
    use ::http::{HeaderName, Request, Response};
    use stanchion_core::KeyExtractor;
    use stanchion_ratelimit::http::{ApiKey, ClientAddr, ForwardedField, HeaderKey, PeerAddr};

    use super::*;

    fn request(key: u32) -> Request<()> {
        let mut request = Request::builder()
            .header("x-tenant", format!("tenant {key}"))
            .header("authorization", format!("Bearer {key}"))
            .header("x-forwarded-for", format!("9.9.9.9, 192.0.2.{key}"))
            .header(
                "forwarded",
                format!("for=9.9.9.9, for=\"[2001:db8::{key}]:80\""),
            )
            .body(())
            .unwrap();
        let peer = PeerAddr("10.0.0.1:80".parse().unwrap());
        request.extensions_mut().insert(peer);
        request
    }

    fn hello(_: Request<()>) -> Ready<Result<Response<()>, Infallible>> {
        ready(Ok(Response::new(())))
    }

    /// Twenty keys, each admitted and then refused, through a layer that answers without fields.
    fn assert_extracts_without_allocating<E, K>(extractor: E)
    where
        E: KeyExtractor<Request<()>, Key = K>,
        K: std::hash::Hash + ToOwned + ?Sized,
    {
        let limiter = KeyedRateLimiter::<K>::new("1/d".parse::<Quota>().unwrap(), 100).unwrap();
        let limiter = limiter.with_clock(Clock::manual().0);
        let mut service = RateLimitLayer::keyed(limiter, extractor)
            .respond_with(|_: &Rejected, _: Request<()>| {
                let mut refused = Response::new(());
                *refused.status_mut() = ::http::StatusCode::TOO_MANY_REQUESTS;
                refused
            })
            .layer(service_fn(hello));
        for key in 1..20 {
            for status in [200, 429] {
                let request = request(key);
                let counted = allocations(|| call(&mut service, request).unwrap());
                assert_eq!(counted.result.status(), status);
                assert_eq!(counted.allocations, 0);
            }
        }
    }

    #[test]
    fn keys_are_read_from_headers_without_allocating() {
        assert_extracts_without_allocating(HeaderKey::new(HeaderName::from_static("x-tenant")));
        assert_extracts_without_allocating(ApiKey::new());
    }

    #[test]
    fn client_addresses_are_read_without_allocating() {
        let forwarded_for = ForwardedField::XForwardedFor;
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        let whole = ClientAddr::new().with_ipv6_prefix(128).unwrap();
        assert_extracts_without_allocating(ClientAddr::new().trust_hops(1, forwarded_for));
        assert_extracts_without_allocating(whole.trust_hops(1, ForwardedField::Forwarded));
        assert_extracts_without_allocating(ClientAddr::new().trust_proxies(proxies, forwarded_for));
    }

    fn with_a_field(_: Request<()>) -> Ready<Result<Response<()>, Infallible>> {
        let response = Response::builder().header("content-type", "text/plain");
        ready(Ok(response.body(()).unwrap()))
    }

    /// The two of the header map, if it was empty; one for the text of `RateLimit`, and on a
    /// refusal one for `Retry-After`.
    #[test]
    fn the_fields_of_an_answer_cost_an_allocation_each_but_for_the_policy() {
        let (limiter, time) = limiter();
        let layer = RateLimitLayer::from_limiter(limiter).http();
        let mut empty = layer.layer(service_fn(hello));
        let mut with_a_field = layer.layer(service_fn(with_a_field));
        for (status, expected) in [(200, 3), (429, 4), (429, 4)] {
            let counted = allocations(|| call(&mut empty, Request::new(())).unwrap());
            assert_eq!(counted.result.status(), status);
            assert_eq!(counted.allocations, expected, "{status}");
        }
        time.advance(std::time::Duration::from_secs(60));
        let made = allocations(|| call(&mut service_fn(self::with_a_field), Request::new(())));
        let counted = allocations(|| call(&mut with_a_field, Request::new(())).unwrap());
        assert_eq!(counted.result.status(), 200);
        assert_eq!(counted.allocations - made.allocations, 1);
    }
}
