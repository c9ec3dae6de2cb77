//! Clients of HTTP/2 that ask for more than they pay for. Each is closed, and others are served.

use std::net::SocketAddr;

use stanchion_gateway::Gateway;

use crate::http2::{Client, run};
use crate::origin2::Origin2;
use crate::setup::{Origin, Setup, Then, before, eventually, metric};
use crate::wire::Wire;

const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// `GET http://a.test/`, in HPACK.
const GET: &[u8] = b"\x82\x86\x84\x41\x06a.test";

/// A connection on which frames are written by hand.
struct Frames {
    wire: Wire,
}

impl Frames {
    fn connect(address: SocketAddr) -> Self {
        let mut wire = Wire::connect(address);
        wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        wire.write(frame(SETTINGS, 0, 0, b""));
        Self { wire }
    }

    /// The kind and the content of the next frame; `None` at the end.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.wire.try_bytes(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let content = self.wire.try_bytes(length as usize)?;
        Some((head[3], content))
    }

    /// Sends a frame again and again, and reads the answer to each, until the gateway closes; how
    /// often.
    fn repeat(&mut self, kind: u8, content: &[u8]) -> usize {
        const AT_ONCE: usize = 20;
        let burst = frame(kind, 0, 0, content).repeat(AT_ONCE);
        for answered in 0.. {
            if answered % AT_ONCE == 0 && !self.wire.try_write(&burst) {
                return answered;
            }
            assert!(answered < 50_000, "the gateway answers without end");
            loop {
                match self.next() {
                    Some((found, _)) if found == kind => break,
                    None | Some((GOAWAY, _)) => return answered,
                    Some(_) => {}
                }
            }
        }
        unreachable!("the loop has no end of its own")
    }

    /// Has the gateway read all that was written; false where the connection is over.
    fn ping(&mut self) -> bool {
        if !self.wire.try_write(frame(PING, 0, 0, b"12345678")) {
            return false;
        }
        while let Some((kind, content)) = self.next() {
            match kind {
                PING if content == b"12345678" => return true,
                GOAWAY => return false,
                _ => {}
            }
        }
        false
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(content);
    frame
}

fn assert_serves(gateway: &Gateway) {
    eventually("no stream is open", || {
        metric(gateway, "http2_streams").abs() < f64::EPSILON
    });
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        assert_eq!(client.get("/").await.status(), 200);
    });
}

#[test]
fn frames_that_ask_for_nothing_but_an_answer_which_is_read() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    for (count, (kind, content)) in [(PING, &b"12345678"[..]), (SETTINGS, b"")]
        .iter()
        .enumerate()
    {
        let mut client = Frames::connect(gateway.address());
        let sent = client.repeat(*kind, content);
        assert!(sent >= 500, "closed after {sent} of kind {kind}");
        let floods = metric(&gateway, "http2_floods_total");
        assert!((floods - (count as f64 + 1.0)).abs() < f64::EPSILON);
    }
    assert_serves(&gateway);
    gateway.shutdown();
}

#[test]
fn a_client_that_pings_for_each_part_of_a_response_is_no_flood() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let mut client = Frames::connect(gateway.address());
    for number in 0..300 {
        let asked = frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, GET);
        assert!(client.wire.try_write(asked));
        for _ in 0..8 {
            assert!(client.ping(), "closed at request {number}");
        }
    }
    assert!(metric(&gateway, "http2_floods_total").abs() < f64::EPSILON);
    assert_serves(&gateway);
    gateway.shutdown();
}

#[test]
fn streams_that_are_reset_before_they_are_accepted() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let mut client = Frames::connect(gateway.address());
    let mut sent = 0;
    // A thousand at once, so that most are reset in what the gateway reads together.
    while sent < 1_000_000 {
        let mut burst = Vec::new();
        for _ in 0..1_000 {
            let stream = 2 * sent + 1;
            burst.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, GET));
            burst.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            sent += 1;
        }
        if !client.wire.try_write(burst) {
            break;
        }
    }
    assert!(sent < 1_000_000, "the gateway takes resets without end");
    eventually("it is counted", || {
        metric(&gateway, "http2_floods_total") > 0.5
    });
    assert_serves(&gateway);
    gateway.shutdown();
}

#[test]
fn streams_that_are_reset_once_they_are_accepted() {
    let origin = Origin::start(|head, wire| {
        // The first is for whoever asks afterwards.
        if head.field("x-forwarded-for").is_some() && head.first.starts_with("GET /slow") {
            wire.rest();
            return Then::Close;
        }
        wire.write(crate::setup::ok("hello"));
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = Frames::connect(gateway.address());
    let slow = b"\x82\x86\x04\x05/slow\x41\x06a.test";
    let mut sent = 0;
    loop {
        let stream = 2 * sent + 1;
        let asked = frame(HEADERS, END_HEADERS | END_STREAM, stream, slow);
        if !client.wire.try_write(asked) || !client.ping() {
            break;
        }
        let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        if !client.wire.try_write(reset) || !client.ping() {
            break;
        }
        sent += 1;
        assert!(sent < 1_000, "the gateway takes resets without end");
    }
    assert!(sent >= 100, "closed after {sent}, which a client may need");
    assert!((metric(&gateway, "http2_floods_total") - 1.0).abs() < f64::EPSILON);
    assert_serves(&gateway);
    eventually("the origin is left alone", || {
        origin.closed() + 1 >= origin.connections()
    });
    gateway.shutdown();
}

#[test]
fn a_head_that_goes_on_and_on() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    // In large pieces, and in tiny ones.
    for size in [16_000, 1] {
        let mut client = Frames::connect(gateway.address());
        client.wire.write(frame(HEADERS, END_STREAM, 1, GET));
        let piece = frame(CONTINUATION, 0, 1, &b"\0\x01x\x01y".repeat(1 + size / 5));
        let mut sent = 0;
        while client.wire.try_write(&piece) {
            sent += piece.len();
            assert!(sent < 10_000_000, "the gateway reads a head without end");
        }
    }
    eventually("both are counted", || {
        metric(&gateway, "http2_floods_total") > 1.5
    });
    assert_serves(&gateway);
    assert_eq!(origin.requests().len(), 1);
    gateway.shutdown();
}

#[test]
fn answers_that_nobody_reads() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        listen: "body_timeout = \"200ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    for flood in [frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, b"")] {
        let mut client = Frames::connect(gateway.address());
        let burst = flood.repeat(1_000);
        let mut sent: usize = 0;
        while client.wire.try_write(&burst) {
            sent += burst.len();
            assert!(sent < 1_000_000_000, "the gateway answers without end");
        }
    }
    assert_serves(&gateway);
    gateway.shutdown();
}

#[test]
fn empty_pieces_of_a_body() {
    let origin = Origin::start(|head, wire| {
        wire.body(head);
        wire.write(crate::setup::ok("hello"));
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = Frames::connect(gateway.address());
    let post = b"\x83\x86\x84\x41\x06a.test";
    client.wire.write(frame(HEADERS, END_HEADERS, 1, post));
    let burst = frame(DATA, 0, 1, b"").repeat(1_000);
    let mut sent = 0;
    while client.wire.try_write(&burst) {
        sent += burst.len();
        assert!(sent < 100_000_000, "the gateway reads nothing without end");
    }
    eventually("it is counted", || {
        metric(&gateway, "http2_floods_total") > 0.5
    });
    assert_serves(&gateway);
    gateway.shutdown();
}

#[test]
fn tiny_pieces_of_a_body_that_nobody_takes() {
    let mut narrow = h2::server::Builder::new();
    narrow.initial_window_size(1);
    let origin = Origin2::with(narrow, |mut asked| async move {
        if asked.head.method == "POST" {
            std::future::pending::<()>().await;
        }
        asked.say("hello");
    });
    let setup = Setup {
        upstream: "protocol = \"h2\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut client = Frames::connect(gateway.address());
    let post = b"\x83\x86\x84\x41\x06a.test";
    client.wire.write(frame(HEADERS, END_HEADERS, 1, post));
    let burst = frame(DATA, 0, 1, b"x").repeat(1_000);
    let mut sent = 0;
    // No more than the stream's window takes.
    while sent < 200_000 && client.wire.try_write(&burst) {
        sent += 1_000;
    }
    eventually("it is counted", || {
        metric(&gateway, "http2_floods_total") > 0.5
    });
    assert!(sent >= 8_000, "closed after {sent}");
    assert_serves(&gateway);
    gateway.shutdown();
}

#[test]
fn fields_that_http_2_forbids_and_malformed_names() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    for (field, what) in [
        (&b"\0\x0aconnection\x05close"[..], "connection"),
        (b"\0\x11transfer-encoding\x07chunked", "transfer-encoding"),
        (b"\0\x07upgrade\x03h2c", "upgrade"),
        (b"\0\x0akeep-alive\x01x", "keep-alive"),
        (b"\0\x10proxy-connection\x01x", "proxy-connection"),
        (b"\0\x02te\x04gzip", "te"),
        (b"\0\x03X-a\x01x", "upper case"),
        (b"\0\x03x a\x01x", "a space"),
        (b"\0\x03x-a\x03x\r\n", "a line's end"),
        (b"\0\x00\x01x", "no name"),
    ] {
        let mut client = Frames::connect(gateway.address());
        let head = [GET, field].concat();
        client
            .wire
            .write(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
        let refused = loop {
            match client.next() {
                Some((RST_STREAM | GOAWAY, _)) | None => break true,
                Some((HEADERS, _)) => break false,
                Some(_) => {}
            }
        };
        assert!(refused, "{what}");
    }
    assert!(origin.requests().is_empty());
    gateway.shutdown();
}
