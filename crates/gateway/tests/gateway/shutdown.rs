use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use crate::setup::{LONG, Origin, Setup, Then, admin, before, client, eventually, ok};
use crate::wire::Wire;

#[test]
fn an_idle_connection_does_not_hold_up_the_shutdown() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let mut used = client(&gateway);
    assert_eq!(used.get("/", &[]).status, 200);
    let mut unused = client(&gateway);
    assert_eq!(gateway.shutdown().connections_cut, 0);
    assert!(used.ends());
    assert!(unused.ends());
}

#[test]
fn a_response_under_way_is_finished() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |_, wire| {
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
        wait.lock().unwrap().recv_timeout(LONG).unwrap();
        wire.write("whole");
        Then::Keep
    });
    let setup = Setup {
        shutdown: "announce = \"100ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut busy = client(&gateway);
    busy.ask("GET", "/", &[]);
    let head = busy.head().unwrap();

    gateway.begin_shutdown();
    eventually("readiness is off", || admin(&gateway, "/readyz").0 == 503);
    // While that is announced, new connections are taken.
    let mut late = client(&gateway);
    late.ask("GET", "/", &[]);
    eventually("the late request is there", || origin.requests().len() == 2);
    assert_eq!(admin(&gateway, "/healthz").0, 200);
    let address = gateway.address();
    eventually("the listener is closed", || {
        TcpStream::connect(address).is_err()
    });
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(busy.body(&head), b"halfwhole");
    assert!(busy.ends());
    assert_eq!(late.reply().text(), "halfwhole");
    assert_eq!(gateway.shutdown().connections_cut, 0);
}

#[test]
fn a_request_on_an_open_connection_is_answered_with_close() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        shutdown: "idle_grace = \"10s\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut kept = client(&gateway);
    assert_eq!(kept.get("/", &[]).head.field("connection"), None);
    gateway.begin_shutdown();
    let address = gateway.address();
    eventually("the listener is closed", || {
        TcpStream::connect(address).is_err()
    });
    let reply = kept.get("/", &[]);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.head.field("connection"), Some("close"));
    assert!(kept.ends());
    assert_eq!(gateway.shutdown().connections_cut, 0);
}

#[test]
fn a_gateway_whose_handle_is_dropped_ends_by_itself() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let addresses = [gateway.address(), gateway.admin_address()];
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    drop(gateway);
    for address in addresses {
        eventually("the listener is closed", || {
            TcpStream::connect(address).is_err()
        });
    }
    eventually("the upstream's connection is closed", || {
        origin.closed() == origin.connections()
    });
}

#[test]
fn what_is_left_at_the_deadline_is_cut() {
    let origin = Origin::start(|_, wire| {
        assert!(wire.ends(), "the gateway gives up");
        Then::Close
    });
    let setup = Setup {
        shutdown: "deadline = \"200ms\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut stuck = client(&gateway);
    stuck.ask("GET", "/", &[]);
    eventually("the request is there", || origin.requests().len() == 1);
    assert_eq!(gateway.shutdown().connections_cut, 1);
    assert!(stuck.ends());
    eventually("the origin sees the end", || origin.closed() == 1);
}

#[test]
fn a_shutdown_under_load_loses_no_request() {
    for _ in 0..3 {
        let answered = Arc::new(AtomicUsize::new(0));
        let origin = Origin::start(|head, wire| {
            wire.body(head);
            wire.write(ok("hello"));
            Then::Keep
        });
        let setup = Setup {
            top: "workers = 2\naccess_log = \"off\"",
            ..Setup::default()
        };
        let gateway = setup.start(&[origin.url()]);
        let address = gateway.address();
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let (answered, stop) = (answered.clone(), stop.clone());
                std::thread::spawn(move || {
                    if number % 2 == 0 {
                        ask_on_one_connection(address, &answered, &stop)
                    } else {
                        ask_on_new_connections(address, &answered, &stop)
                    }
                })
            })
            .collect();
        eventually("the load is on", || answered.load(Ordering::SeqCst) > 200);
        let report = gateway.shutdown();
        stop.store(true, Ordering::SeqCst);
        let lost: Vec<String> = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        assert!(lost.is_empty(), "{lost:?}");
        assert_eq!(report.connections_cut, 0);
        assert!(answered.load(Ordering::SeqCst) > 200);
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";

/// Asks until it is told that the connection closes; what was lost.
pub(crate) fn ask_on_one_connection(
    address: SocketAddr,
    answered: &AtomicUsize,
    stop: &AtomicBool,
) -> Vec<String> {
    let mut wire = Wire::connect(address);
    while !stop.load(Ordering::SeqCst) {
        if !wire.try_write(REQUEST) {
            return vec!["a kept connection was closed without a word".to_owned()];
        }
        match wire.try_reply() {
            Some(reply) if reply.status == 200 && reply.text() == "hello" => {
                answered.fetch_add(1, Ordering::SeqCst);
                if reply.head.field("connection") == Some("close") {
                    return Vec::new();
                }
            }
            other => return vec![format!("on a kept connection: {other:?}")],
        }
    }
    Vec::new()
}

/// Asks once on each of many connections until none can be made; what was lost.
pub(crate) fn ask_on_new_connections(
    address: SocketAddr,
    answered: &AtomicUsize,
    stop: &AtomicBool,
) -> Vec<String> {
    let mut lost = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        // Where no connection is made, no request was sent.
        let Ok(mut stream) = TcpStream::connect_timeout(&address, LONG) else {
            break;
        };
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut answer = Vec::new();
        let done = stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")
            .and_then(|()| stream.read_to_end(&mut answer));
        match done {
            Ok(_) if answer.ends_with(b"hello") => {
                answered.fetch_add(1, Ordering::SeqCst);
            }
            Ok(_) => lost.push(format!("on a new connection: {answer:?}")),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => lost.push(format!("on a new connection: {error}")),
        }
    }
    lost
}
