//! Servers that speak HTTP/2, and gRPC through the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use stanchion_gateway::Gateway;

use crate::h2_floods::{END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame};
use crate::http2::{Answer, Client, get, post, run, text};
use crate::origin2::{Asked, End, Origin2};
use crate::setup::{LONG, Origin, Setup, Then, client, dead_url, eventually, metric};

fn with(urls: &[String], upstream: &'static str) -> Gateway {
    let setup = Setup {
        upstream,
        ..Setup::default()
    };
    setup.start(urls)
}

fn before(origin: &Origin2) -> Gateway {
    with(&[origin.url()], "protocol = \"h2\"")
}

async fn read(asked: &mut Asked) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = asked.body.data().await {
        let _ = asked.body.flow_control().release_capacity(chunk.len());
        body.extend_from_slice(&chunk);
    }
    body
}

fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in list {
        fields.append(*name, HeaderValue::from_static(value));
    }
    fields
}

fn grpc(path: &str) -> Request<()> {
    let mut request = post(path);
    *request.headers_mut() = fields(&[("te", "trailers"), ("content-type", "application/grpc")]);
    request
}

#[test]
fn clients_of_http_1_1_reach_servers_of_http_2() {
    let origin = Origin2::start(|mut asked| async move {
        let body = read(&mut asked).await;
        let mut stream = asked
            .respond
            .send_response(Response::new(()), false)
            .unwrap();
        stream.send_data(body.into(), true).unwrap();
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    for round in 1..=3 {
        client.ask(
            "POST",
            "/x?y",
            &["host: a.test:81", "transfer-encoding: chunked"],
        );
        client.write("5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(client.reply().text(), "hello");
        assert_eq!(origin.requests().len(), round);
    }
    let head = origin.last_request();
    assert_eq!(head.uri, "http://a.test:81/x?y");
    assert_eq!(text(&head.headers, "host"), None);
    assert_eq!(text(&head.headers, "transfer-encoding"), None);
    assert_eq!(text(&head.headers, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(origin.connections(), 1);
    gateway.shutdown();
}

#[test]
fn many_requests_share_a_connection_and_no_more_are_opened_than_needed() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let origin = Origin2::start(move |mut asked| {
        let mut wait = wait.clone();
        async move {
            wait.wait_for(|go| *go).await.unwrap();
            asked.say("hello");
        }
    });
    let gateway = with(
        &[origin.url()],
        "protocol = \"h2\"\nstreams_max = 4\nconnections_max = 2\nconnect_timeout = \"200ms\"",
    );
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let mut asked = Vec::new();
        for _ in 0..8 {
            asked.push(client.begin(get("/"), true).await.0);
        }
        eventually("all are there", || origin.requests().len() == 8);
        assert_eq!(origin.connections(), 2);
        // There is no place for a ninth.
        let answer = client.get("/").await;
        assert_eq!(answer.status(), 503);
        answer.problem();
        go.send_replace(true);
        for response in asked {
            assert_eq!(response.await.unwrap().status(), 200);
        }
        assert_eq!(client.get("/").await.text(), "hello");
    });
    assert_eq!(origin.connections(), 2);
    gateway.shutdown();
}

#[test]
fn a_call_of_grpc_passes_with_its_trailers() {
    let origin = Origin2::start(|mut asked| async move {
        let body = read(&mut asked).await;
        let mut head = Response::new(());
        *head.headers_mut() = fields(&[("content-type", "application/grpc")]);
        let mut stream = asked.respond.send_response(head, false).unwrap();
        stream.send_data(body.into(), false).unwrap();
        stream
            .send_trailers(fields(&[("grpc-status", "5"), ("grpc-message", "none")]))
            .unwrap();
    });
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let answer = client.ask(grpc("/a.B/C"), Some("\0\0\0\0\0")).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.body, b"\0\0\0\0\0");
        assert_eq!(answer.trailer("grpc-status"), Some("5"));
        assert_eq!(answer.trailer("grpc-message"), Some("none"));
    });
    let head = origin.last_request();
    assert_eq!(text(&head.headers, "te"), Some("trailers"));
    gateway.shutdown();
}

#[test]
fn an_answer_of_grpc_may_be_trailers_only_and_requests_may_have_trailers() {
    let origin = Origin2::start(|mut asked| async move {
        read(&mut asked).await;
        let trailers = asked.body.trailers().await.unwrap().unwrap();
        assert_eq!(text(&trailers, "x-sum"), Some("7"));
        let mut head = Response::new(());
        *head.headers_mut() = fields(&[("grpc-status", "12")]);
        asked.respond.send_response(head, true).unwrap();
    });
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let (response, mut stream) = client.begin(grpc("/a.B/C"), false).await;
        stream.send_data(Bytes::from_static(b"x"), false).unwrap();
        stream.send_trailers(fields(&[("x-sum", "7")])).unwrap();
        let answer: Answer = crate::http2::answer(response.await.unwrap()).await.unwrap();
        assert_eq!(answer.field("grpc-status"), Some("12"));
        assert!(answer.body.is_empty());
    });
    gateway.shutdown();
}

#[test]
fn a_conversation_streams_both_ways_and_outlasts_a_silent_client() {
    let origin = Origin2::start(|mut asked| async move {
        let mut stream = asked
            .respond
            .send_response(Response::new(()), false)
            .unwrap();
        while let Some(Ok(chunk)) = asked.body.data().await {
            let _ = asked.body.flow_control().release_capacity(chunk.len());
            stream.send_data(chunk, false).unwrap();
        }
        stream
            .send_trailers(fields(&[("grpc-status", "0")]))
            .unwrap();
    });
    let setup = Setup {
        listen: "body_timeout = \"100ms\"",
        upstream: "protocol = \"h2\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let (response, mut stream) = client.begin(grpc("/a.B/C"), false).await;
        let mut body = response.await.unwrap().into_body();
        for said in ["one", "two", "three"] {
            crate::setup::pass(std::time::Duration::from_millis(150));
            stream
                .send_data(Bytes::from_static(said.as_bytes()), false)
                .unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), said);
            let _ = body.flow_control().release_capacity(said.len());
        }
        stream.send_data(Bytes::new(), true).unwrap();
        while let Some(end) = body.data().await {
            assert_eq!(end.unwrap(), "");
        }
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(text(&trailers, "grpc-status"), Some("0"));
    });
    gateway.shutdown();
}

#[test]
fn a_long_conversation_of_small_messages_is_no_flood() {
    let origin = Origin2::start(|mut asked| async move {
        let mut stream = asked
            .respond
            .send_response(Response::new(()), false)
            .unwrap();
        while let Some(Ok(chunk)) = asked.body.data().await {
            let _ = asked.body.flow_control().release_capacity(chunk.len());
            stream.send_data(chunk, false).unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let (response, mut stream) = client.begin(grpc("/a.B/C"), false).await;
        let mut body = response.await.unwrap().into_body();
        for _ in 0..3_000 {
            stream.send_data(Bytes::from_static(b"x"), false).unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), "x");
            let _ = body.flow_control().release_capacity(1);
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    assert!(metric(&gateway, "http2_floods_total").abs() < f64::EPSILON);
    gateway.shutdown();
}

/// An origin whose first requests are refused in some way, and a count of those that were begun.
fn refusing(first: usize, how: Option<End>) -> (Origin2, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let origin = Origin2::start(move |mut asked| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if number < first {
                match how {
                    None => asked.respond.send_reset(h2::Reason::REFUSED_STREAM),
                    Some(end) => {
                        let _ = asked.end.send(end);
                    }
                }
                return;
            }
            let body = read(&mut asked).await;
            let mut stream = asked
                .respond
                .send_response(Response::new(()), false)
                .unwrap();
            stream.send_data(body.into(), true).unwrap();
        }
    });
    (origin, seen)
}

#[test]
fn a_request_that_the_server_refused_is_sent_once_more_with_its_body() {
    let (origin, seen) = refusing(1, None);
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let answer = client.ask(post("/"), Some("body")).await;
        assert_eq!((answer.status(), answer.text()), (200, "body"));
    });
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    assert_eq!(origin.connections(), 2);
    gateway.shutdown();

    let (origin, seen) = refusing(10, None);
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let answer = client.ask(post("/"), Some("body")).await;
        assert_eq!(answer.status(), 502);
        answer.problem();
    });
    assert_eq!(seen.load(Ordering::SeqCst), 2, "only once more");
    gateway.shutdown();
}

#[test]
fn a_request_that_may_have_begun_is_not_sent_again() {
    for end in [End::Cut, End::Abruptly(h2::Reason::INTERNAL_ERROR)] {
        let (origin, seen) = refusing(1, Some(end));
        let gateway = before(&origin);
        run(async {
            let mut client = Client::connect(gateway.address()).await;
            let answer = client.get("/").await;
            assert_eq!(answer.status(), 502, "{end:?}");
            let problem = answer.problem().to_string();
            assert!(!problem.contains("127.0.0.1"), "{problem}");
            assert_eq!(client.get("/").await.status(), 200);
        });
        assert_eq!(seen.load(Ordering::SeqCst), 2);
        gateway.shutdown();
    }
}

#[test]
fn a_connection_that_says_goodbye_is_replaced_and_loses_nothing() {
    let origin = Origin2::start(|mut asked| async move {
        // Each connection takes one request, and says so.
        let _ = asked.end.send(End::Gracefully);
        read(&mut asked).await;
        asked.say("hello");
    });
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        for _ in 0..20 {
            assert_eq!(client.ask(post("/"), Some("x")).await.status(), 200);
        }
    });
    assert!(origin.connections() > 1);
    eventually("the old ones are closed", || {
        origin.closed() + 1 >= origin.connections()
    });
    gateway.shutdown();
}

#[test]
fn the_next_endpoint_takes_over_and_none_gives_502() {
    let origin = Origin2::saying("hello");
    let gateway = with(&[dead_url(), origin.url()], "protocol = \"h2\"");
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        for _ in 0..4 {
            assert_eq!(client.ask(post("/"), Some("x")).await.text(), "hello");
        }
    });
    gateway.shutdown();
    let gateway = with(&[dead_url()], "protocol = \"h2\"");
    assert_eq!(client(&gateway).get("/", &[]).status, 502);
    gateway.shutdown();
    // A server that does not speak it.
    let other = Origin::start(|_, wire| {
        wire.write("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        Then::Close
    });
    let gateway = with(&[other.url()], "protocol = \"h2\"");
    assert_eq!(client(&gateway).get("/", &[]).status, 502);
    gateway.shutdown();
}

#[test]
fn a_silent_server_gives_504_and_a_pause_in_a_response_cuts_it() {
    let origin = Origin2::start(|mut asked| async move {
        if asked.head.uri.path() == "/half" {
            let mut stream = asked
                .respond
                .send_response(Response::new(()), false)
                .unwrap();
            stream
                .send_data(Bytes::from_static(b"half"), false)
                .unwrap();
            std::future::pending::<()>().await;
        }
        std::future::pending::<()>().await;
    });
    let gateway = with(
        &[origin.url()],
        "protocol = \"h2\"\nresponse_timeout = \"100ms\"",
    );
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        assert_eq!(client.get("/").await.status(), 504);
        let error = client.try_ask(get("/half"), None).await.unwrap_err();
        assert!(error.is_reset(), "{error}");
    });
    eventually("it is counted", || {
        metric(
            &gateway,
            "responses_cut_total{route=\"all\",by=\"upstream\"}",
        ) > 0.5
    });
    gateway.shutdown();
}

#[test]
fn a_client_that_leaves_has_its_stream_reset_at_the_server() {
    let reset = Arc::new(AtomicUsize::new(0));
    let counted = reset.clone();
    let origin = Origin2::start(move |mut asked| {
        let counted = counted.clone();
        async move {
            if asked.head.uri.path() != "/slow" {
                asked.say("hello");
                return;
            }
            let reason = std::future::poll_fn(|cx| asked.respond.poll_reset(cx)).await;
            assert_eq!(reason.unwrap(), h2::Reason::CANCEL);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let (response, mut stream) = client.begin(get("/slow"), true).await;
        eventually("the request is there", || origin.requests().len() == 1);
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
    });
    let mut one = client(&gateway);
    one.ask("GET", "/slow", &[]);
    eventually("the request is there", || origin.requests().len() == 2);
    drop(one);
    eventually("both are reset", || reset.load(Ordering::SeqCst) == 2);
    assert_eq!(client(&gateway).get("/", &[]).text(), "hello");
    assert_eq!(origin.connections(), 1);
    gateway.shutdown();
}

#[test]
fn a_server_that_allows_fewer_streams_gets_fewer() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    // By hand: no library lets a server change its mind.
    let origin = Origin::start(move |head, wire| {
        assert_eq!(head.first, "PRI * HTTP/2.0");
        assert_eq!(wire.bytes(6), b"SM\r\n\r\n");
        wire.write(frame(SETTINGS, 0, 0, b""));
        let mut first = true;
        while let Some(head) = wire.try_bytes(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            wire.bytes(length as usize);
            if head[3] != HEADERS {
                continue;
            }
            counted.fetch_add(1, Ordering::SeqCst);
            if first {
                // From now on one at a time.
                wire.write(frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\x01"));
            } else {
                wait.lock().unwrap().recv_timeout(LONG).unwrap();
            }
            first = false;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            // `:status 200`
            wire.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x88"));
        }
        Then::Close
    });
    let gateway = with(&[origin.url()], "protocol = \"h2\"");
    let mut first = client(&gateway);
    assert_eq!(first.get("/", &[]).status, 200);
    first.ask("GET", "/held", &[]);
    eventually("it is asked", || asked.load(Ordering::SeqCst) == 2);
    // The connection is full now, so there is another.
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    assert_eq!(origin.connections(), 2);
    go.send(()).unwrap();
    assert_eq!(first.reply().status, 200);
    drop(first);
    gateway.shutdown();
}

#[test]
fn an_idle_connection_is_closed() {
    let origin = Origin2::saying("hello");
    let gateway = with(
        &[origin.url()],
        "protocol = \"h2\"\nidle_timeout = \"50ms\"",
    );
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    eventually("the gateway closes", || origin.closed() == 1);
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    gateway.shutdown();
}

#[test]
fn trailers_of_chunked_bodies_pass_to_clients_of_http_2() {
    let origin = Origin::start(|_, wire| {
        wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n");
        wire.write("4\r\nbody\r\n0\r\nx-sum: 7\r\nconnection: x\r\n\r\n");
        Then::Keep
    });
    let gateway = crate::setup::before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let answer = client.get("/").await;
        assert_eq!(answer.text(), "body");
        assert_eq!(answer.trailer("x-sum"), Some("7"));
        assert_eq!(answer.trailer("connection"), None);
    });
    gateway.shutdown();
}
