//! A small web server for the gateway to stand in front of, which can be made to misbehave.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use stanchion_core::Clock;
use stanchion_gateway::Switch;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The field in which an origin tells its number.
pub(super) const ORIGIN: &str = "x-origin";

/// What an origin does with requests, in the words of its switch.
pub(super) const BEHAVIOURS: [&str; 5] = ["well", "fails", "hangs", "slow", KILLED];
/// As of a process that is killed: its connections break, and nobody listens.
pub(super) const KILLED: &str = "killed";

const SLOW: Duration = Duration::from_millis(700);
/// How soon it is noticed that it was killed.
const LOOK: Duration = Duration::from_millis(50);

/// Answers every request with a greeting, or as its switch says, until it is dropped.
pub(super) async fn serve(number: usize, listener: TcpListener, switch: Switch, clock: Clock) {
    let Ok(address) = listener.local_addr() else {
        return;
    };
    let mut listener = Some(listener);
    loop {
        let is_killed = switch.word() == KILLED;
        listener = match listener.take() {
            _ if is_killed => None,
            Some(listener) => Some(listener),
            // Another may have taken the port meanwhile; then it is tried again.
            None => TcpListener::bind(address).await.ok(),
        };
        if let Some(listener) = listener.take() {
            tokio::select! {
                () = accept(number, listener, &switch, &clock) => {}
                () = is(KILLED, &switch, &clock) => {}
            }
        } else {
            clock.sleep(LOOK).await;
        }
    }
}

/// Ends when the switch is at a word.
async fn is(word: &str, switch: &Switch, clock: &Clock) {
    while switch.word() != word {
        clock.sleep(LOOK).await;
    }
}

/// Dropped, it closes the connections with the listener.
async fn accept(number: usize, listener: TcpListener, switch: &Switch, clock: &Clock) {
    let mut connections = JoinSet::new();
    loop {
        // Forgets those that ended.
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (switch, clock) = (switch.clone(), clock.clone());
        let service = service_fn(move |request| {
            let (behaviour, clock) = (switch.position(), clock.clone());
            async move {
                let mut response = greet(number, &request);
                match BEHAVIOURS[behaviour] {
                    "fails" => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
                    "hangs" => pending().await,
                    "slow" => clock.sleep(SLOW).await,
                    _ => {}
                }
                Ok::<_, Infallible>(response)
            }
        });
        connections.spawn(async move {
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Its errors are the gateway's to see.
            let _ = served.await;
        });
    }
}

fn greet(number: usize, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let field = |name| {
        let value = request.headers().get(name);
        value
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .unwrap_or("nobody")
    };
    let text = format!(
        "hello from origin-{}\nyou asked for {} as {}, request {}\n",
        number + 1,
        request.uri(),
        field("x-forwarded-for"),
        field("x-request-id"),
    );
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response
        .headers_mut()
        .insert(ORIGIN, HeaderValue::from(number));
    response
}
