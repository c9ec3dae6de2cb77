//! What is malformed, ambiguous or too large, as bytes on a socket: what becomes of it, and that
//! nothing of it reaches an origin.

use crate::setup::{Origin, Then, before, client, ok};

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
