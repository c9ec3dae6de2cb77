use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::setup::{LONG, Origin, Setup, Then, before, client, eventually, metric, ok};

#[test]
fn one_connection_to_the_origin_serves_one_client_after_the_other() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    for _ in 0..5 {
        let mut client = client(&gateway);
        for _ in 0..5 {
            assert_eq!(client.get("/", &[]).status, 200);
        }
    }
    assert_eq!(origin.requests().len(), 25);
    assert_eq!(origin.connections(), 1);
    gateway.shutdown();
}

#[test]
fn endpoints_take_turns() {
    let origins = [(); 3].map(|()| Origin::saying("hello"));
    let gateway = Setup::default().start(&origins.each_ref().map(Origin::url));
    let mut client = client(&gateway);
    for _ in 0..9 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!(
        origins.each_ref().map(|origin| origin.requests().len()),
        [3; 3]
    );
    gateway.shutdown();
}

#[test]
fn a_connection_that_the_origin_closed_is_replaced() {
    let origin = Origin::start(|head, wire| {
        wire.body(head);
        // Closes without having said so.
        wire.write(ok("hello"));
        Then::Close
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    for turn in 1..=20 {
        assert_eq!(client.get("/", &[]).status, 200);
        eventually("the origin closes", || origin.closed() == turn);
    }
    assert_eq!(origin.requests().len(), 20);
    gateway.shutdown();
}

#[test]
fn a_connection_is_not_kept_when_the_origin_says_so() {
    let origin = Origin::start(|_, wire| {
        wire.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
        assert!(wire.ends(), "another request on a closing connection");
        Then::Close
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    for _ in 0..3 {
        assert_eq!(client.get("/", &[]).text(), "ok");
    }
    assert_eq!(origin.connections(), 3);
    gateway.shutdown();
}

#[test]
fn a_connection_is_closed_when_it_was_idle_for_too_long() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        upstream: "idle_timeout = \"50ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    eventually("the gateway closes", || origin.closed() == 1);
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    assert_eq!(origin.connections(), 2);
    gateway.shutdown();
}

#[test]
fn no_more_connections_are_opened_than_allowed_and_waiting_for_one_has_an_end() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |_, wire| {
        wait.lock().unwrap().recv_timeout(LONG).unwrap();
        wire.write(ok("hello"));
        Then::Keep
    });
    let setup = Setup {
        upstream: "connections_max = 1\nconnect_timeout = \"50ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut first = client(&gateway);
    first.ask("GET", "/", &[]);
    eventually("the first request is there", || {
        origin.requests().len() == 1
    });
    let second = client(&gateway).get("/", &[]);
    assert_eq!(second.status, 503);
    second.problem();
    go.send(()).unwrap();
    assert_eq!(first.reply().status, 200);

    go.send(()).unwrap();
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    assert_eq!(origin.connections(), 1);
    let failures = format!(
        "upstream_failures_total{{upstream=\"main\",endpoint=\"{}\",cause=\"exhausted\"}}",
        origin.url().trim_start_matches("http://")
    );
    assert!((metric(&gateway, &failures) - 1.0).abs() < f64::EPSILON);
    gateway.shutdown();
}

#[test]
fn a_connection_is_given_up_when_its_client_left() {
    let (left, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |head, wire| {
        if head.first.starts_with("GET /slow") {
            wait.lock().unwrap().recv_timeout(LONG).unwrap();
            // The gateway has closed, or does so now.
            assert!(
                wire.ends(),
                "another request on a connection with an answer due"
            );
            return Then::Close;
        }
        wire.write(ok("hello"));
        Then::Keep
    });
    let gateway = before(&origin);
    let mut leaving = client(&gateway);
    leaving.ask("GET", "/slow", &[]);
    eventually("the request is there", || origin.requests().len() == 1);
    drop(leaving);
    left.send(()).unwrap();
    eventually("the gateway closes", || origin.closed() == 1);
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    eventually("the record is closed", || {
        metric(&gateway, "responses_cut_total{route=\"all\",by=\"client\"}") > 0.5
    });
    gateway.shutdown();
}
