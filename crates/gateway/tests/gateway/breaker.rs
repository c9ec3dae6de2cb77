//! Breakers of endpoints and routes, before origins that fail, hang and come back.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use stanchion_gateway::{Config, Gateway};

use crate::setup::{Origin, Setup, Then, admin, client, eventually, metric, ok};
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

/// A process that serves, until it is killed.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    /// Our own program: its admin listener answers `/healthz`.
    fn start(port: u16, folder: &std::path::Path) -> Self {
        let config = format!(
            "access_log = \"off\"\nlisten.address = \"127.0.0.1:0\"\n\
             admin.address = \"127.0.0.1:{port}\"\n\
             upstream.none.endpoints = [\"http://127.0.0.1:9\"]\n\
             route = [{{ id = \"all\", upstream = \"none\" }}]\n"
        );
        let file = folder.join("origin.toml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_stanchion-gateway"))
            .arg("run")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_that_is_killed_is_left_alone_and_taken_back_when_it_is_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut server = Process::start(port, folder.path());
    let gateway = guarded(QUICK).start(&[format!("http://127.0.0.1:{}", server.port)]);
    let mut client = client(&gateway);
    let host = ["host: localhost"];
    eventually("the server answers", || {
        client.get("/healthz", &host).status == 200
    });
    post(
        &gateway,
        &format!("/breakers/set?kind=endpoint&name=main/127.0.0.1:{port}&state=reset"),
    );
    for _ in 0..8 {
        assert_eq!(client.get("/healthz", &host).status, 200);
    }

    server.kill();
    // All of the window's eight have to have failed.
    let statuses: Vec<u16> = (0..12)
        .map(|_| client.get("/healthz", &host).status)
        .collect();
    let refused = statuses.iter().position(|status| *status == 503).unwrap();
    assert!(refused <= 8, "{statuses:?}");
    assert!(
        statuses[..refused].iter().all(|status| *status == 502),
        "{statuses:?}"
    );

    let _again = Process::start(port, folder.path());
    eventually("it is taken back", || {
        // As when the open time is over, until the trials go well.
        post(
            &gateway,
            &format!("/breakers/set?kind=endpoint&name=main/127.0.0.1:{port}&state=half-open"),
        );
        client.get("/healthz", &host).status == 200
    });
    eventually("it is closed", || {
        client.get("/healthz", &host);
        breakers(&gateway)[0]["state"] == "closed"
    });
    for _ in 0..20 {
        assert_eq!(client.get("/healthz", &host).status, 200);
    }
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
