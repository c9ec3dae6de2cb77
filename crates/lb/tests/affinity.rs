//! Sessions that stay at one endpoint.
#![cfg(feature = "http")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};
use stanchion_core::{Clock, ManualClock};
use stanchion_lb::affinity::{SameSite, SessionCookie, SessionKeys, StickyLayer};
use stanchion_lb::policy::RoundRobin;
use stanchion_lb::{Backend, Balance, Balancer, Endpoint, Mark};
use tower::{Layer, ServiceExt, service_fn};

const DAY: Duration = Duration::from_secs(86_400);

fn keys(secret: u8) -> SessionKeys {
    SessionKeys::new([secret; 32]).unwrap()
}

fn cookie(keys: SessionKeys) -> (SessionCookie, ManualClock) {
    let (clock, time) = Clock::manual();
    (
        SessionCookie::new("lb", keys).unwrap().with_clock(clock),
        time,
    )
}

/// The cookie that a response sets, as a browser sends it back.
fn sent_back(headers: &HeaderMap) -> Option<HeaderMap> {
    let line = headers.get("set-cookie")?.to_str().unwrap();
    let (pair, _attributes) = line.split_once(';').unwrap();
    let mut request = HeaderMap::new();
    request.insert(
        "cookie",
        HeaderValue::from_str(&format!("theme=dark; {pair}")).unwrap(),
    );
    Some(request)
}

/// Binds a session without one to `id`.
fn bound(cookie: &SessionCookie, id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    assert!(cookie.write(None, &id.into(), &mut headers));
    sent_back(&headers).unwrap()
}

fn id(cookie: &SessionCookie, headers: &HeaderMap) -> Option<String> {
    cookie.read(headers).map(|session| session.id().to_owned())
}

#[test]
fn a_cookie_is_read_again_and_written_once() {
    let (cookie, _) = cookie(keys(1));
    assert_eq!(cookie.read(&HeaderMap::new()), None);
    let request = bound(&cookie, "10.0.0.1:80");
    assert!(!format!("{request:?}").contains("10.0.0.1"));
    let session = cookie.read(&request);
    assert_eq!(session.as_ref().unwrap().id(), "10.0.0.1:80");
    let mut response = HeaderMap::new();
    assert!(!cookie.write(session.as_ref(), &"10.0.0.1:80".into(), &mut response));
    assert!(response.is_empty());
    assert!(cookie.write(session.as_ref(), &"10.0.0.2:80".into(), &mut response));
    let rewritten = sent_back(&response).unwrap();
    assert_eq!(id(&cookie, &rewritten).unwrap(), "10.0.0.2:80");
}

#[test]
fn forged_damaged_and_foreign_cookies_are_as_good_as_none() {
    let (ours, _) = cookie(keys(1));
    let (theirs, _) = cookie(keys(2));
    assert_eq!(ours.read(&bound(&theirs, "web-1")), None);
    let other_name = SessionCookie::new("sticky", keys(1)).unwrap();
    let line = bound(&other_name, "web-1")["cookie"]
        .to_str()
        .unwrap()
        .replace("sticky=", "lb=");
    for text in [
        line.as_str(),
        "lb",
        "lb=",
        "lb=web-1",
        "lb=;;;=;lb==",
        "lb=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "Lb=x",
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", HeaderValue::from_str(text).unwrap());
        assert_eq!(ours.read(&headers), None, "{text}");
    }
    // One of the same name from another path does not hide ours.
    let mut headers = bound(&ours, "web-1");
    let both = format!("lb=forged; {}", headers["cookie"].to_str().unwrap());
    headers.insert("cookie", HeaderValue::from_str(&both).unwrap());
    assert_eq!(id(&ours, &headers).unwrap(), "web-1");
    headers.insert("cookie", HeaderValue::from_bytes(b"lb=\xff").unwrap());
    assert_eq!(ours.read(&headers), None);
}

#[test]
fn keys_are_changed_without_losing_a_session() {
    let (before, _) = cookie(keys(1));
    let request = bound(&before, "web-1");
    let (after, _) = cookie(keys(2).with_old([1; 32]).unwrap());
    let session = after.read(&request).unwrap();
    assert_eq!(session.id(), "web-1");
    let mut response = HeaderMap::new();
    assert!(
        after.write(Some(&session), &"web-1".into(), &mut response),
        "by the new key"
    );
    let (last, _) = cookie(keys(2));
    assert_eq!(last.read(&request), None, "the old key is gone");
    assert_eq!(id(&last, &sent_back(&response).unwrap()).unwrap(), "web-1");
}

#[test]
fn an_old_cookie_is_renewed_and_one_too_old_forgotten() {
    let (cookie, time) = cookie(keys(1));
    let cookie = cookie.with_max_age(10 * DAY).unwrap();
    let request = bound(&cookie, "web-1");
    let renewed = || {
        let session = cookie.read(&request).unwrap();
        cookie.write(Some(&session), &"web-1".into(), &mut HeaderMap::new())
    };
    time.advance(4 * DAY);
    assert!(!renewed());
    time.advance(DAY);
    assert!(renewed());
    time.advance(5 * DAY);
    assert!(renewed());
    time.advance(Duration::from_secs(1));
    assert_eq!(cookie.read(&request), None);
}

#[test]
fn attributes_are_as_configured() {
    let line = |cookie: SessionCookie| {
        let mut headers = HeaderMap::new();
        cookie.write(None, &"web-1".into(), &mut headers);
        let line = headers["set-cookie"].to_str().unwrap().to_owned();
        line.split_once(';').unwrap().1.to_owned()
    };
    let new = || cookie(keys(1)).0;
    assert_eq!(line(new()), " Path=/; HttpOnly; Secure; SameSite=Lax");
    let all = new()
        .with_path("/shop")
        .unwrap()
        .with_domain("example.org")
        .unwrap();
    let all = all
        .with_max_age(DAY)
        .unwrap()
        .with_same_site(SameSite::Strict);
    assert_eq!(
        line(all.without_secure()),
        " Path=/shop; Domain=example.org; Max-Age=86400; HttpOnly; SameSite=Strict"
    );
    let error = |result: Result<SessionCookie, stanchion_lb::InvalidConfig>| {
        result.unwrap_err().field().to_owned()
    };
    for name in ["", "a b", "a=b", "a;b", "ä"] {
        assert_eq!(error(SessionCookie::new(name, keys(1))), "name");
    }
    assert_eq!(error(new().with_path("shop")), "path");
    assert_eq!(error(new().with_path("/a;b")), "path");
    assert_eq!(error(new().with_domain("a\nb")), "domain");
    assert_eq!(error(new().with_max_age(Duration::ZERO)), "max_age");
    assert_eq!(error(new().with_max_age(401 * DAY)), "max_age");
    assert_eq!(SessionKeys::new([0; 31]).unwrap_err().field(), "secret");
    let long = "x".repeat(513);
    assert!(!new().write(None, &long.as_str().into(), &mut HeaderMap::new()));
}

#[tokio::test]
async fn a_session_stays_and_moves_only_when_its_endpoint_is_gone() {
    let server = |name: &'static str| {
        let answer = move |_request: Request<()>| ready(Ok::<_, Infallible>(Response::new(name)));
        Backend::new(name, service_fn(answer))
    };
    let balancer = Balancer::new(RoundRobin::new());
    let endpoint = |name: &'static str| Endpoint::new(name, server(name));
    balancer.update(["a", "b", "c"].map(endpoint)).unwrap();
    let balance = Balance::new(balancer.clone()).sticky();
    let service = StickyLayer::new(cookie(keys(1)).0).layer(balance);
    let call = async |headers: &HeaderMap| {
        let mut request = Request::new(());
        *request.headers_mut() = headers.clone();
        let response = service.clone().oneshot(request).await.unwrap();
        let told = response.extensions().get::<stanchion_lb::EndpointId>();
        assert_eq!(told, None, "it stays inside");
        (*response.body(), sent_back(response.headers()))
    };

    let (home, session) = call(&HeaderMap::new()).await;
    let session = session.unwrap();
    for _ in 0..7 {
        assert_eq!(call(&session).await, (home, None));
    }
    // Draining keeps it, and a weight of 0 does.
    balancer.mark(home, Mark::Drain);
    assert_eq!(call(&session).await, (home, None));
    balancer.mark(home, Mark::Enable);
    let weights = ["a", "b", "c"].map(|name| endpoint(name).with_weight(u16::from(name != home)));
    balancer.update(weights).unwrap();
    assert_eq!(call(&session).await, (home, None));

    balancer.mark(home, Mark::Disable);
    let (moved, rewritten) = call(&session).await;
    assert_ne!(moved, home);
    let rewritten = rewritten.unwrap();
    for _ in 0..5 {
        assert_eq!(call(&rewritten).await, (moved, None));
    }
    let mut forged = HeaderMap::new();
    forged.insert("cookie", HeaderValue::from_static("lb=web-1"));
    assert!(call(&forged).await.1.is_some(), "a session of its own");
}
