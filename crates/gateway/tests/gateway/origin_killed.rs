//! An origin that dies in the middle of a response. The client must never take what it got for all.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use crate::http2::{Client, get, run};
use crate::origin2::{End, Origin2};
use crate::setup::{LONG, Origin, Setup, Then};
use crate::wire::Wire;

/// What dies, and what it had said by then.
const SAID: [(&str, &str); 3] = [
    (
        "a length",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
    ),
    (
        "chunks",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ),
    (
        "half a chunk",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
    ),
];

/// Runs `ask` against a gateway with a log before an origin, and gives the lines of the log.
fn logged(url: &str, upstream: &'static str, ask: impl FnOnce(std::net::SocketAddr)) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.json");
    let top = format!("workers = 1\naccess_log = \"file:{}\"", path.display());
    let setup = Setup {
        top: top.leak(),
        upstream,
        ..Setup::default()
    };
    let gateway = setup.start(&[url.to_owned()]);
    ask(gateway.address());
    gateway.shutdown();
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn assert_cut_by_upstream(lines: &[Value], requests: usize, what: &str) {
    assert_eq!(lines.len(), requests, "{what}: {lines:?}");
    for line in lines {
        assert_eq!(line["status"], 200, "{what}: {line}");
        assert_eq!(line["cut_by"], "upstream", "{what}: {line}");
        assert_eq!(line["bytes"], 4, "{what}: {line}");
    }
}

/// What a client got until the other end closed.
fn rest(wire: &mut Wire) -> String {
    String::from_utf8(wire.rest()).unwrap()
}

#[test]
fn clients_of_both_protocols_see_a_broken_body_and_the_log_tells_who_broke_it() {
    // Of a process that is killed, the system closes the sockets, or resets them where something
    // came in that was not read.
    for reset in [false, true] {
        for (what, said) in SAID {
            let (kill, killed) = channel::<()>();
            let killed = Mutex::new(killed);
            let origin = Origin::start(move |_, wire| {
                wire.write(said);
                killed.lock().unwrap().recv_timeout(LONG).unwrap();
                if reset {
                    wire.reset();
                }
                Then::Close
            });
            let lines = logged(&origin.url(), "", |address| {
                let mut one = Wire::connect(address);
                one.ask("GET", "/", &[]);
                let head = one.head().unwrap();
                assert_eq!(head.status(), 200, "{what}");
                let first = match head.field("content-length") {
                    Some(_) => one.bytes(4),
                    None => one.chunk().unwrap(),
                };
                assert_eq!(first, b"half");
                kill.send(()).unwrap();
                assert_eq!(rest(&mut one), "", "{what}, reset: {reset}");
                run(async {
                    let mut two = Client::connect(address).await;
                    let (response, _) = two.begin(get("/"), true).await;
                    let mut body = response.await.unwrap().into_body();
                    assert_eq!(body.data().await.unwrap().unwrap(), "half");
                    kill.send(()).unwrap();
                    let error = body.data().await.unwrap().unwrap_err();
                    assert!(error.is_reset() && error.is_remote(), "{what}: {error}");
                });
            });
            assert_cut_by_upstream(&lines, 2, what);
        }
    }
}

#[test]
fn so_they_do_of_an_origin_that_speaks_http_2() {
    for end in [End::Cut, End::Abruptly(h2::Reason::INTERNAL_ERROR)] {
        let (kill, killed) = channel::<()>();
        let killed = Arc::new(Mutex::new(killed));
        let origin = Origin2::start(move |mut asked| {
            let killed = killed.clone();
            async move {
                let response = Response::new(());
                let mut stream = asked.respond.send_response(response, false).unwrap();
                stream
                    .send_data(Bytes::from_static(b"half"), false)
                    .unwrap();
                let wait = move || killed.lock().unwrap().recv_timeout(LONG);
                let _ = tokio::task::spawn_blocking(wait).await.unwrap();
                asked.end.send(end).unwrap();
                std::future::pending::<()>().await;
            }
        });
        let lines = logged(&origin.url(), "protocol = \"h2\"", |address| {
            let mut one = Wire::connect(address);
            one.ask("GET", "/", &[]);
            assert_eq!(one.head().unwrap().status(), 200);
            assert_eq!(one.chunk().unwrap(), b"half");
            kill.send(()).unwrap();
            assert_eq!(rest(&mut one), "", "{end:?}");
            run(async {
                let mut two = Client::connect(address).await;
                let (response, _) = two.begin(get("/"), true).await;
                let mut body = response.await.unwrap().into_body();
                assert_eq!(body.data().await.unwrap().unwrap(), "half");
                kill.send(()).unwrap();
                let error = body.data().await.unwrap().unwrap_err();
                assert!(error.is_reset() && error.is_remote(), "{end:?}: {error}");
            });
        });
        assert_cut_by_upstream(&lines, 2, "h2");
    }
}
