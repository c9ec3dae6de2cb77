//! One client's connection.

mod activity;
mod h2;
mod input;
mod io;
mod refuse;
mod service;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::exchange::Peer;
use crate::guard;
use crate::outbox::Socket;
use crate::stack::GatewayService;
use crate::timer::within;
use crate::worker::{Current, Worker};

pub(crate) use activity::Activity;
use activity::{InputState, Phase};
pub(crate) use h2::Stream;
use input::Protocol;
use io::ClientIo;
use service::ConnectionService;

/// The most that hyper reads at once, unless a head may take more.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Serves a connection until it ends; once the worker drains, for as long as requests are under
/// way or likely to be.
///
/// Each request is served by what is in force when its head was read; the times and bounds of the
/// connection itself stay as they were when it came.
pub(crate) async fn serve<S: GatewayService>(
    stream: TcpStream,
    peer: Peer,
    worker: Arc<Worker>,
    current: Arc<Current<S>>,
) {
    let activity = Arc::new(Activity::new(worker.clock().clone()));
    let (mut io, heads) = {
        let serving = current.load();
        let listen = &serving.snapshot.config.listen;
        let io = ClientIo::new(
            Socket::new(stream, worker.outbox().clone()),
            activity.clone(),
            listen,
        );
        (io, listen.heads)
    };
    let protocol = match before_drain(&worker, io.protocol()).await {
        Some(protocol) => Some(protocol),
        None => within(worker.clock(), worker.idle_grace(), io.protocol()).await,
    };
    match protocol {
        Some(Ok(Protocol::Http1)) => {
            let service =
                ConnectionService::new(current, peer.clone(), activity.clone(), worker.clone());
            http1(&mut io, heads, &activity, &worker, service).await;
        }
        Some(Ok(Protocol::Http2)) => {
            match h2::serve(&mut io, &activity, &peer, &worker, current).await {
                h2::Ended::Quietly => {}
                h2::Ended::Flooding => return,
            }
        }
        Some(Err(_)) | None => return,
    }
    if let Some(refused) = io.refused() {
        refuse::answer(&mut io, &refused, &peer, &worker).await;
    }
    io.close().await;
}

/// Answers requests until the connection is to be closed.
async fn http1<S: GatewayService>(
    io: &mut ClientIo,
    heads: guard::Limits,
    activity: &Activity,
    worker: &Worker,
    service: ConnectionService<S>,
) {
    // The guard has the last word on the size of heads; hyper's limit stands beyond it.
    let buffer_bytes_max = BUFFER_BYTES_MAX.max(heads.head_bytes_max + 1024);
    let connection = http1::Builder::new()
        .max_buf_size(buffer_bytes_max)
        .max_header_size(buffer_bytes_max)
        // `ClientIo` keeps the times, without a timer for every request.
        .header_read_timeout(None)
        // `ClientIo` notices a client that leaves, without a buffer for what it might send.
        .half_close(true)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);

    let all = std::future::poll_fn(|cx| poll_http1(connection.as_mut(), activity, cx));
    if before_drain(worker, all).await.is_some() {
        return;
    }

    // The client does not know yet. A request that is on its way, or that comes within the grace,
    // is answered with `Connection: close`, which ends the connection with nothing lost.
    let grace = worker.idle_grace();
    let next = std::future::poll_fn(|cx| poll_http1(connection.as_mut(), activity, cx));
    if within(worker.clock(), grace, next).await.is_some() {
        return;
    }
    match activity.phase() {
        Phase::Fresh => return,
        // hyper closes at once if idle, else after the response.
        Phase::Idle | Phase::Busy => connection.as_mut().graceful_shutdown(),
        // The head is coming in; its answer will close.
        Phase::Head => {}
    }
    std::future::poll_fn(|cx| poll_http1(connection.as_mut(), activity, cx)).await;
}

/// What the future gives, or `None` once the worker drains.
async fn before_drain<F: Future>(worker: &Worker, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut drain = pin!(worker.drain_begins());
    let mut listening = false;
    std::future::poll_fn(|cx| {
        // One poll leaves the task's waker there; the flag says whether that was what woke it.
        if !listening {
            listening = true;
            let _ = drain.as_mut().poll(cx);
        }
        if worker.is_draining() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Polls a connection to its end, which comes early where the input ended early.
fn poll_http1<S>(
    mut connection: Pin<&mut Http1<'_, S>>,
    activity: &Activity,
    cx: &mut Context<'_>,
) -> Poll<()>
where
    S: GatewayService,
{
    // Nothing to do about an error: the client sees the same.
    let ended = connection.as_mut().poll(cx).map(drop);
    match activity.input() {
        InputState::Broken => Poll::Ready(()),
        InputState::Refused if ended.is_pending() && activity.phase() == Phase::Idle => {
            // All requests before it are answered; hyper ends once that is written.
            connection.as_mut().graceful_shutdown();
            connection.poll(cx).map(drop)
        }
        InputState::Open | InputState::Refused => ended,
    }
}

type Http1<'a, S> = http1::Connection<TokioIo<&'a mut ClientIo>, ConnectionService<S>>;
