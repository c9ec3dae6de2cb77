//! Origins, and gateways before them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion_core::Clock;
use stanchion_gateway::{Config, Gateway};

use crate::wire::{Head, Wire};

/// A server whose answers a test writes by hand. It ends when it is dropped.
pub(crate) struct Origin {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stopped: AtomicBool,
    connections: AtomicUsize,
    closed: AtomicUsize,
    requests: Mutex<Vec<Head>>,
}

/// What an origin does after a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
}

impl Origin {
    /// `answer` gets each request's head; it reads the body and writes the response.
    pub(crate) fn start(answer: impl Fn(&Head, &mut Wire) -> Then + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let (shared, answer) = (state.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, answer) = (shared.clone(), answer.clone());
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let mut wire = Wire::new(stream.unwrap());
                std::thread::spawn(move || {
                    while let Some(head) = wire.head() {
                        shared.requests.lock().unwrap().push(head.clone());
                        if answer(&head, &mut wire) == Then::Close {
                            break;
                        }
                    }
                    drop(wire);
                    shared.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state }
    }

    /// An origin that answers everything with this text.
    pub(crate) fn saying(text: &'static str) -> Self {
        Self::start(move |head, wire| {
            wire.body(head);
            wire.write(ok(text));
            Then::Keep
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many of them are closed.
    pub(crate) fn closed(&self) -> usize {
        self.state.closed.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far.
    pub(crate) fn requests(&self) -> Vec<Head> {
        self.state.requests.lock().unwrap().clone()
    }

    pub(crate) fn last_request(&self) -> Head {
        self.requests().pop().expect("no request came")
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

/// A response of 200 with this body.
pub(crate) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The URL of a port on which nobody listens.
pub(crate) fn dead_url() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// What a test says of its gateway; the rest is the same for all.
#[derive(Default)]
pub(crate) struct Setup {
    /// Fields before the first table.
    pub(crate) top: &'static str,
    pub(crate) listen: &'static str,
    pub(crate) shutdown: &'static str,
    /// The fields of the upstream `main` but its endpoints.
    pub(crate) upstream: &'static str,
    /// All routes; by default one for everything.
    pub(crate) routes: String,
}

impl Setup {
    /// Starts a gateway on free ports, with these endpoints in the upstream `main`.
    pub(crate) fn start(&self, endpoints: &[String]) -> Gateway {
        start(&self.text(endpoints))
    }

    /// The configuration of such a gateway.
    pub(crate) fn config(&self, endpoints: &[String]) -> Config {
        config(&self.text(endpoints))
    }

    pub(crate) fn text(&self, endpoints: &[String]) -> String {
        let (listen, shutdown, upstream) = (self.listen, self.shutdown, self.upstream);
        let shutdown = match shutdown {
            "" => "idle_grace = \"50ms\"",
            shutdown => shutdown,
        };
        let top = match self.top {
            "" => "workers = 1\naccess_log = \"off\"",
            top => top,
        };
        let routes = match self.routes.as_str() {
            "" => "[[route]]\nid = \"all\"\nupstream = \"main\"\n",
            routes => routes,
        };
        format!(
            "{top}\n\
             [listen]\naddress = \"127.0.0.1:0\"\n{listen}\n\
             [admin]\naddress = \"127.0.0.1:0\"\n\
             [shutdown]\n{shutdown}\n\
             [upstream.main]\nendpoints = {endpoints:?}\n{upstream}\n{routes}"
        )
    }
}

/// Starts a gateway as the text says.
pub(crate) fn start(text: &str) -> Gateway {
    Gateway::start(config(text)).unwrap()
}

fn config(text: &str) -> Config {
    Config::from_toml(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A plain gateway before one origin.
pub(crate) fn before(origin: &Origin) -> Gateway {
    Setup::default().start(&[origin.url()])
}

pub(crate) fn client(gateway: &Gateway) -> Wire {
    Wire::connect(gateway.address())
}

/// Reads a path of the admin listener.
pub(crate) fn admin(gateway: &Gateway, path: &str) -> (u16, String) {
    let fields = ["host: localhost", "connection: close"];
    let reply = Wire::connect(gateway.admin_address()).get(path, &fields);
    (reply.status, reply.text().to_owned())
}

/// The value of one series, named as in the metrics' text; 0 where it is not there.
pub(crate) fn metric(gateway: &Gateway, series: &str) -> f64 {
    let (_, text) = admin(gateway, "/metrics");
    let series = format!("stanchion_gateway_{series} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&series));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Waits for a condition with a deadline.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    testkit::eventually_blocking(crate::wire::DEADLINE, what, condition);
}

/// Lets real time pass.
pub(crate) fn pass(duration: Duration) {
    let clock = Clock::system();
    let end = clock.now() + duration;
    eventually("time passes", || clock.now() >= end);
}

pub(crate) const LONG: Duration = crate::wire::DEADLINE;
