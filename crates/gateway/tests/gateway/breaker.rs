//! Breakers of endpoints and routes, before origins that fail, hang and come back.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use stanchion_gateway::{Config, Gateway};
use testkit::Server;

use crate::http2::{Client, get, run};
use crate::nginx::{LARGE, Nginx, seen, set_failing};
use crate::origin2::Origin2;
use crate::setup::{LONG, Origin, Setup, Then, admin, client, eventually, metric, ok};
use crate::wire::Wire;

/// An origin that answers with the status that it is set to.
fn fickle() -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let shared = status.clone();
    let origin = Origin::start(move |head, wire| {
        wire.body(head);
        wire.write(match shared.load(Ordering::SeqCst) {
            200 => ok("hello"),
            status => format!("HTTP/1.1 {status} Bad\r\ncontent-length: 0\r\n\r\n"),
        });
        Then::Keep
    });
    (origin, status)
}

/// A breaker that opens when all of four or more calls failed, and tries twice when it is told to.
const QUICK: &str =
    "breaker = { window = 8, min_calls = 4, failure_rate = 1.0, open = \"1h\", trials = 2 }";

fn guarded(upstream: &'static str) -> Setup {
    Setup {
        upstream,
        ..Setup::default()
    }
}

fn breakers(gateway: &Gateway) -> Vec<Value> {
    let (status, body) = admin(gateway, "/breakers");
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    body["breakers"].as_array().unwrap().clone()
}

fn post(gateway: &Gateway, target: &str) -> (u16, Value) {
    let mut wire = Wire::connect(gateway.admin_address());
    wire.ask("POST", target, &["host: localhost"]);
    let reply = wire.reply();
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

#[test]
fn a_failing_endpoint_is_left_alone_then_tried_and_taken_back() {
    let (origin, status) = fickle();
    let gateway = guarded(QUICK).start(&[origin.url()]);
    let mut client = client(&gateway);
    status.store(500, Ordering::SeqCst);
    let statuses: Vec<u16> = (0..6).map(|_| client.get("/", &[]).status).collect();
    // What the origin says is passed on, until it is asked no more.
    assert_eq!(statuses, [500, 500, 500, 500, 503, 503]);
    assert_eq!(origin.requests().len(), 4);
    let refused = client.get("/", &[]);
    let after: u64 = refused.head.field("retry-after").unwrap().parse().unwrap();
    // An hour, and up to a tenth more by chance.
    assert!((3_590..=3_961).contains(&after), "{after}");
    assert_eq!(refused.problem()["title"], "Service Unavailable");

    // Half-open it asks no more than the trials, which fail.
    let name = format!("main/{}", origin.url().trim_start_matches("http://"));
    let half_open = format!("/breakers/set?kind=endpoint&name={name}&state=half-open");
    assert_eq!(post(&gateway, &half_open).0, 200);
    let statuses: Vec<u16> = (0..4).map(|_| client.get("/", &[]).status).collect();
    assert_eq!(statuses, [500, 500, 503, 503]);
    assert_eq!(origin.requests().len(), 6);

    status.store(200, Ordering::SeqCst);
    assert_eq!(post(&gateway, &half_open).0, 200);
    for _ in 0..4 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!(breakers(&gateway)[0]["state"], "closed");
    let series = format!("breaker_rejected_total{{kind=\"endpoint\",name=\"{name}\"}}");
    assert!(metric(&gateway, &series) >= 3.0);
    let series = format!("breaker_state{{kind=\"endpoint\",name=\"{name}\"}}");
    assert!(metric(&gateway, &series).abs() < f64::EPSILON);
    gateway.shutdown();
}

#[test]
fn the_other_endpoints_take_over_from_one_that_fails() {
    let (bad, status) = fickle();
    let good = Origin::saying("good");
    let gateway = guarded("breaker = { window = 8, min_calls = 4, open = \"1h\" }")
        .start(&[bad.url(), good.url()]);
    status.store(502, Ordering::SeqCst);
    let mut client = client(&gateway);
    let statuses: Vec<u16> = (0..20).map(|_| client.get("/", &[]).status).collect();
    let failed = statuses.iter().filter(|status| **status == 502).count();
    assert_eq!((failed, bad.requests().len()), (4, 4), "{statuses:?}");
    assert_eq!(good.requests().len(), 16);
    gateway.shutdown();
}

#[test]
fn an_endpoint_that_hangs_opens_its_breaker_too() {
    let origin = Origin::start(|_, wire| {
        // Until the gateway gives up.
        assert!(wire.ends());
        Then::Close
    });
    let setup = guarded(
        "response_timeout = \"50ms\"\n\
         breaker = { window = 8, min_calls = 3, consecutive_failures = 3, open = \"1h\" }",
    );
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    let statuses: Vec<u16> = (0..5).map(|_| client.get("/", &[]).status).collect();
    assert_eq!(statuses, [504, 504, 504, 503, 503]);
    assert_eq!(breakers(&gateway)[0]["state"], "open");
    gateway.shutdown();
}

#[test]
fn a_routes_breaker_stands_behind_its_limits_and_knows_what_is_the_clients_fault() {
    let (origin, status) = fickle();
    let setup = Setup {
        routes: "[[route]]\nid = \"all\"\nupstream = \"main\"\nbody_bytes_max = \"10B\"\n\
                 breaker = { window = 4, min_calls = 2, open = \"1h\" }\n\
                 limit = [{ by = \"header:x-who\", rate = \"2/h\" }]\n"
            .to_owned(),
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut wire = client(&gateway);
    let large = ["x-who: a", "content-length: 11"];
    wire.ask("POST", "/", &large);
    assert_eq!(wire.reply().status, 413);
    let mut wire = client(&gateway);
    status.store(500, Ordering::SeqCst);
    let mut ask = |who: &str| wire.get("/", &[&format!("x-who: {who}")]).status;
    assert_eq!([ask("a"), ask("b"), ask("b")], [500, 500, 503]);
    // The limit refuses first, and counts what the breaker refuses.
    assert_eq!(ask("b"), 429);
    let all = breakers(&gateway);
    assert_eq!(
        (&all[0]["kind"], &all[0]["name"]),
        (&"route".into(), &"all".into())
    );
    assert_eq!(all[0]["cause"], "100.0 % of the calls failed");
    gateway.shutdown();
}

#[test]
fn operators_open_close_and_reset_breakers_by_hand() {
    let origin = Origin::saying("hello");
    let gateway = guarded(QUICK).start(&[origin.url()]);
    let name = format!("main/{}", origin.url().trim_start_matches("http://"));
    let set = |state: &str| {
        post(
            &gateway,
            &format!("/breakers/set?kind=endpoint&name={name}&state={state}"),
        )
    };
    let mut client = client(&gateway);
    let (status, told) = set("forced-open");
    assert_eq!((status, &told["state"]), (200, &"forced open".into()));
    let refused = client.get("/", &[]);
    assert_eq!(
        (refused.status, refused.head.field("retry-after")),
        (503, None)
    );
    assert_eq!(set("disabled").0, 200);
    assert_eq!(client.get("/", &[]).status, 200);
    assert_eq!(set("reset").1["state"], "closed");
    let (status, told) = set("half-open");
    assert_eq!(status, 409, "{told}");
    let (status, told) = set("ajar");
    assert_eq!(status, 400);
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .starts_with("state: \"ajar\" given"),
        "{told}"
    );
    assert_eq!(
        post(&gateway, "/breakers/set?kind=route&name=no&state=open").0,
        404
    );
    assert_eq!(admin(&gateway, "/breakers/set").0, 405);
    gateway.shutdown();
}

#[test]
fn a_reload_keeps_a_breaker_that_stays() {
    let origin = Origin::saying("hello");
    let gateway = guarded(QUICK).start(&[origin.url()]);
    let name = format!("main/{}", origin.url().trim_start_matches("http://"));
    post(
        &gateway,
        &format!("/breakers/set?kind=endpoint&name={name}&state=forced-open"),
    );
    let other = Setup {
        listen: "idle_timeout = \"59s\"",
        ..guarded(QUICK)
    };
    gateway.apply(other.config(&[origin.url()])).unwrap();
    assert_eq!(client(&gateway).get("/", &[]).status, 503);
    gateway
        .apply(Setup::default().config(&[origin.url()]))
        .unwrap();
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    assert!(breakers(&gateway).is_empty());
    gateway.shutdown();
}

/// The name by which the only endpoint's breaker goes.
fn named(url: &str) -> String {
    format!("main/{}", url.trim_start_matches("http://"))
}

fn set(gateway: &Gateway, url: &str, state: &str) {
    let name = named(url);
    let target = format!("/breakers/set?kind=endpoint&name={name}&state={state}");
    assert_eq!(post(gateway, &target).0, 200);
}

#[test]
fn a_server_that_is_killed_is_left_alone_then_tried_and_taken_back_when_it_is_up_again() {
    let Some(mut origin) = Server::start(Nginx) else {
        return;
    };
    let url = format!("http://{}", origin.addr());
    let gateway = guarded(QUICK).start(std::slice::from_ref(&url));
    let mut client = client(&gateway);
    let mut ask =
        |count: usize| -> Vec<u16> { (0..count).map(|_| client.get("/", &[]).status).collect() };
    let sees = |origin: &Server<Nginx>, count: usize| {
        eventually("the origin has seen all", || seen(origin) >= count);
        assert_eq!(seen(origin), count);
    };
    assert_eq!(ask(8), [200; 8]);
    sees(&origin, 8);

    // All of the window's eight have to have failed.
    origin.kill();
    let statuses = ask(12);
    assert_eq!(statuses, [[502; 8].as_slice(), &[503; 4]].concat());

    // It is up again, and left alone, since nobody has told that it is.
    origin.restart();
    assert_eq!(ask(50), [503; 50]);
    sees(&origin, 8);

    // It is up and fails: it sees the two trials, and no more.
    set_failing(&origin, true);
    set(&gateway, &url, "half-open");
    assert_eq!(ask(20), [[500; 2].as_slice(), &[503; 18]].concat());
    sees(&origin, 10);

    // It dies as a trial is on its way.
    set(&gateway, &url, "half-open");
    origin.kill();
    let statuses = ask(5);
    assert_eq!(statuses, [502, 502, 503, 503, 503]);

    origin.restart();
    set_failing(&origin, false);
    set(&gateway, &url, "half-open");
    assert_eq!(ask(20), [200; 20]);
    assert_eq!(breakers(&gateway)[0]["state"], "closed");
    sees(&origin, 30);
    gateway.shutdown();
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_a_body_has_failed() {
    let Some(mut origin) = Server::start(Nginx) else {
        return;
    };
    let url = format!("http://{}", origin.addr());
    let setup = guarded("breaker = { window = 8, consecutive_failures = 1, open = \"1h\" }");
    let gateway = setup.start(std::slice::from_ref(&url));
    let mut wire = client(&gateway);
    wire.ask("GET", "/large", &[]);
    let head = wire.head().unwrap();
    assert_eq!(
        (head.status(), head.field("content-length").unwrap()),
        (200, &*LARGE.to_string())
    );
    assert_eq!(wire.bytes(1000), [b'x'; 1000]);
    assert_eq!(breakers(&gateway)[0]["state"], "closed", "it is not over");
    origin.kill();
    assert!(
        wire.rest().len() < LARGE - 1000,
        "the client sees that it is cut"
    );
    eventually("that counts", || breakers(&gateway)[0]["state"] == "open");
    assert_eq!(client(&gateway).get("/", &[]).status, 503);
    gateway.shutdown();
}

/// What the origin says, and whether that is a failure for who reads it to its end.
const SAID: [(&str, bool); 5] = [
    ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", false),
    ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", true),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n",
        false,
    ),
];

/// One failure opens; of the endpoint, and of the route.
const AT_ONCE: &str = "breaker = { window = 8, consecutive_failures = 1, open = \"1h\" }";

fn both(upstream: &'static str) -> Setup {
    Setup {
        upstream,
        routes: format!("[[route]]\nid = \"all\"\nupstream = \"main\"\n{AT_ONCE}\n"),
        ..Setup::default()
    }
}

fn are_open(gateway: &Gateway) -> Vec<bool> {
    let all = breakers(gateway);
    all.iter()
        .map(|breaker| breaker["state"] == "open")
        .collect()
}

#[test]
fn a_body_that_breaks_off_is_a_failure_of_the_endpoint_and_of_the_route() {
    for (said, fails) in SAID {
        let origin = Origin::start(move |_, wire| {
            wire.write(said);
            Then::Close
        });
        let gateway = both(AT_ONCE).start(&[origin.url()]);
        let mut wire = client(&gateway);
        wire.ask("GET", "/", &["connection: close"]);
        assert_eq!(wire.head().unwrap().status(), 200);
        wire.rest();
        if fails {
            eventually("it counts", || are_open(&gateway) == [true, true]);
        } else {
            eventually("it counts", || {
                breakers(&gateway).iter().all(|one| one["calls"] == 1)
            });
            assert_eq!(are_open(&gateway), [false, false], "{said}");
        }
        gateway.shutdown();
    }
}

/// An origin of gRPC that ends with this status, in the trailers or in the head.
fn grpc(status: &'static str, in_head: bool) -> Origin2 {
    Origin2::start(move |mut asked| async move {
        let response = http::Response::builder().header("content-type", "application/grpc");
        if in_head {
            let response = response.header("grpc-status", status).body(()).unwrap();
            asked.respond.send_response(response, true).unwrap();
            return;
        }
        let mut stream = asked
            .respond
            .send_response(response.body(()).unwrap(), false)
            .unwrap();
        stream
            .send_data(Bytes::from_static(b"message"), false)
            .unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static(status));
        stream.send_trailers(trailers).unwrap();
    })
}

#[test]
fn the_status_in_the_trailers_of_grpc_counts() {
    for (status, in_head, fails) in [
        ("0", false, false),
        ("5", false, false),
        ("14", false, true),
        ("8", false, true),
        ("0", true, false),
        ("13", true, true),
    ] {
        let origin = grpc(status, in_head);
        let upstream =
            "protocol = \"h2\"\nbreaker = { window = 8, consecutive_failures = 1, open = \"1h\" }";
        let gateway = both(upstream).start(&[origin.url()]);
        run(async {
            let mut client = Client::connect(gateway.address()).await;
            let (response, _) = client.begin(get("/"), true).await;
            let mut body = response.await.unwrap().into_body();
            while let Some(chunk) = body.data().await {
                chunk.unwrap();
            }
            let trailers = body.trailers().await.unwrap();
            assert_eq!(trailers.is_some(), !in_head);
        });
        if fails {
            eventually("it counts", || are_open(&gateway) == [true, true]);
        } else {
            eventually("it counts", || {
                breakers(&gateway).iter().all(|one| one["calls"] == 1)
            });
            assert_eq!(are_open(&gateway), [false, false], "{status}");
        }
        gateway.shutdown();
    }
}

/// An origin that sends a body of this length in parts of four bytes: one, and one more when it is
/// told to.
fn in_two_parts(length: usize) -> (Origin, Sender<()>) {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |_, wire| {
        wire.write(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nhalf"
        ));
        told.lock().unwrap().recv_timeout(LONG).unwrap();
        wire.write("half");
        Then::Keep
    });
    (origin, go_on)
}

#[test]
fn a_trial_lasts_until_its_body_ends_and_one_that_the_client_leaves_is_given_back() {
    let (origin, go_on) = in_two_parts(8);
    let url = origin.url();
    let gateway =
        guarded("breaker = { window = 8, open = \"1h\", trials = 1 }").start(&[origin.url()]);
    set(&gateway, &url, "open");
    set(&gateway, &url, "half-open");
    let begin = || {
        let mut wire = client(&gateway);
        wire.ask("GET", "/", &[]);
        assert_eq!(wire.head().unwrap().status(), 200);
        assert_eq!(wire.bytes(4), b"half");
        wire
    };
    let wire = begin();
    assert_eq!(
        client(&gateway).get("/", &[]).status,
        503,
        "the trial is taken"
    );
    drop(wire);
    let mut other = None;
    eventually("it is given back", || {
        let mut wire = client(&gateway);
        wire.ask("GET", "/", &[]);
        let passed = wire.head().unwrap().status() == 200;
        other = Some(wire);
        passed
    });
    let mut wire = other.unwrap();
    assert_eq!(wire.bytes(4), b"half");
    assert_eq!(breakers(&gateway)[0]["state"], "half-open");
    go_on.send(()).unwrap();
    go_on.send(()).unwrap();
    assert_eq!(wire.bytes(4), b"half");
    eventually("it is closed", || {
        breakers(&gateway)[0]["state"] == "closed"
    });
    gateway.shutdown();
}

/// Or a server of nothing but long streams would never be taken back.
#[test]
fn a_trial_whose_body_goes_on_for_long_enough_is_good() {
    let (origin, go_on) = in_two_parts(12);
    let url = origin.url();
    let setup =
        guarded("breaker = { window = 8, open = \"1h\", trials = 1, trials_max_time = \"200ms\" }");
    let gateway = setup.start(&[origin.url()]);
    set(&gateway, &url, "open");
    set(&gateway, &url, "half-open");
    let mut wire = client(&gateway);
    wire.ask("GET", "/", &[]);
    assert_eq!(wire.head().unwrap().status(), 200);
    assert_eq!(wire.bytes(4), b"half");
    crate::setup::pass(Duration::from_millis(60));
    assert_eq!(breakers(&gateway)[0]["state"], "half-open");
    go_on.send(()).unwrap();
    assert_eq!(wire.bytes(4), b"half");
    eventually("it is closed", || {
        breakers(&gateway)[0]["state"] == "closed"
    });
    drop(wire);
    gateway.shutdown();
}

#[test]
fn what_makes_no_breaker_is_told_with_its_field() {
    for (breaker, field, said) in [
        (
            "failure_rate = 1.5",
            "failure_rate",
            "1.5 given, more than 0 and at most 1",
        ),
        ("failure_rate = nan", "failure_rate", "NaN given"),
        ("slow_rate = 0.0", "slow_rate", "0 given"),
        ("window = 0", "window", "0 given, from 1 to 1000000"),
        ("window = -1", "window", "0 given, from 1 to 1000000"),
        ("window = \"1ms\"", "window", "from 100ms"),
        ("window = \"soon\"", "window", "expected a duration"),
        (
            "window = 10, min_calls = 11",
            "min_calls",
            "11 given, from 1 to 10",
        ),
        (
            "open = \"10s\", open_max = \"5s\"",
            "open_max",
            "5s given, from 10s",
        ),
        ("retry_after_max = \"0s\"", "retry_after_max", "from 1ms"),
        ("trials = 0", "trials", "0 given, from 1"),
        (
            "consecutive_failures = 0",
            "consecutive_failures",
            "0 given, from 1",
        ),
        ("slow = 1", "slow", "unknown field"),
    ] {
        let text = format!(
            "listen.address = \"127.0.0.1:0\"\nupstream.a.endpoints = [\"http://a.test\"]\n\
             [[route]]\nid = \"r\"\nupstream = \"a\"\nbreaker = {{ {breaker} }}\n"
        );
        let error = Config::from_toml(&text).unwrap_err();
        let mistake = &error.mistakes()[0];
        assert_eq!(
            mistake.field(),
            format!("route[0].breaker.{field}"),
            "{error}"
        );
        assert!(mistake.to_string().contains(said), "{error}");
    }
}

#[test]
fn it_stays_open_for_as_long_as_the_server_asks_up_to_the_most() {
    for (asked, upstream, least, most) in [
        ("7000", "retry_after_max = \"2h\"", 7_000, 7_701),
        ("90000", "retry_after_max = \"2h\"", 7_200, 7_921),
        ("7000", "slow_rate = 0.5", 3_600, 3_961),
    ] {
        let origin = Origin::start(move |_, wire| {
            wire.write(format!(
                "HTTP/1.1 503 Busy\r\nretry-after: {asked}\r\ncontent-length: 0\r\n\r\n"
            ));
            Then::Keep
        });
        let breaker = format!("breaker = {{ window = 1, open = \"1h\", {upstream} }}");
        let gateway = guarded(breaker.leak()).start(&[origin.url()]);
        let mut client = client(&gateway);
        assert_eq!(client.get("/", &[]).head.field("retry-after"), Some(asked));
        let refused = client.get("/", &[]);
        assert_eq!(origin.requests().len(), 1);
        let after: u64 = refused.head.field("retry-after").unwrap().parse().unwrap();
        // With up to a tenth more by chance; and so much less as has passed.
        assert!(
            (least - 30..=most).contains(&after),
            "{asked} {upstream}: {after}"
        );
        gateway.shutdown();
    }
}

#[test]
fn it_tries_by_itself_when_the_open_time_is_over() {
    let (origin, status) = fickle();
    let setup = guarded(
        "breaker = { window = 8, min_calls = 4, open = \"50ms\", trials = 1, ramp = \"10ms\" }",
    );
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    status.store(500, Ordering::SeqCst);
    eventually("it opens", || {
        client.get("/", &[]);
        breakers(&gateway)[0]["state"] == "open"
    });
    status.store(200, Ordering::SeqCst);
    eventually("it closes", || {
        client.get("/", &[]);
        breakers(&gateway)[0]["state"] == "closed"
    });
    gateway.shutdown();
}

#[test]
fn a_throttle_keeps_back_what_the_server_does_not_take_and_lets_go_again() {
    let (origin, status) = fickle();
    let setup = guarded("throttle = { multiplier = 1.5, window = \"1h\" }");
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    for _ in 0..20 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    status.store(503, Ordering::SeqCst);
    let refused = |count: usize, client: &mut Wire| {
        let replies = (0..count).map(|_| client.get("/", &[]));
        let refused = replies.filter(|reply| {
            let own = reply.status == 503 && !reply.body.is_empty();
            if own {
                let detail = reply.problem()["detail"].to_string();
                assert!(detail.contains("only a part"), "{detail}");
                assert_eq!(reply.head.field("retry-after"), None);
            }
            own
        });
        refused.count()
    };
    // Ten more than half as many as were accepted are fine; of the others ever more are refused: of a
    // thousand at least two thirds, or chance has gone mad.
    let kept_back = refused(1_000, &mut client);
    assert!(kept_back > 660, "{kept_back}");
    assert_eq!(origin.requests().len() + kept_back, 1_020);

    let (_, body) = admin(&gateway, "/breakers");
    let body: Value = serde_json::from_str(&body).unwrap();
    let shown = &body["throttles"][0];
    assert_eq!(
        (&shown["kind"], &shown["name"]),
        (&"endpoint".into(), &named(&origin.url()).into())
    );
    assert_eq!(
        (&shown["requests"], &shown["accepted"]),
        (&1_020.into(), &20.into())
    );
    assert_eq!(shown["rejected"], kept_back);
    let labels = format!("{{kind=\"endpoint\",name=\"{}\"}}", named(&origin.url()));
    let rejected = metric(&gateway, &format!("throttle_rejected_total{labels}"));
    #[expect(clippy::cast_precision_loss, reason = "a thousand at most")]
    let wanted = kept_back as f64;
    assert!((rejected - wanted).abs() < 0.5, "{rejected}");
    let share = metric(&gateway, &format!("throttle_rejection_ratio{labels}"));
    assert!((share - 990.0 / 1_021.0).abs() < 1e-9, "{share}");
    let (_, stats) = admin(&gateway, "/stats");
    let stats: Value = serde_json::from_str(&stats).unwrap();
    let throttled = stats["endpoints"]["shown"][0]["throttled"]
        .as_f64()
        .unwrap();
    assert!((throttled - 0.97).abs() < 0.01, "{throttled}");

    // It keeps what it counted over a reload, unless its numbers change.
    let other = Setup {
        listen: "idle_timeout = \"59s\"",
        ..setup
    };
    gateway.apply(other.config(&[origin.url()])).unwrap();
    assert!(refused(20, &mut client) > 10);
    let other = guarded("throttle = { window = \"1h\" }");
    gateway.apply(other.config(&[origin.url()])).unwrap();
    status.store(200, Ordering::SeqCst);
    assert_eq!(refused(20, &mut client), 0);
    gateway.shutdown();
}

#[test]
fn a_route_has_a_throttle_and_others_take_over_from_an_endpoint_that_is_throttled() {
    let (bad, status) = fickle();
    let good = Origin::saying("good");
    let setup = guarded("throttle = { window = \"1h\" }");
    let gateway = setup.start(&[bad.url(), good.url()]);
    status.store(503, Ordering::SeqCst);
    let mut wire = client(&gateway);
    for _ in 0..200 {
        wire.get("/", &[]);
    }
    // About as many pass as the harmonic numbers say: six of a hundred.
    assert!(bad.requests().len() < 50, "{}", bad.requests().len());
    assert_eq!(
        bad.requests().len() + good.requests().len(),
        200,
        "nothing is refused"
    );
    gateway.shutdown();

    let setup = Setup {
        routes: "[[route]]\nid = \"all\"\nupstream = \"main\"\nthrottle = {}\n".to_owned(),
        ..Setup::default()
    };
    let gateway = setup.start(&[bad.url()]);
    let before = bad.requests().len();
    let mut wire = client(&gateway);
    for _ in 0..200 {
        assert_eq!(wire.get("/", &[]).status, 503);
    }
    assert!(bad.requests().len() - before < 50);
    let (_, body) = admin(&gateway, "/breakers");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["throttles"][0]["name"], "all");
    gateway.shutdown();
}

#[test]
fn what_makes_no_throttle_is_told_with_its_field() {
    for (throttle, field, said) in [
        (
            "multiplier = 0.9",
            "multiplier",
            "0.9 given, from 1 to 1000",
        ),
        (
            "multiplier = nan",
            "multiplier",
            "NaN given, from 1 to 1000",
        ),
        ("multiplier = 1001.0", "multiplier", "1001 given"),
        ("window = \"1ms\"", "window", "from 100ms"),
        ("aggression = 0.5", "aggression", "0.5 given, from 1 to 100"),
        (
            "min_rate = -1.0",
            "min_rate",
            "-1 given, from 0 to 1000000000",
        ),
        (
            "max_rejection = 0.0",
            "max_rejection",
            "0 given, more than 0 and at most 1",
        ),
        ("max_rejection = 1.1", "max_rejection", "1.1 given"),
        ("threshold = 1", "threshold", "unknown field"),
    ] {
        for (place, prefix) in [
            ("route = [{ id = \"r\", upstream = \"a\"", "route[0]"),
            ("", "upstream.a"),
        ] {
            let (upstream, route) = match place {
                "" => (
                    format!("upstream.a.throttle = {{ {throttle} }}\n"),
                    "route = [{ id = \"r\", upstream = \"a\" }]".to_owned(),
                ),
                place => (
                    String::new(),
                    format!("{place}, throttle = {{ {throttle} }} }}]"),
                ),
            };
            let text = format!(
                "listen.address = \"127.0.0.1:0\"\nupstream.a.endpoints = [\"http://a.test\"]\n{upstream}{route}\n"
            );
            let error = Config::from_toml(&text).unwrap_err();
            let mistake = &error.mistakes()[0];
            assert_eq!(
                mistake.field(),
                format!("{prefix}.throttle.{field}"),
                "{error}"
            );
            assert!(mistake.to_string().contains(said), "{error}");
        }
    }
}
