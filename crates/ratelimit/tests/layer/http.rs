//! The answers in HTTP's terms: statuses and fields.

use std::convert::Infallible;
use std::future::{Ready, ready};

use ::http::{HeaderName, Request, Response, StatusCode};
use stanchion_core::{Clock, ManualClock};
use stanchion_ratelimit::http::{ClientAddr, ForwardedField, HeaderKey, PeerAddr, TooManyRequests};
use stanchion_ratelimit::{Answer, KeyedRateLimiter, MissingKey, Policy, Quota, RateLimitLayer};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, service_fn};

use super::*;

type Body = &'static str;
type Stack = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

fn hello(_: Request<Body>) -> Ready<Result<Response<Body>, Infallible>> {
    ready(Ok(Response::new("hello")))
}

/// A limiter of `quota`, text as `Quota` reads it.
fn limiter(quota: &str) -> (RateLimiter, ManualClock) {
    let (clock, time) = Clock::manual();
    (
        RateLimiter::new(quota.parse::<Policy>().unwrap()).with_clock(clock),
        time,
    )
}

fn limited(quota: &str) -> (Stack, ManualClock) {
    let (limiter, time) = limiter(quota);
    let layer = RateLimitLayer::from_limiter(limiter).http();
    (Stack::new(layer.layer(service_fn(hello))), time)
}

fn send(service: &mut Stack, request: Request<Body>) -> Response<Body> {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))));
    at_once(service.call(request)).unwrap()
}

fn get(service: &mut Stack) -> Response<Body> {
    send(service, Request::new(""))
}

/// All values of the field `name`, in order.
fn field(response: &Response<Body>, name: &str) -> Vec<String> {
    let values = response.headers().get_all(name).into_iter();
    values
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_admitted_request_is_told_what_is_left() {
    let (mut service, time) = limited("3/m");
    for (remaining, reset) in [(2, 20), (1, 40), (0, 60)] {
        let response = get(&mut service);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(*response.body(), "hello");
        let expected = format!("\"default\";r={remaining};t={reset}");
        assert_eq!(field(&response, "ratelimit"), [expected]);
        assert_eq!(
            field(&response, "ratelimit-policy"),
            ["\"default\";q=3;w=60"]
        );
        assert!(field(&response, "retry-after").is_empty());
    }
    time.advance(Duration::from_secs(60));
    assert_eq!(
        field(&get(&mut service), "ratelimit"),
        ["\"default\";r=2;t=20"]
    );
}

#[test]
fn a_refused_request_gets_429_and_the_time_to_come_back() {
    let (mut service, time) = limited("3/m");
    (0..3).for_each(|_| drop(get(&mut service)));
    time.advance(Duration::from_millis(500));
    let response = get(&mut service);
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(*response.body(), "");
    // 19.5 seconds, rounded up; `t` and `Retry-After` tell the same moment.
    assert_eq!(field(&response, "retry-after"), ["20"]);
    assert_eq!(field(&response, "ratelimit"), ["\"default\";r=0;t=20"]);
    assert_eq!(
        field(&response, "ratelimit-policy"),
        ["\"default\";q=3;w=60"]
    );
    // Who comes back when told to passes.
    time.advance(Duration::from_secs(20));
    assert_eq!(get(&mut service).status(), StatusCode::OK);
}

/// One peer tells a client to come back after 0 seconds; an obedient one sends 25,000 requests in
/// two.
#[test]
fn a_wait_below_a_second_is_told_as_one_second() {
    let (mut service, time) = limited("1000/s burst 1");
    drop(get(&mut service));
    for step in [0, 500_000, 499_999] {
        time.advance(Duration::from_nanos(step));
        let refused = get(&mut service);
        assert_eq!(field(&refused, "retry-after"), ["1"], "after {step} ns");
        assert_eq!(field(&refused, "ratelimit"), ["\"default\";r=0;t=1"]);
    }
    time.advance(Duration::from_nanos(1));
    assert_eq!(get(&mut service).status(), StatusCode::OK);
}

#[test]
fn a_request_without_a_key_gets_400_and_no_promise() {
    let limiter = KeyedRateLimiter::new("1/m".parse::<Quota>().unwrap(), 10).unwrap();
    let limiter = limiter.with_clock(Clock::manual().0);
    let key = HeaderKey::new(HeaderName::from_static("x-tenant"));
    let layer = RateLimitLayer::keyed_http(limiter, key);
    let tenant = || Request::builder().header("x-tenant", "a").body("").unwrap();

    let mut refusing = Stack::new(layer.clone().http().layer(service_fn(hello)));
    let response = get(&mut refusing);
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(field(&response, name).is_empty(), "{name}");
    }
    let response = send(&mut refusing, tenant());
    assert_eq!(field(&response, "ratelimit"), ["\"default\";r=0;t=60"]);
    assert_eq!(
        send(&mut refusing, tenant()).status(),
        StatusCode::TOO_MANY_REQUESTS
    );

    let sharing = layer.clone().on_missing_key(MissingKey::Share).http();
    let mut sharing = Stack::new(sharing.layer(service_fn(hello)));
    assert_eq!(
        field(&get(&mut sharing), "ratelimit"),
        ["\"default\";r=0;t=60"]
    );
    assert_eq!(get(&mut sharing).status(), StatusCode::TOO_MANY_REQUESTS);

    let passing = layer.on_missing_key(MissingKey::Pass).http();
    let mut passing = Stack::new(passing.layer(service_fn(hello)));
    for _ in 0..3 {
        let response = get(&mut passing);
        assert_eq!(response.status(), StatusCode::OK);
        assert!(field(&response, "ratelimit").is_empty(), "not counted");
    }
}

#[test]
fn several_limits_in_a_stack_each_tell_their_policy() {
    let named = |quota: &str, name: &str| {
        let (limiter, time) = limiter(quota);
        let answer = TooManyRequests::new(limiter.policy())
            .with_name(name)
            .unwrap();
        (
            RateLimitLayer::from_limiter(limiter).http_with(answer),
            time,
        )
    };
    let (minute, _) = named("9/m", "minute");
    let (day, _) = named("1/d", "day");
    let mut service = Stack::new(minute.layer(day.layer(service_fn(hello))));

    let admitted = get(&mut service);
    let refused = get(&mut service);
    assert_eq!(admitted.status(), StatusCode::OK);
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(field(&admitted, "retry-after").is_empty());
    assert_eq!(field(&refused, "retry-after"), ["86400"]);
    assert_eq!(
        field(&admitted, "ratelimit"),
        ["\"day\";r=0;t=86400", "\"minute\";r=8;t=7"]
    );
    assert_eq!(
        field(&refused, "ratelimit"),
        ["\"day\";r=0;t=86400", "\"minute\";r=7;t=14"]
    );
    for response in [admitted, refused] {
        assert_eq!(
            field(&response, "ratelimit-policy"),
            ["\"day\";q=1;w=86400", "\"minute\";q=9;w=60"]
        );
    }
}

#[test]
fn the_response_may_be_of_your_own_making() {
    let (limiter, _time) = limiter("1/m");
    let answer = TooManyRequests::new(limiter.policy()).with_response(
        |rejected: &Rejected, request: Request<Body>| {
            assert_eq!(request.uri(), "/path");
            let mut response = Response::new("slow down");
            *response.status_mut() = TooManyRequests::status(rejected);
            response
        },
    );
    let layer = RateLimitLayer::from_limiter(limiter).http_with(answer);
    let mut service = Stack::new(layer.layer(service_fn(hello)));
    drop(get(&mut service));
    let request = Request::builder().uri("/path").body("").unwrap();
    let refused = send(&mut service, request);
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(*refused.body(), "slow down");
    assert_eq!(field(&refused, "retry-after"), ["60"]);
}

#[test]
fn a_cost_that_never_fits_is_told_no_time_to_come_back() {
    let (limiter, _time) = limiter("2/m");
    let rejected = limiter.check_n(3).unwrap_err();
    let answer = TooManyRequests::new(limiter.policy());
    let response: Result<Response<Body>, Infallible> =
        Answer::<_, _, Infallible>::refuse(&answer, &rejected, Request::new(""));
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(field(&response, "retry-after").is_empty());
    assert_eq!(field(&response, "ratelimit"), ["\"default\";r=2;t=0"]);
}

/// The leftmost entry of `X-Forwarded-For` is the client's own invention; two peers believe it.
#[test]
fn invented_addresses_bring_no_burst_of_their_own() {
    let limiter = KeyedRateLimiter::new("1/m".parse::<Quota>().unwrap(), 100).unwrap();
    let limiter = limiter.with_clock(Clock::manual().0);
    let client = ClientAddr::new().trust_hops(1, ForwardedField::XForwardedFor);
    let layer = RateLimitLayer::keyed_http(limiter, client).http();
    let mut service = Stack::new(layer.layer(service_fn(hello)));
    let mut from = |forwarded: &str| {
        let request = Request::builder().header("x-forwarded-for", forwarded);
        let mut request = request.body("").unwrap();
        let peer = PeerAddr("10.0.0.1:80".parse().unwrap());
        request.extensions_mut().insert(peer);
        send(&mut service, request).status()
    };
    assert_eq!(from("192.0.2.1"), StatusCode::OK);
    for invented in 0..20 {
        let forwarded = format!("9.9.9.{invented}, 192.0.2.1");
        assert_eq!(from(&forwarded), StatusCode::TOO_MANY_REQUESTS);
    }
    // Nor do the 2⁶⁴ addresses of one IPv6 network, or an IPv4 address in IPv6's clothes.
    assert_eq!(from("::ffff:192.0.2.1"), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from("2001:db8::1"), StatusCode::OK);
    assert_eq!(from("2001:db8::2:1"), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from("192.0.2.2"), StatusCode::OK);
}

fn composite() -> (
    stanchion_ratelimit::CompositeRateLimiter<Request<Body>>,
    ManualClock,
) {
    use stanchion_ratelimit::{CompositeLimit, CompositeRateLimiter};
    let (clock, time) = Clock::manual();
    let policy = |text: &str| text.parse::<Policy>().unwrap();
    let limits = CompositeRateLimiter::new([
        CompositeLimit::shared("second", policy("2/s")),
        CompositeLimit::shared("day", policy("fixed-window 1000/d")),
    ]);
    (limits.unwrap().with_clock(clock), time)
}

#[test]
fn a_composite_tells_all_its_policies_and_on_a_refusal_the_one_to_be_waited_for() {
    let (limits, time) = composite();
    let layer = RateLimitLayer::composite(limits).http();
    let mut service = Stack::new(layer.layer(service_fn(hello)));
    let policies = ["\"second\";q=2;w=1, \"day\";q=1000;w=86400"];
    let first = get(&mut service);
    assert_eq!(field(&first, "ratelimit-policy"), policies);
    let standing = "\"second\";r=1;t=1, \"day\";r=999;t=86400";
    assert_eq!(field(&first, "ratelimit"), [standing]);
    get(&mut service);
    let refused = get(&mut service);
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(field(&refused, "ratelimit-policy"), policies);
    assert_eq!(field(&refused, "ratelimit"), ["\"second\";r=0;t=1"]);
    assert_eq!(field(&refused, "retry-after"), ["1"]);
    time.advance(Duration::from_secs(1));
    let third = get(&mut service);
    assert!(field(&third, "ratelimit")[0].contains("\"day\";r=997"));
}

#[test]
fn a_key_with_a_quota_of_its_own_is_told_that_one() {
    use stanchion_ratelimit::AsyncRateLimitLayer;
    let (clock, _time) = Clock::manual();
    let quota_of = |key: &[u8]| (key == b"anna").then(|| "50/m".parse().unwrap());
    let common: Quota = "10/m".parse().unwrap();
    let limiter = KeyedRateLimiter::per_key(common, quota_of, 100).unwrap();
    let limiter = limiter.with_clock(clock);
    let key = || HeaderKey::new(HeaderName::from_static("x-key"));
    let layer = RateLimitLayer::keyed_http(limiter.clone(), key()).http();
    let deciding = AsyncRateLimitLayer::keyed::<Request<Body>>(limiter, key())
        .http_with(TooManyRequests::new(common));
    let stacks = [
        Stack::new(layer.layer(service_fn(hello))),
        Stack::new(deciding.layer(service_fn(hello))),
    ];
    for mut service in stacks {
        let mut send_as = |name: &str| {
            let request = Request::builder().header("x-key", name).body("").unwrap();
            send(&mut service, request)
        };
        for (name, policy) in [
            ("anna", "\"default\";q=50;w=60"),
            ("bela", "\"default\";q=10;w=60"),
        ] {
            let response = send_as(name);
            assert_eq!(field(&response, "ratelimit-policy"), [policy]);
        }
        let refused = (0..50).map(|_| send_as("anna"));
        let refused = refused.last().unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            field(&refused, "ratelimit-policy"),
            ["\"default\";q=50;w=60"]
        );
    }
}

#[test]
fn old_fields_are_told_on_request_and_of_the_limit_with_the_least_left() {
    let (limiter, _time) = limiter("3/m");
    let answer = TooManyRequests::new(limiter.policy()).with_legacy_fields();
    let layer = RateLimitLayer::from_limiter(limiter).http_with(answer.clone());
    let mut service = Stack::new(layer.layer(service_fn(hello)));
    let old = |response: &Response<Body>| {
        ["limit", "remaining", "reset"].map(|name| {
            let values = field(response, &format!("x-ratelimit-{name}"));
            assert!(values.len() < 2, "{values:?}");
            values.concat()
        })
    };
    assert_eq!(old(&get(&mut service)), ["3", "2", "20"]);
    get(&mut service);
    get(&mut service);
    assert_eq!(old(&get(&mut service)), ["3", "0", "20"]);

    // Two layers: the tighter one is told, whichever is the outer.
    for policies in [["9/m", "2/h"], ["2/h", "9/m"]] {
        let [outer, inner] = policies.map(|policy| {
            let limiter = self::limiter(policy).0;
            RateLimitLayer::from_limiter(limiter).http_with(answer.clone())
        });
        let mut service = Stack::new(outer.layer(inner.layer(service_fn(hello))));
        assert_eq!(old(&get(&mut service)), ["2", "1", "1800"], "{policies:?}");
    }
    let (mut without, _time) = limited("3/m");
    assert_eq!(old(&get(&mut without)), ["", "", ""]);
    let (limits, _time) = composite();
    let layer = RateLimitLayer::composite(limits).http_with(answer);
    let mut service = Stack::new(layer.layer(service_fn(hello)));
    assert_eq!(old(&get(&mut service)), ["2", "1", "1"]);
}

#[test]
fn retry_after_is_spread_upwards_only_and_the_exact_moment_stays_told() {
    let (limiter, _time) = limiter("1/m");
    let spread = Duration::from_secs(30);
    let answer = TooManyRequests::new(limiter.policy()).with_retry_jitter(spread);
    let named = answer.with_name("spread").unwrap();
    let layer = RateLimitLayer::from_limiter(limiter).http_with(named);
    let mut service = Stack::new(layer.layer(service_fn(hello)));
    get(&mut service);
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let refused = get(&mut service);
        assert_eq!(field(&refused, "ratelimit"), ["\"spread\";r=0;t=60"]);
        told.insert(field(&refused, "retry-after")[0].parse::<u64>().unwrap());
    }
    assert!(
        *told.first().unwrap() >= 60 && *told.last().unwrap() <= 90,
        "{told:?}"
    );
    assert!(told.len() > 5, "{told:?}");
}
