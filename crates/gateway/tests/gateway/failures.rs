use std::net::TcpListener;
use std::time::Duration;

use crate::setup::{Origin, Setup, Then, before, client, dead_url, eventually, metric, ok, pass};
use crate::wire::Reply;

/// A problem that says nothing of what is behind the gateway.
fn assert_discreet(reply: &Reply, origin: &str) {
    let text = reply.problem().to_string();
    let address = origin.trim_start_matches("http://");
    let port = address.rsplit(':').next().unwrap();
    for secret in [address, port, "main", "hyper", "os error"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn an_endpoint_that_is_down_gives_502() {
    let url = dead_url();
    let gateway = Setup::default().start(std::slice::from_ref(&url));
    let mut client = client(&gateway);
    for _ in 0..2 {
        let reply = client.get("/", &[]);
        assert_eq!(reply.status, 502);
        assert_discreet(&reply, &url);
    }
    gateway.shutdown();
}

#[test]
fn the_next_endpoint_takes_over_from_one_that_is_down() {
    let origin = Origin::start(|head, wire| {
        let body = wire.body(head);
        wire.write(ok(std::str::from_utf8(&body).unwrap()));
        Then::Keep
    });
    let gateway = Setup::default().start(&[dead_url(), origin.url()]);
    let mut client = client(&gateway);
    for _ in 0..6 {
        // With a body, too: none of it was sent when connecting failed.
        client.ask("POST", "/", &["content-length: 4"]);
        client.write("body");
        assert_eq!(client.reply().text(), "body");
    }
    gateway.shutdown();
}

#[test]
fn an_endpoint_that_says_nothing_gives_504() {
    let origin = Origin::start(|_, wire| {
        assert!(wire.ends(), "the gateway gives up");
        Then::Close
    });
    let setup = Setup {
        upstream: "response_timeout = \"100ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let reply = client(&gateway).get("/", &[]);
    assert_eq!(reply.status, 504);
    assert_discreet(&reply, &origin.url());
    eventually("the connection is closed", || origin.closed() == 1);
    gateway.shutdown();
}

#[test]
fn a_client_that_leaves_has_its_request_given_up_at_the_server() {
    let origin = Origin::start(|head, wire| {
        wire.body(head);
        assert!(wire.ends(), "the gateway gives up");
        Then::Close
    });
    let gateway = before(&origin);
    let body = &["content-length: 4"][..];
    for (count, (fields, body)) in [(&[][..], ""), (body, "body")].into_iter().enumerate() {
        let mut client = client(&gateway);
        client.ask("POST", "/", fields);
        client.write(body);
        eventually("it is there", || origin.requests().len() == count + 1);
        drop(client);
        eventually("it is given up", || origin.closed() == count + 1);
    }
    gateway.shutdown();
}

#[test]
fn what_comes_while_a_request_is_under_way_is_answered_after_it() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |head, wire| {
        if head.first.contains("/slow") {
            wait.lock().unwrap().recv().unwrap();
        }
        wire.write(ok(head.first.split(' ').nth(1).unwrap()));
        Then::Keep
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    client.ask("GET", "/slow", &[]);
    eventually("it is there", || origin.requests().len() == 1);
    let many: Vec<String> = (0..300).map(|number| format!("/{number}")).collect();
    for target in &many {
        client.ask("GET", target, &[]);
    }
    client.write("GET / HTTP/1.1\r\nhost: a.te");
    go.send(()).unwrap();
    assert_eq!(client.reply().text(), "/slow");
    for target in &many {
        assert_eq!(client.reply().text(), target);
    }
    client.write("st\r\n\r\n");
    assert_eq!(client.reply().text(), "/");
    gateway.shutdown();
}

#[test]
fn an_endpoint_that_does_not_take_the_connection_gives_504_or_502() {
    // A queue of one, which is filled: further handshakes are not finished.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let loopback: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&loopback.into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let timeout = Duration::from_millis(100);
    let mut filling = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, timeout) {
        filling.push(stream);
    }
    for upstream in [
        "connect_timeout = \"100ms\"",
        "connect_timeout = \"100ms\"\nprotocol = \"h2\"",
    ] {
        let setup = Setup {
            upstream,
            ..Setup::default()
        };
        let gateway = setup.start(&[format!("http://{address}")]);
        // Those that wait for the same attempt hear the same.
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let mut client = client(&gateway);
                client.ask("GET", "/", &[]);
                client
            })
            .collect();
        for mut client in clients {
            let reply = client.reply();
            assert_eq!(reply.status, 504, "{upstream}");
            reply.problem();
        }
        gateway.shutdown();
    }
}

#[test]
fn nonsense_and_a_broken_connection_give_502_and_are_not_tried_again() {
    let unasked = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    for (nonsense, cause) in [
        ("", "broken"),
        ("no http\r\n\r\n", "invalid"),
        (unasked, "invalid"),
    ] {
        let origin = Origin::start(move |_, wire| {
            wire.write(nonsense);
            Then::Close
        });
        let gateway = before(&origin);
        let reply = client(&gateway).get("/", &[]);
        assert_eq!(reply.status, 502, "{nonsense:?}");
        assert_discreet(&reply, &origin.url());
        // It was sent, so nobody knows what it did.
        assert_eq!(origin.requests().len(), 1);
        let address = origin.url().trim_start_matches("http://").to_owned();
        let failures = format!(
            "upstream_failures_total{{upstream=\"main\",endpoint=\"{address}\",cause=\"{cause}\"}}"
        );
        assert!((metric(&gateway, &failures) - 1.0).abs() < f64::EPSILON);
        gateway.shutdown();
    }
}

#[test]
fn a_response_that_breaks_off_breaks_off_for_the_client_too() {
    let origin = Origin::start(|_, wire| {
        wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        Then::Close
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    client.ask("GET", "/", &[]);
    assert_eq!(client.head().unwrap().status(), 200);
    assert_eq!(
        client.rest(),
        b"4\r\nhalf\r\n",
        "the end of the body was made up"
    );
    eventually("it is counted", || {
        metric(
            &gateway,
            "responses_cut_total{route=\"all\",by=\"upstream\"}",
        ) > 0.5
    });
    gateway.shutdown();
}

#[test]
fn a_response_that_stops_coming_breaks_off() {
    let origin = Origin::start(|_, wire| {
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        assert!(wire.ends(), "the gateway gives up");
        Then::Close
    });
    let setup = Setup {
        upstream: "response_timeout = \"100ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    client.ask("GET", "/", &[]);
    assert_eq!(client.head().unwrap().status(), 200);
    assert_eq!(client.rest(), b"half");
    gateway.shutdown();
}

#[test]
fn a_request_whose_body_stops_coming_gives_408() {
    let origin = Origin::start(|head, wire| {
        assert_eq!(head.field("content-length"), Some("100"));
        wire.rest();
        Then::Close
    });
    let setup = Setup {
        listen: "body_timeout = \"100ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    client.ask("POST", "/", &["content-length: 100"]);
    client.write("half");
    assert_eq!(client.reply().status, 408);
    gateway.shutdown();
}

#[test]
fn a_slow_upload_that_makes_progress_outlasts_every_timeout() {
    let origin = Origin::start(|head, wire| {
        let body = wire.body(head);
        wire.write(ok(&body.len().to_string()));
        Then::Keep
    });
    let setup = Setup {
        listen: "body_timeout = \"500ms\"\nbody_rate_min = \"10B\"",
        upstream: "response_timeout = \"500ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    client.ask("POST", "/", &["content-length: 20"]);
    for _ in 0..20 {
        client.write("x");
        // Twice either timeout in all.
        pass(Duration::from_millis(50));
    }
    assert_eq!(client.reply().text(), "20");
    gateway.shutdown();
}

#[test]
fn a_client_that_is_slow_with_its_head_is_closed() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        listen: "header_timeout = \"100ms\"\nidle_timeout = \"100ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut silent = client(&gateway);
    assert!(silent.ends());
    let mut halting = client(&gateway);
    halting.write("GET / HTTP/1.1\r\nhost: a.te");
    let reply = halting.reply();
    assert_eq!(reply.status, 408);
    reply.problem();
    assert!(halting.ends());
    // A byte now and then does not help.
    let mut dripping = client(&gateway);
    eventually("the gateway closes", || {
        pass(Duration::from_millis(10));
        !dripping.try_write("G")
    });
    let mut idle = client(&gateway);
    assert_eq!(idle.get("/", &[]).status, 200);
    assert!(idle.ends());
    gateway.shutdown();
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    for field in [
        format!("x-large: {}", "a".repeat(70_000)),
        "x-many: 1\r\n".repeat(101),
    ] {
        let mut client = client(&gateway);
        client.ask("GET", "/", &[field.trim_end()]);
        assert_eq!(client.reply().status, 431);
    }
    let mut client = client(&gateway);
    // A limit on the head is none on the body.
    client.ask("POST", "/", &["content-length: 100000"]);
    client.write("a".repeat(100_000));
    assert_eq!(client.reply().status, 200);
    assert_eq!(origin.requests().len(), 1);
    gateway.shutdown();
}

#[test]
fn connections_beyond_the_bound_wait_for_their_turn() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        listen: "connections_max = 2",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut open = [client(&gateway), client(&gateway)];
    for client in &mut open {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    let mut waiting = client(&gateway);
    waiting.ask("GET", "/", &[]);
    assert_eq!(open[0].get("/", &[]).status, 200);
    assert_eq!(origin.requests().len(), 3);
    drop(open);
    assert_eq!(waiting.reply().status, 200);
    gateway.shutdown();
}
