//! What is malformed, ambiguous or too large, as bytes on a socket: what becomes of it, and that
//! nothing of it reaches an origin.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;
use stanchion_core::Clock;

use crate::setup::{
    LONG, Origin, Setup, Then, before, client, eventually, metric, ok, pass, start,
};

/// What becomes of a request.
enum Fate {
    /// Answered with this, closed, and not passed on.
    Refused(u16),
    /// Passed on with this first line and body.
    Passed(&'static str, &'static str),
}

use Fate::{Passed, Refused};

/// An origin that records heads, and answers with the body that it got.
fn echo() -> Origin {
    Origin::start(|head, wire| {
        let body = wire.body(head);
        wire.write(ok(std::str::from_utf8(&body).unwrap()));
        Then::Keep
    })
}

const HOST: &str = "Host: a.test\r\n";

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n\r\n{body}")
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{HOST}\r\n")
}

fn with(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\n{HOST}{fields}\r\n\r\n")
}

#[test]
fn each_malformed_request_is_refused_or_passes_clean() {
    const CHUNKED: &str = "Transfer-Encoding: chunked";
    const CHUNKS: &str = "4\r\nbody\r\n0\r\n\r\n";
    let large = format!("X: {}", "a".repeat(64 * 1024));
    let many = "X: 1\r\n".repeat(150);
    let origin = echo();
    let gateway = before(&origin);
    for (name, bytes, fate) in [
        (
            "length and chunks",
            post(&format!("Content-Length: 4\r\n{CHUNKED}"), CHUNKS),
            Refused(400),
        ),
        (
            "chunks and length",
            post(&format!("{CHUNKED}\r\nContent-Length: 4"), CHUNKS),
            Refused(400),
        ),
        (
            "chunked and a tab",
            post(&format!("{CHUNKED}\t"), CHUNKS),
            Passed("POST / HTTP/1.1", "body"),
        ),
        (
            "chunked and a vertical tab",
            post(&format!("{CHUNKED}\x0b"), CHUNKS),
            Refused(400),
        ),
        (
            "xchunked",
            post("Transfer-Encoding: xchunked", CHUNKS),
            Refused(501),
        ),
        (
            "chunked, then identity",
            post("Transfer-Encoding: chunked, identity", CHUNKS),
            Refused(501),
        ),
        (
            "gzip, then chunked",
            post("Transfer-Encoding: gzip, chunked", CHUNKS),
            Refused(501),
        ),
        (
            "chunked twice",
            post(&format!("{CHUNKED}\r\n{CHUNKED}"), CHUNKS),
            Refused(400),
        ),
        (
            "one length twice",
            post("Content-Length: 4\r\nContent-Length: 4", "body"),
            Refused(400),
        ),
        (
            "two lengths",
            post("Content-Length: 4\r\nContent-Length: 5", "body"),
            Refused(400),
        ),
        (
            "a list of lengths",
            post("Content-Length: 4, 4", "body"),
            Refused(400),
        ),
        (
            "a signed length",
            post("Content-Length: +4", "body"),
            Refused(400),
        ),
        (
            "an empty length",
            post("Content-Length:", "body"),
            Refused(400),
        ),
        (
            "a space before the colon",
            post("Content-Length : 4", "body"),
            Refused(400),
        ),
        (
            "an alias of the length",
            post("Content_Length: 4", "body"),
            Refused(400),
        ),
        ("a folded line", with("X: 1\r\n 2"), Refused(400)),
        (
            "a folded encoding",
            post("Transfer-Encoding:\r\n chunked", CHUNKS),
            Refused(400),
        ),
        (
            "bare LF",
            "GET / HTTP/1.1\nHost: a.test\n\n".to_owned(),
            Refused(400),
        ),
        ("bare LF in a head", with("X: 1\nY: 2"), Refused(400)),
        ("bare CR in a value", with("X: 1\rY: 2"), Refused(400)),
        ("NUL in a value", with("X: a\0b"), Refused(400)),
        (
            "a chunk's line that ends with LF",
            post(CHUNKED, "4\nbody\r\n0\r\n\r\n"),
            Refused(400),
        ),
        (
            "a chunk that is longer",
            post(CHUNKED, "4\r\nbody!\r\n0\r\n\r\n"),
            Refused(400),
        ),
        (
            "a size with a space",
            post(CHUNKED, "4 \r\nbody\r\n0\r\n\r\n"),
            Refused(400),
        ),
        (
            "a size with 0x",
            post(CHUNKED, "0x4\r\nbody\r\n0\r\n\r\n"),
            Refused(400),
        ),
        (
            "a size beyond 64 bits",
            post(CHUNKED, "10000000000000004\r\nbody\r\n0\r\n\r\n"),
            Refused(400),
        ),
        (
            "a length as trailer",
            post(CHUNKED, "4\r\nbody\r\n0\r\nContent-Length: 9\r\n\r\n"),
            Refused(400),
        ),
        (
            "an extension",
            post(CHUNKED, "4;x=\"y\"\r\nbody\r\n0\r\n\r\n"),
            Passed("POST / HTTP/1.1", "body"),
        ),
        ("no Host", "GET / HTTP/1.1\r\n\r\n".to_owned(), Refused(400)),
        ("two Hosts", with("Host: b.test"), Refused(400)),
        ("the same Host twice", with("Host: a.test"), Refused(400)),
        (
            "a Host with a path",
            "GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n".to_owned(),
            Refused(400),
        ),
        (
            "an empty Host",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
            Refused(400),
        ),
        (
            "another Host in the target",
            get("http://b.test/x?y"),
            Passed("GET /x?y HTTP/1.1", ""),
        ),
        (
            "a user in the target",
            get("http://u:p@a.test/"),
            Refused(400),
        ),
        (
            "a scheme that is not http",
            get("ftp://a.test/"),
            Refused(400),
        ),
        (
            "TRACE",
            format!("TRACE / HTTP/1.1\r\n{HOST}\r\n"),
            Refused(405),
        ),
        (
            "CONNECT",
            format!("CONNECT a.test:443 HTTP/1.1\r\n{HOST}\r\n"),
            Refused(405),
        ),
        (
            "HTTP/1.0 and chunks",
            format!("POST / HTTP/1.0\r\n{HOST}{CHUNKED}\r\n\r\n{CHUNKS}"),
            Refused(400),
        ),
        ("HTTP/0.9", "GET /\r\n".to_owned(), Refused(400)),
        (
            "HTTP/2.0 as text",
            format!("GET / HTTP/2.0\r\n{HOST}\r\n"),
            Refused(505),
        ),
        (
            "HTTP/1.2",
            format!("GET / HTTP/1.2\r\n{HOST}\r\n"),
            Refused(505),
        ),
        ("a fragment", get("/a#b"), Refused(400)),
        ("a space in the target", get("/a b"), Refused(400)),
        ("a tab in the target", get("/a\tb"), Refused(400)),
        ("a backslash in the path", get("/a\\b"), Refused(400)),
        ("no path", get("a"), Refused(400)),
        ("a star with GET", get("*"), Refused(400)),
        (
            "a long target",
            get(&format!("/{}", "a".repeat(8 * 1024))),
            Refused(414),
        ),
        ("a large field", with(&large), Refused(431)),
        ("many fields", with(many.trim_end()), Refused(431)),
        (
            "TLS",
            "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".to_owned(),
            Refused(400),
        ),
    ] {
        let known = origin.requests().len();
        let mut client = client(&gateway);
        // A request behind it: smuggled, it would be answered.
        client.try_write(&bytes);
        client.try_write(get("/behind"));
        let reply = client.reply();
        match fate {
            Refused(status) => {
                assert_eq!(reply.status, status, "{name}: {reply:?}");
                reply.problem();
                // Its end is beyond doubt, so the connection goes on.
                if name == "TRACE" || name.contains("Host") {
                    assert_eq!(client.reply().status, 200, "{name}");
                    assert_eq!(origin.requests().len(), known + 1, "{name}");
                } else {
                    assert_eq!(reply.head.field("connection"), Some("close"), "{name}");
                    assert!(client.ends(), "{name}");
                    assert_eq!(origin.requests().len(), known, "{name}");
                }
            }
            Passed(line, body) => {
                assert_eq!((reply.status, reply.text()), (200, body), "{name}");
                let passed = &origin.requests()[known];
                assert_eq!(passed.first, line, "{name}");
                for field in ["transfer-encoding", "content-length", "host"] {
                    assert!(passed.all(field).len() <= 1, "{name}: {passed:?}");
                }
                if let Some(encoding) = passed.field("transfer-encoding") {
                    assert_eq!(encoding, "chunked");
                }
                assert_eq!(client.reply().status, 200, "{name}");
            }
        }
    }
    gateway.shutdown();
}

#[test]
fn what_the_guard_refuses_is_logged_and_counted_with_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.json");
    let origin = echo();
    let gateway = start(&format!(
        "workers = 1\naccess_log = \"file:{}\"\n\
         listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         upstream.main.endpoints = [{:?}]\n[[route]]\nid = \"all\"\nupstream = \"main\"\n",
        path.display(),
        origin.url(),
    ));
    let mut ids = Vec::new();
    for bytes in [
        format!("POST /a?secret HTTP/1.1\r\n{HOST}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        "\x16\x03\x01\r\n".to_owned(),
    ] {
        let mut client = client(&gateway);
        client.write(&bytes);
        let reply = client.reply();
        assert_eq!(reply.status, 400);
        assert!(reply.head.field("date").is_some());
        ids.push(reply.head.field("x-request-id").unwrap().to_owned());
    }
    // A response to HEAD has no body, whatever it is.
    let mut client = client(&gateway);
    client.write(format!("HEAD /a b HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(client.head().unwrap().status(), 400);
    assert!(client.ends());

    let counted = "requests_total{route=\"unmatched\",method=\"POST\",status=\"4xx\"}";
    assert!((metric(&gateway, counted) - 1.0).abs() < f64::EPSILON);
    let counted = "requests_total{route=\"unmatched\",method=\"other\",status=\"4xx\"}";
    assert!((metric(&gateway, counted) - 1.0).abs() < f64::EPSILON);
    gateway.shutdown();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("secret"));
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    for (line, id, method, path, problem) in [
        (&lines[0], &ids[0], "POST", "/a", "content_length"),
        (&lines[1], &ids[1], "-", "", "request_line"),
    ] {
        assert_eq!(line["id"], id.as_str());
        assert_eq!(
            (&line["method"], &line["path"]),
            (&method.into(), &path.into())
        );
        assert_eq!(
            (&line["route"], &line["status"]),
            (&"unmatched".into(), &400.into())
        );
        assert_eq!(line["problem"], problem);
        assert_eq!(line["client"], "127.0.0.1");
    }
}

#[test]
fn requests_before_a_refused_one_are_answered_first() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |_, wire| {
        wait.lock().unwrap().recv_timeout(LONG).unwrap();
        wire.write(ok("first"));
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    client.write(get("/1") + &get("/2") + &get("/a b"));
    for _ in 0..2 {
        go.send(()).unwrap();
        let reply = client.reply();
        assert_eq!((reply.status, reply.text()), (200, "first"));
        assert_eq!(reply.head.field("connection"), None);
    }
    let reply = client.reply();
    assert_eq!(reply.status, 400);
    assert_eq!(reply.head.field("connection"), Some("close"));
    assert!(client.ends());
    gateway.shutdown();
}

#[test]
fn a_body_that_breaks_after_its_head_passed_closes_both_sides() {
    let (seen, passed) = channel();
    let origin = Origin::start(move |_, wire| {
        seen.send(wire.chunk()).unwrap();
        assert!(wire.ends(), "the end of the body was made up");
        Then::Close
    });
    let gateway = before(&origin);
    for bad in [
        "4\nbody",
        "4 \r\nbody",
        "x\r\n",
        "0\r\nhost: b\r\n\r\n",
        "2\r\nabc",
    ] {
        let mut client = client(&gateway);
        client.write(post("Transfer-Encoding: chunked", "4\r\nbody\r\n"));
        let chunk = passed.recv_timeout(LONG).unwrap();
        assert_eq!(chunk.as_deref(), Some(&b"body"[..]));
        client.write(bad);
        assert_eq!(client.rest(), b"", "{bad:?} was answered");
    }
    eventually("the origin's side is closed", || origin.closed() == 5);
    eventually("it is counted", || {
        metric(&gateway, "responses_cut_total{route=\"all\",by=\"client\"}") > 4.5
    });
    gateway.shutdown();
}

#[test]
fn bodies_have_their_most_by_route_told_or_not() {
    let origin = echo();
    let setup = Setup {
        listen: "body_bytes_max = \"8B\"",
        routes: "[[route]]\nid = \"small\"\nupstream = \"main\"\n\
                 [[route]]\nid = \"large\"\nupstream = \"main\"\npath_prefix = \"/large\"\n\
                 body_bytes_max = \"1MiB\"\n"
            .to_owned(),
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut one = client(&gateway);
    one.write(post("Content-Length: 8", "8 bytes!"));
    assert_eq!(one.reply().text(), "8 bytes!");
    one.write(post(
        "Transfer-Encoding: chunked",
        "4\r\nbody\r\n4\r\nbody\r\n0\r\n\r\n",
    ));
    assert_eq!(one.reply().text(), "bodybody");
    // Refused by what it tells; all of it came in, so the connection goes on.
    let known = origin.requests().len();
    one.write(post("Content-Length: 9", "9 bytes !"));
    let reply = one.reply();
    assert_eq!((reply.status, reply.head.field("connection")), (413, None));
    assert_eq!(reply.problem()["status"], 413);
    assert_eq!(origin.requests().len(), known);
    one.write(format!(
        "POST /large HTTP/1.1\r\n{HOST}Content-Length: 9\r\n\r\n9 bytes !"
    ));
    assert_eq!(one.reply().text(), "9 bytes !");
    // Not sent yet, and not waited for.
    one.write(post("Content-Length: 9\r\nExpect: 100-continue", ""));
    let reply = one.reply();
    assert_eq!(
        (reply.status, reply.head.field("connection")),
        (413, Some("close"))
    );
    gateway.shutdown();

    // Of unknown length, it is cut off where it is too much, and the origin with it.
    let origin = Origin::start(|head, wire| {
        assert_eq!(head.field("transfer-encoding"), Some("chunked"));
        let received = wire.rest();
        assert!(!received.ends_with(b"0\r\n\r\n"));
        Then::Close
    });
    let gateway = setup.start(&[origin.url()]);
    let mut two = client(&gateway);
    two.write(post(
        "Transfer-Encoding: chunked",
        "4\r\nbody\r\n5\r\nbody!\r\n0\r\n\r\n",
    ));
    let reply = two.reply();
    assert_eq!(reply.status, 413);
    reply.problem();
    gateway.shutdown();
}

#[test]
fn a_client_that_still_sends_reads_its_answer_before_the_end() {
    let origin = echo();
    let setup = Setup {
        listen: "body_bytes_max = \"1KiB\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let body = "a".repeat(4 * 1024 * 1024);
    for (bytes, status) in [
        (post(&format!("Content-Length: {}", body.len()), ""), 413),
        (with("X: 1\n"), 400),
        (
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                "",
            ),
            400,
        ),
    ] {
        let mut client = client(&gateway);
        client.write(bytes);
        // All of it, before it reads. A connection that was reset would fail this.
        client.write(&body);
        assert_eq!(client.reply().status, status);
        assert!(client.ends());
    }
    assert!(origin.requests().is_empty());
    gateway.shutdown();
}

#[test]
fn a_trickling_body_uses_up_one_patience() {
    let origin = Origin::start(|_, wire| {
        wire.rest();
        Then::Close
    });
    let setup = Setup {
        listen: "body_timeout = \"300ms\"\nbody_rate_min = \"1KiB\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    client.write(post("Content-Length: 1000000", ""));
    let clock = Clock::system();
    let start = clock.now();
    let mut trickling = client.try_clone();
    let trickle = std::thread::spawn(move || {
        // Every byte is progress, and none of it enough.
        while trickling.try_write("a") {
            pass(Duration::from_millis(50));
        }
    });
    assert_eq!(client.reply().status, 408);
    assert!(clock.now() - start >= Duration::from_millis(200));
    drop(client);
    trickle.join().unwrap();
    gateway.shutdown();
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let origin = Origin::start(|_, wire| {
        // Fills every buffer on the way, until the gateway gives up.
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        while wire.try_write([b'a'; 64 * 1024]) {}
        Then::Close
    });
    let setup = Setup {
        listen: "body_timeout = \"300ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    client.ask("GET", "/", &[]);
    assert_eq!(client.head().unwrap().status(), 200);
    eventually("the gateway gives up", || origin.closed() == 1);
    eventually("it is counted", || {
        metric(&gateway, "responses_cut_total{route=\"all\",by=\"client\"}") > 0.5
    });
    gateway.shutdown();
}

#[test]
fn a_response_whose_end_is_in_doubt_gives_502() {
    for fields in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "content-length: 4\r\ncontent-length: 4",
        "content-length: 4\r\ncontent-length: 5",
        "content-length: 4, 5",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "x : 1",
        "x: 1\r\n 2",
        "x: a\0b",
    ] {
        let origin = Origin::start(move |_, wire| {
            wire.write(format!(
                "HTTP/1.1 200 OK\r\n{fields}\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
            ));
            Then::Close
        });
        let gateway = before(&origin);
        let reply = client(&gateway).get("/", &[]);
        assert_eq!(reply.status, 502, "{fields:?}");
        reply.problem();
        gateway.shutdown();
    }
}

#[test]
fn a_response_that_nobody_asked_for_is_given_to_nobody() {
    let origin = Origin::start(|head, wire| {
        let path = head.first.split(' ').nth(1).unwrap().to_owned();
        wire.write(ok(&path) + &ok("smuggled"));
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.get(path, &[]).text(), path);
    }
    gateway.shutdown();
}
