use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::setup::{LONG, Origin, Setup, Then, before, client, dead_url, ok};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn the_first_chunk_of_a_response_arrives_before_the_last_is_sent() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |_, wire| {
        wire.write(CHUNKED);
        wire.write("5\r\nfirst\r\n");
        // Sends no more until the client has seen this much.
        wait.lock().unwrap().recv_timeout(LONG).unwrap();
        wire.write("4\r\nlast\r\n0\r\n\r\n");
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    client.ask("GET", "/", &[]);
    let head = client.head().unwrap();
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    assert_eq!(client.chunk().unwrap(), b"first");
    go.send(()).unwrap();
    assert_eq!(client.chunk().unwrap(), b"last");
    assert_eq!(client.chunk(), None);
    gateway.shutdown();
}

#[test]
fn the_first_chunk_of_a_request_arrives_before_the_last_is_sent() {
    let (seen, wait) = channel();
    let origin = Origin::start(move |_, wire| {
        seen.send(wire.chunk().unwrap()).unwrap();
        let rest = wire.chunk().unwrap();
        assert_eq!(wire.chunk(), None);
        wire.write(ok(std::str::from_utf8(&rest).unwrap()));
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    client.ask("POST", "/", &["transfer-encoding: chunked"]);
    client.write("5\r\nfirst\r\n");
    assert_eq!(wait.recv_timeout(LONG).unwrap(), b"first");
    client.write("4\r\nlast\r\n0\r\n\r\n");
    assert_eq!(client.reply().text(), "last");
    gateway.shutdown();
}

#[test]
fn large_bodies_pass_unchanged_both_ways_in_either_framing() {
    let origin = Origin::start(|head, wire| {
        let body = wire.body(head);
        if head.field("x-answer") == Some("chunked") {
            wire.write(CHUNKED);
            for chunk in body.chunks(70_001) {
                wire.write(format!("{:x}\r\n", chunk.len()));
                wire.write(chunk);
                wire.write("\r\n");
            }
            wire.write("0\r\n\r\n");
        } else {
            wire.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                body.len()
            ));
            wire.write(&body);
        }
        Then::Keep
    });
    let gateway = before(&origin);
    let body: Vec<u8> = (0..3_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut client = client(&gateway);
    for answer in ["x-answer: length", "x-answer: chunked"] {
        client.ask(
            "POST",
            "/",
            &[&format!("content-length: {}", body.len()), answer],
        );
        client.write(&body);
        assert!(client.reply().body == body);

        client.ask("POST", "/", &["transfer-encoding: chunked", answer]);
        for chunk in body.chunks(99_991) {
            client.write(format!("{:X}\r\n", chunk.len()));
            client.write(chunk);
            client.write("\r\n");
        }
        client.write("0\r\n\r\n");
        assert!(client.reply().body == body);
    }
    assert_eq!(origin.connections(), 1);
    gateway.shutdown();
}

#[test]
fn a_body_of_unknown_length_passes_with_any_method() {
    let origin = Origin::start(|head, wire| {
        let body = wire.body(head);
        wire.write(ok(std::str::from_utf8(&body).unwrap()));
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        client.ask(method, "/", &["transfer-encoding: chunked"]);
        client.write("4\r\nbody\r\n0\r\n\r\n");
        assert_eq!(client.reply().text(), "body", "{method}");
    }
    gateway.shutdown();
}

#[test]
fn responses_without_a_body_leave_the_connections_usable() {
    let origin = Origin::start(|head, wire| {
        let head_only = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        match head.first.split(' ').next() {
            Some("HEAD") => wire.write(head_only),
            Some("DELETE") => wire.write("HTTP/1.1 204 No Content\r\n\r\n"),
            Some("PUT") => wire.write("HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n"),
            _ => wire.write(ok("hello")),
        }
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    for (method, status) in [("HEAD", 200), ("DELETE", 204), ("PUT", 304), ("HEAD", 200)] {
        client.ask(method, "/", &[]);
        let head = client.head().unwrap();
        assert_eq!(head.status(), status);
        let length = (method == "HEAD").then_some("5");
        assert_eq!(head.field("content-length"), length);
        assert_eq!(client.get("/", &[]).text(), "hello", "after {method}");
    }
    assert_eq!(origin.connections(), 1);
    gateway.shutdown();
}

#[test]
fn a_response_that_ends_with_its_connection_passes_whole() {
    let origin = Origin::start(|_, wire| {
        wire.write("HTTP/1.1 200 OK\r\n\r\nto the end");
        Then::Close
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    for _ in 0..2 {
        assert_eq!(client.get("/", &[]).text(), "to the end");
    }
    gateway.shutdown();
}

#[test]
fn a_client_that_expects_100_is_told_to_go_on() {
    let origin = Origin::start(|head, wire| {
        let body = wire.body(head);
        wire.write(ok(std::str::from_utf8(&body).unwrap()));
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    client.ask("POST", "/", &["content-length: 4", "expect: 100-continue"]);
    assert_eq!(client.head().unwrap().status(), 100);
    client.write("body");
    assert_eq!(client.reply().text(), "body");
    // What was met is not asked of the server again.
    assert_eq!(origin.last_request().field("expect"), None);
    gateway.shutdown();
}

#[test]
fn who_is_refused_is_not_told_to_go_on_first() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        routes: "[[route]]\nid = \"a\"\nupstream = \"main\"\npath_prefix = \"/a\"\n\
                 body_bytes_max = \"1KiB\"\n\
                 limit = [{ by = \"address\", rate = \"1/h\" }]\n"
            .to_owned(),
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let expect = "expect: 100-continue";
    for (target, length, status) in [
        // The first is counted by the limit, and longer than its route takes.
        ("/a", 2_000, 413),
        ("/a", 4, 429),
        ("/none", 4, 404),
    ] {
        let length = format!("content-length: {length}");
        let mut client = client(&gateway);
        client.ask("POST", target, &[&length, expect]);
        // The first answer is the last.
        assert_eq!(client.reply().status, status, "{target}");
        assert!(client.ends(), "{target}");
    }
    assert!(origin.requests().is_empty());
    gateway.shutdown();

    // Nobody is there who wants the body.
    let gateway = Setup::default().start(&[dead_url()]);
    let mut client = client(&gateway);
    client.ask("POST", "/", &["content-length: 4", expect]);
    assert_eq!(client.reply().status, 502);
    gateway.shutdown();
}

#[test]
fn trailers_pass() {
    let origin = Origin::start(|_, wire| {
        wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n");
        wire.write("4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n");
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    client.ask("GET", "/", &["te: trailers", "connection: te, close"]);
    let all = String::from_utf8(client.rest()).unwrap();
    assert!(all.ends_with("4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n"), "{all}");
    gateway.shutdown();
}

#[test]
fn clients_of_http_1_0_are_answered_in_kind() {
    let origin = Origin::start(|_, wire| {
        wire.write(CHUNKED);
        wire.write("4\r\nbody\r\n0\r\n\r\n");
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    client.write("GET / HTTP/1.0\r\nhost: a.test\r\n\r\n");
    let reply = client.reply();
    assert_eq!(reply.head.field("transfer-encoding"), None);
    assert_eq!(reply.text(), "body");
    assert_eq!(origin.last_request().first, "GET / HTTP/1.1");
    gateway.shutdown();
}
