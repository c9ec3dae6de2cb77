//! Clients that speak HTTP/2 from the first byte.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use bytes::Bytes;
use http::Request;

use crate::http2::{Client, get, post, run};
use crate::setup::{
    LONG, Origin, Setup, Then, admin, before, client, eventually, metric, ok, start,
};
use crate::wire::Wire;

/// An origin that answers with what it was sent.
fn echo() -> Origin {
    Origin::start(|head, wire| {
        let body = wire.body(head);
        wire.write(ok(std::str::from_utf8(&body).unwrap()));
        Then::Keep
    })
}

#[test]
fn one_listener_serves_both_protocols() {
    let origin = echo();
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        for _ in 0..3 {
            let answer = client.ask(post("/x?y"), Some("hello")).await;
            assert_eq!((answer.status(), answer.text()), (200, "hello"));
        }
    });
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    assert_eq!(origin.requests()[0].first, "POST /x?y HTTP/1.1");
    assert!((metric(&gateway, "http2_connections_accepted_total") - 1.0).abs() < f64::EPSILON);
    assert!((metric(&gateway, "connections_accepted_total") - 2.0).abs() < f64::EPSILON);
    eventually("no stream is open", || {
        metric(&gateway, "http2_streams").abs() < f64::EPSILON
    });
    gateway.shutdown();
}

#[test]
fn a_preface_that_comes_in_pieces_is_recognised_and_one_that_goes_wrong_is_no_http_2() {
    let origin = echo();
    let gateway = before(&origin);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut wire = Wire::connect(gateway.address());
    for byte in preface {
        wire.write([*byte]);
    }
    wire.write([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let settings = wire.bytes(9);
    assert_eq!(settings[3], 4, "the gateway's settings: {settings:?}");

    let mut wire = Wire::connect(gateway.address());
    wire.write("P");
    wire.write("OST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(wire.reply().text(), "ok");
    let mut wire = Wire::connect(gateway.address());
    wire.write("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert!(wire.head().is_none_or(|head| head.status() >= 400));
    gateway.shutdown();
}

#[test]
fn the_origin_gets_a_request_of_its_own_protocol() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = Request::get("http://a.test:81/x")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .header("x-forwarded-for", "203.0.113.9")
            .body(())
            .unwrap();
        let answer = client.ask(request, None).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.field("x-request-id").unwrap().len(), 32);
        assert_eq!(answer.field("connection"), None);
    });
    let request = origin.last_request();
    assert_eq!(request.first, "GET /x HTTP/1.1");
    assert_eq!(request.field("host"), Some("a.test:81"));
    assert_eq!(request.field("cookie"), Some("a=1; b=2"));
    assert_eq!(request.field("te"), Some("trailers"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-host"), Some("a.test:81"));
    gateway.shutdown();
}

#[test]
fn what_is_not_passed_on_is_refused() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let many = (0..101).fold(Request::get("http://a.test/"), |request, number| {
            request.header(format!("x-{number}"), "1")
        });
        for (request, status) in [
            (Request::get("http://a.test/").header("host", "b.test"), 400),
            (Request::get("http://u@a.test/"), 400),
            (
                Request::builder().method("TRACE").uri("http://a.test/"),
                405,
            ),
            (Request::connect("a.test:443"), 405),
            (many, 431),
        ] {
            let request = request.body(()).unwrap();
            let what = format!("{request:?}");
            let answer = client.ask(request, None).await;
            assert_eq!(answer.status(), status, "{what}");
            answer.problem();
        }
        // Its Host agrees, whatever the case.
        let request = Request::get("http://a.test/").header("host", "A.test");
        let answer = client.ask(request.body(()).unwrap(), None).await;
        assert_eq!(answer.status(), 200);
    });
    assert_eq!(origin.requests().len(), 1);
    let refused = metric(
        &gateway,
        "requests_total{route=\"unmatched\",method=\"GET\",status=\"4xx\"}",
    );
    assert!((refused - 3.0).abs() < f64::EPSILON, "{refused}");
    gateway.shutdown();
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = Request::get("http://a.test/").header("x-large", "a".repeat(70_000));
        let request = request.body(()).unwrap();
        let status = client.try_ask(request, None).await;
        assert!(
            status.as_ref().is_ok_and(|answer| answer.status() == 431) || status.is_err(),
            "{status:?}"
        );
        assert_eq!(client.get("/").await.status(), 200);
    });
    assert_eq!(origin.requests().len(), 1);
    gateway.shutdown();
}

#[test]
fn responses_without_a_body_have_none() {
    let origin = Origin::start(|head, wire| {
        match head.first.split(' ').next() {
            Some("HEAD") => wire.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
            _ => wire.write("HTTP/1.1 204 No Content\r\n\r\n"),
        }
        Then::Keep
    });
    let setup = Setup {
        routes: "[[route]]\nid = \"a\"\npath_prefix = \"/a\"\nupstream = \"main\"\n".to_owned(),
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let head = |path| Request::head(path).body(()).unwrap();
        let answer = client.ask(head("http://a.test/a"), None).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.field("content-length"), Some("5"));
        assert!(answer.body.is_empty());
        // A problem's text is not sent either.
        let answer = client.ask(head("http://a.test/none"), None).await;
        assert_eq!(answer.status(), 404);
        assert!(answer.body.is_empty());
        let answer = client.get("/a").await;
        assert_eq!((answer.status(), answer.text()), (204, ""));
    });
    gateway.shutdown();
}

#[test]
fn many_streams_share_a_connection_and_more_than_allowed_wait() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |_, wire| {
        wait.lock().unwrap().recv_timeout(LONG).unwrap();
        wire.write(ok("hello"));
        Then::Keep
    });
    let setup = Setup {
        listen: "streams_max = 4",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        // The first tells the client the gateway's settings.
        go.send(()).unwrap();
        assert_eq!(client.get("/").await.status(), 200);
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(client.begin(get("/"), true).await.0);
        }
        let (late, _) = client.begin(get("/late"), true).await;
        eventually("four are there", || origin.requests().len() == 5);
        assert!((metric(&gateway, "http2_streams") - 4.0).abs() < f64::EPSILON);
        for _ in 0..5 {
            go.send(()).unwrap();
        }
        for response in asked {
            assert_eq!(response.await.unwrap().status(), 200);
        }
        assert_eq!(late.await.unwrap().status(), 200);
    });
    assert_eq!(origin.requests().len(), 6);
    gateway.shutdown();
}

#[test]
fn bodies_stream_both_ways() {
    let (seen, wait) = channel();
    let origin = Origin::start(move |_, wire| {
        seen.send(wire.chunk().unwrap()).unwrap();
        wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        assert_eq!(wire.chunk().unwrap(), b"last");
        assert_eq!(wire.chunk(), None);
        wire.write("4\r\nlast\r\n0\r\n\r\n");
        Then::Keep
    });
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let (response, mut stream) = client.begin(post("/"), false).await;
        stream
            .send_data(Bytes::from_static(b"first"), false)
            .unwrap();
        assert_eq!(wait.recv_timeout(LONG).unwrap(), b"first");
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "first");
        stream.send_data(Bytes::from_static(b"last"), true).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), "last");
        while let Some(end) = body.data().await {
            assert_eq!(end.unwrap(), "");
        }
    });
    gateway.shutdown();
}

#[test]
fn a_client_that_resets_a_stream_has_its_request_dropped() {
    let origin = Origin::start(|head, wire| {
        if head.first.starts_with("GET /slow") {
            assert!(wire.ends(), "the gateway gives up");
            return Then::Close;
        }
        wire.write(ok("hello"));
        Then::Keep
    });
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let (response, mut stream) = client.begin(get("/slow"), true).await;
        eventually("the request is there", || origin.requests().len() == 1);
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        eventually("the origin sees the end", || origin.closed() == 1);
        // The connection goes on.
        assert_eq!(client.get("/").await.text(), "hello");
    });
    eventually("the record is closed", || {
        metric(&gateway, "responses_cut_total{route=\"all\",by=\"client\"}") > 0.5
    });
    eventually("no stream is open", || {
        metric(&gateway, "http2_streams").abs() < f64::EPSILON
    });
    gateway.shutdown();
}

#[test]
fn a_response_that_breaks_off_resets_its_stream_only() {
    let origin = Origin::start(|head, wire| {
        if head.first.starts_with("GET /half") {
            wire.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
            return Then::Close;
        }
        wire.write(ok("hello"));
        Then::Keep
    });
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let error = client.try_ask(get("/half"), None).await.unwrap_err();
        assert!(error.is_reset() && error.is_remote(), "{error}");
        assert_eq!(client.get("/").await.text(), "hello");
    });
    gateway.shutdown();
}

#[test]
fn a_client_that_makes_no_room_for_a_response_is_not_waited_for() {
    let origin = Origin::start(|_, wire| {
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n");
        // The gateway stops reading, and then closes.
        while wire.try_write([0; 10_000]) {}
        Then::Close
    });
    let setup = Setup {
        listen: "body_timeout = \"100ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let (response, _stream) = client.begin(get("/"), true).await;
        let mut body = response.await.unwrap().into_body();
        // Nothing is given back, so the window closes.
        let error = loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("the response came to its end"),
            }
        };
        assert!(error.is_reset(), "{error}");
    });
    eventually("the origin sees the end", || origin.closed() == 1);
    gateway.shutdown();
}

#[test]
fn a_body_that_stops_coming_is_408() {
    let origin = Origin::start(|_, wire| {
        wire.rest();
        Then::Close
    });
    let setup = Setup {
        listen: "body_timeout = \"100ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let (response, mut stream) = client.begin(post("/"), false).await;
        stream
            .send_data(Bytes::from_static(b"half"), false)
            .unwrap();
        assert_eq!(response.await.unwrap().status(), 408);
    });
    gateway.shutdown();
}

#[test]
fn an_idle_connection_is_told_goodbye() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        listen: "idle_timeout = \"100ms\"\nheader_timeout = \"100ms\"",
        shutdown: "idle_grace = \"50ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    run(async {
        let mut idle = Client::connect(gateway.address()).await;
        assert_eq!(idle.get("/").await.status(), 200);
        assert_eq!(idle.ended().await, Ok(()));
        // One that never asks for anything is closed like a client that is slow with its head.
        let mut unused = Client::connect(gateway.address()).await;
        let _ = unused.ended().await;
    });
    gateway.shutdown();
}

#[test]
fn a_shutdown_finishes_what_was_begun_and_says_goodbye() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |_, wire| {
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
        wait.lock().unwrap().recv_timeout(LONG).unwrap();
        wire.write("whole");
        Then::Keep
    });
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let mut unused = Client::connect(gateway.address()).await;
        let (response, _) = client.begin(get("/"), true).await;
        let response = response.await.unwrap();
        gateway.begin_shutdown();
        eventually("readiness is off", || {
            std::net::TcpStream::connect(gateway.admin_address()).is_err()
                || admin(&gateway, "/readyz").0 == 503
        });
        assert_eq!(unused.ended().await, Ok(()));
        go.send(()).unwrap();
        let answer = crate::http2::answer(response).await.unwrap();
        assert_eq!(answer.text(), "halfwhole");
        assert_eq!(client.ended().await, Ok(()));
    });
    assert_eq!(gateway.shutdown().connections_cut, 0);
}

#[test]
fn the_log_and_the_limits_know_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.json");
    let origin = Origin::saying("hello");
    let gateway = start(&format!(
        "workers = 1\naccess_log = \"file:{}\"\n\
         listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         upstream.main.endpoints = [\"{}\"]\n\
         [[route]]\nid = \"all\"\nupstream = \"main\"\n\
         limit = [{{ by = \"address\", rate = \"2/h\" }}]\n",
        path.display(),
        origin.url()
    ));
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        for status in [200, 200, 429] {
            assert_eq!(client.get("/x?secret").await.status(), status);
        }
    });
    gateway.shutdown();
    let lines = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    for (line, status) in lines.iter().zip([200, 200, 429]) {
        assert_eq!(line["host"], "a.test");
        assert_eq!(line["path"], "/x");
        assert_eq!(line["status"], status);
    }
}
