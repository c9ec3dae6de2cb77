//! One client's connection.

mod activity;
mod io;
mod service;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use crate::exchange::{Peer, Request, Response};
use crate::timer::within;
use crate::worker::Worker;

pub(crate) use activity::Activity;
use activity::Phase;
use io::ClientIo;
use service::ConnectionService;

/// The most a head may take, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Serves a connection until it ends; once the worker drains, for as long as requests are under
/// way or likely to be.
pub(crate) async fn serve<S>(stream: TcpStream, peer: Peer, worker: Arc<Worker>, stack: S)
where
    S: Service<Request, Response = Response, Error = std::convert::Infallible> + Clone,
{
    let activity = Arc::new(Activity::new(worker.clock().clone()));
    let io = ClientIo::new(stream, activity.clone(), worker.listen());
    let service = ConnectionService::new(stack, peer, activity.clone(), worker.clone());
    let connection = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        // `ClientIo` keeps the times, without a timer for every request.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);

    let mut drain = pin!(worker.drain_begins());
    let mut listening = false;
    let ended = std::future::poll_fn(|cx| {
        // One poll leaves the task's waker there; the flag says whether that was what woke it.
        if !listening {
            listening = true;
            let _ = drain.as_mut().poll(cx);
        }
        if worker.is_draining() {
            return Poll::Ready(false);
        }
        connection.as_mut().poll(cx).map(|_| true)
    })
    .await;
    if ended {
        return;
    }

    // The client does not know yet. A request that is on its way, or that comes within the grace,
    // is answered with `Connection: close`, which ends the connection with nothing lost.
    let grace = worker.shutdown().idle_grace;
    if within(worker.clock(), grace, connection.as_mut())
        .await
        .is_some()
    {
        return;
    }
    match activity.phase() {
        Phase::Fresh => return,
        // hyper closes at once if idle, else after the response.
        Phase::Idle | Phase::Busy => connection.as_mut().graceful_shutdown(),
        // The head is coming in; its answer will close.
        Phase::Head => {}
    }
    // Nothing to do about an error: the client sees the same.
    let _ = connection.await;
}
