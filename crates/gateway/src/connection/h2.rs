//! Serves a connection of HTTP/2, opened by its preface.

mod flood;
mod frames;
mod service;
mod stream;

use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use stanchion_core::Instant;

use super::Activity;
use super::activity::{InputState, Phase};
use super::io::ClientIo;
use crate::exchange::Peer;
use crate::pace::Pace;
use crate::stack::GatewayService;
use crate::timer::{HyperTimer, LazyTimer};
use crate::worker::{Current, Worker};
use flood::Resets;
pub(super) use frames::Frames;
use service::StreamService;
pub(crate) use stream::Stream;
use stream::Streams;

/// What the body of one request may hold in memory, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What the bodies of one connection's requests may.
///
/// It bounds small frames as well: `h2` counts one that is not taken yet as 256 bytes, and closes a
/// connection where half of this is used up beyond the data itself. So messages of 28 bytes and more
/// fill a stream's window first, and smaller ones have to be 8,000 before a client is taken for a
/// flood.
const WINDOW: u32 = 16 * STREAM_WINDOW;
/// What one response may hold in memory that the client's windows are open for, in bytes.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// How many streams the client may reset before they were accepted, as `h2` counts them.
const PENDING_RESETS_MAX: usize = 20;
/// How many streams the gateway may reset for the client's mistakes in the life of a connection.
const ERROR_RESETS_MAX: usize = 100;
/// How often a client is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves a connection until it ends; once it was idle for too long, or the worker drains, no
/// further streams are taken, and it ends with the last one.
pub(super) async fn serve<S: GatewayService>(
    io: &mut ClientIo,
    activity: &Arc<Activity>,
    peer: &Peer,
    worker: &Arc<Worker>,
    current: Arc<Current<S>>,
) -> Ended {
    let snapshot = current.load().snapshot.clone();
    let listen = &snapshot.config.listen;
    activity.is_multiplexed();
    worker.http2_metrics().connections.inc();
    let resets = Arc::new(Resets::new(worker.clock().now()));
    let streams = Streams::new(
        activity.clone(),
        resets.clone(),
        Pace::new(listen.body_timeout, listen.bodies.rate_min),
        worker.http2_metrics(),
    );
    let service = StreamService::new(current, peer.clone(), streams.clone(), worker.clone());
    let connection = http2::Builder::new(streams)
        .timer(HyperTimer::new(worker.clock()))
        .max_concurrent_streams(listen.streams_max)
        .max_header_list_size(u32::try_from(listen.heads.head_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let mut leave = Leave::new(worker, listen.idle_timeout);
    // Held no longer: the connection may outlive it by far.
    drop(snapshot);

    let mut drain = pin!(worker.drain_begins());
    let mut listening = false;
    std::future::poll_fn(|cx| {
        // One poll leaves the task's waker there; the flag says whether that was what woke it.
        if !listening {
            listening = true;
            let _ = drain.as_mut().poll(cx);
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                // Of another error the client sees the same.
                let flood = activity.input() == InputState::Broken
                    || ended.is_err_and(|error| is_flood(&error));
                if !flood {
                    return Poll::Ready(Ended::Quietly);
                }
                worker.http2_metrics().floods.inc();
                return Poll::Ready(Ended::Flooding);
            }
            if resets.are_a_flood() {
                worker.http2_metrics().floods.inc();
                return Poll::Ready(Ended::Flooding);
            }
            match leave.poll(cx, worker, activity) {
                Poll::Ready(Step::Announce) => connection.as_mut().graceful_shutdown(),
                Poll::Ready(Step::Close) => return Poll::Ready(Ended::Quietly),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// How serving a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Quietly,
    /// The client went too far, and is not listened to any more.
    Flooding,
}

/// Whether `h2` closed the connection because the client went too far.
fn is_flood(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|cause| cause.downcast_ref());
    error.is_some_and(|error: &h2::Error| {
        !error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    })
}

/// How a connection comes to its end from this side.
///
/// First it is announced that no further streams are taken (GOAWAY). The client may have begun some
/// that are on their way; those are served. A client that then neither closes nor has any stream
/// open is not waited for.
struct Leave {
    idle_timeout: Duration,
    announced: Option<Instant>,
    timer: LazyTimer,
}

enum Step {
    Announce,
    Close,
}

impl Leave {
    fn new(worker: &Worker, idle_timeout: Duration) -> Self {
        Self {
            idle_timeout,
            announced: None,
            timer: LazyTimer::new(worker.clock().clone()),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, worker: &Worker, activity: &Activity) -> Poll<Step> {
        if self.announced.is_none() && worker.is_draining() {
            return self.announce();
        }
        // `ClientIo` bounds the wait for the first stream.
        let idle = match activity.phase() {
            Phase::Idle => true,
            Phase::Fresh | Phase::Head => self.announced.is_some(),
            Phase::Busy => false,
        };
        if !idle {
            return Poll::Pending;
        }
        let since = activity.since();
        let deadline = match self.announced {
            None => since + self.idle_timeout,
            Some(announced) => since.max(announced) + worker.idle_grace(),
        };
        match self.timer.poll(cx, deadline) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if self.announced.is_none() => self.announce(),
            Poll::Ready(()) => Poll::Ready(Step::Close),
        }
    }

    fn announce(&mut self) -> Poll<Step> {
        self.announced = Some(self.timer.now());
        Poll::Ready(Step::Announce)
    }
}

#[cfg(test)]
mod tests;
