use std::collections::HashSet;

use crate::setup::{Origin, Setup, Then, before, client};

#[test]
fn a_request_gets_an_id_that_all_three_see() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let mut client = client(&gateway);
    let mut ids = HashSet::new();
    for _ in 0..10 {
        let reply = client.get("/", &["x-request-id: mine"]);
        let id = reply.head.field("x-request-id").unwrap().to_owned();
        assert_eq!(
            origin.last_request().field("x-request-id"),
            Some(id.as_str())
        );
        assert_eq!(id.len(), 32);
        assert!(ids.insert(id));
    }
    gateway.shutdown();
}

#[test]
fn an_id_is_taken_from_a_trusted_peer_if_it_is_sound() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        listen: "trusted = [\"127.0.0.0/8\"]",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    let reply = client.get("/", &["x-request-id: given-7"]);
    assert_eq!(reply.head.field("x-request-id"), Some("given-7"));
    assert_eq!(origin.last_request().field("x-request-id"), Some("given-7"));
    let reply = client.get("/", &["x-request-id: a\"b"]);
    assert_eq!(reply.head.field("x-request-id").unwrap().len(), 32);
    gateway.shutdown();
}

#[test]
fn hop_by_hop_fields_end_at_the_gateway_both_ways() {
    let origin = Origin::start(|_, wire| {
        wire.write(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x-inner, keep-alive\r\n\
             x-inner: 1\r\nkeep-alive: timeout=5\r\nupgrade: h2c\r\n\
             proxy-authenticate: Basic\r\nx-kept: 1\r\n\r\nok",
        );
        Then::Keep
    });
    let gateway = before(&origin);
    let reply = client(&gateway).get(
        "/",
        &[
            "connection: X-Secret, upgrade, http2-settings",
            "x-secret: 1",
            "upgrade: h2c",
            "http2-settings: AAMAAABk",
            "keep-alive: timeout=5",
            "proxy-connection: keep-alive",
            "proxy-authorization: Basic eDp5",
            "te: gzip",
            "x-kept: 1",
        ],
    );
    assert_eq!(reply.status, 200);
    for (side, head) in [("out", &origin.last_request()), ("back", &reply.head)] {
        assert_eq!(head.field("x-kept"), Some("1"));
        for name in [
            "connection",
            "x-secret",
            "x-inner",
            "upgrade",
            "http2-settings",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "proxy-authenticate",
            "te",
        ] {
            assert_eq!(head.field(name), None, "{name} {side}");
        }
    }
    gateway.shutdown();
}

#[test]
fn the_origin_is_told_who_asked_and_not_who_they_claim_to_be() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let reply = client(&gateway).get(
        "/",
        &[
            "host: a.test:81",
            "x-forwarded-for: 203.0.113.9",
            "x_forwarded_for: 203.0.113.9",
            "x-forwarded-proto: https",
            "x-forwarded-host: evil.test",
            "x-real-ip: 203.0.113.9",
            "forwarded: for=203.0.113.9",
        ],
    );
    assert_eq!(reply.status, 200);
    let request = origin.last_request();
    assert_eq!(request.field("host"), Some("a.test:81"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    assert_eq!(request.field("x-forwarded-host"), Some("a.test:81"));
    for name in ["x_forwarded_for", "x-real-ip", "forwarded"] {
        assert_eq!(request.field(name), None, "{name}");
    }
    gateway.shutdown();
}

#[test]
fn a_trusted_peers_word_is_passed_on() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        listen: "trusted = [\"127.0.0.1\"]",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let fields = ["x-forwarded-for: 203.0.113.9", "x-forwarded-proto: https"];
    assert_eq!(client(&gateway).get("/", &fields).status, 200);
    let request = origin.last_request();
    assert_eq!(
        request.field("x-forwarded-for"),
        Some("203.0.113.9, 127.0.0.1")
    );
    assert_eq!(request.field("x-forwarded-proto"), Some("https"));
    gateway.shutdown();
}

#[test]
fn the_origin_is_told_in_the_fields_that_its_upstream_asks_for() {
    let origin = Origin::saying("hello");
    let own = "for=127.0.0.1;host=\"a.test:81\";proto=http";
    let after = format!("for=203.0.113.9;proto=https, {own}");
    for (upstream, listen, forwarded, x_forwarded) in [
        ("", "", None, Some("127.0.0.1")),
        ("forwarded = \"forwarded\"", "", Some(own), None),
        ("forwarded = \"both\"", "", Some(own), Some("127.0.0.1")),
        (
            "forwarded = \"both\"",
            "trusted = [\"127.0.0.1\"]",
            Some(&*after),
            Some("203.0.113.9, 127.0.0.1"),
        ),
        (
            "forwarded = \"forwarded\"",
            "trusted = [\"127.0.0.1\"]",
            Some(&*after),
            None,
        ),
    ] {
        let setup = Setup {
            upstream,
            listen,
            ..Setup::default()
        };
        let gateway = setup.start(&[origin.url()]);
        let fields = [
            "host: a.test:81",
            "x-forwarded-for: 203.0.113.9",
            "x-forwarded-proto: https",
        ];
        // Nobody who is trusted wrote this one.
        let claim = ["forwarded: for=evil"];
        let claim = if listen.is_empty() { &claim[..] } else { &[] };
        let reply = client(&gateway).get("/", &[&fields[..], claim].concat());
        assert_eq!(reply.status, 200);
        let request = origin.last_request();
        assert_eq!(request.field("forwarded"), forwarded, "{upstream} {listen}");
        let found = request.field("x-forwarded-for");
        assert_eq!(found, x_forwarded, "{upstream} {listen}");
        for name in ["x-forwarded-proto", "x-forwarded-host"] {
            let found = request.field(name);
            assert_eq!(found.is_some(), x_forwarded.is_some(), "{name} {upstream}");
        }
        gateway.shutdown();
    }
}

#[test]
fn other_fields_pass_in_their_order_and_number() {
    let origin = Origin::start(|_, wire| {
        wire.write(
            "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n",
        );
        Then::Keep
    });
    let gateway = before(&origin);
    let fields = ["cookie: a=1", "x-many: 1", "x-many: 2", "x-empty:"];
    let reply = client(&gateway).get("/", &fields);
    assert_eq!(reply.head.all("set-cookie"), ["a=1", "b=2"]);
    let request = origin.last_request();
    assert_eq!(request.all("x-many"), ["1", "2"]);
    assert_eq!(request.field("x-empty"), Some(""));
    gateway.shutdown();
}
