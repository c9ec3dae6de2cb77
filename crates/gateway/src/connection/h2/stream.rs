use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use pin_project_lite::pin_project;
use stanchion_core::Instant;

use super::flood::Resets;
use crate::connection::Activity;
use crate::metrics::Http2Metrics;
use crate::pace::Pace;
use crate::timer::LazyTimer;

/// Runs the streams of one connection, each in a task of its own, which ends with the stream.
///
/// hyper has the service called with a stream's request, and then hands over the stream's future,
/// one right after the other; `next` joins the two.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    activity: Arc<Activity>,
    resets: Arc<Resets>,
    pace: Pace,
    metrics: Http2Metrics,
    next: Mutex<Option<Arc<Stream>>>,
}

impl Streams {
    /// `pace` is how slowly the client may take a response.
    pub(super) fn new(
        activity: Arc<Activity>,
        resets: Arc<Resets>,
        pace: Pace,
        metrics: &Http2Metrics,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                activity,
                resets,
                pace,
                metrics: metrics.clone(),
                next: Mutex::new(None),
            }),
        }
    }

    pub(super) fn begin(&self, now: Instant) -> Arc<Stream> {
        self.shared.activity.stream_begins();
        self.shared.metrics.streams.inc();
        let stream = Arc::new(Stream {
            shared: self.shared.clone(),
            began: now,
            answered: AtomicBool::new(false),
            pace: Mutex::new(self.shared.pace),
            given_at: AtomicU64::new(NOTHING),
            given_bytes: AtomicUsize::new(0),
        });
        *self.shared.next.lock() = Some(stream.clone());
        stream
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let stream = self.shared.next.lock().take();
        match stream {
            Some(stream) => drop(tokio::spawn(StreamTask {
                future,
                timer: LazyTimer::new(self.shared.activity.clock().clone()),
                stream,
            })),
            // Only upgrades are no streams, and none is ever granted.
            None => drop(tokio::spawn(future)),
        }
    }
}

const NOTHING: u64 = u64::MAX;

/// One request and its response, until both are over or the client resets the stream.
#[derive(Debug)]
pub(crate) struct Stream {
    shared: Arc<Shared>,
    began: Instant,
    answered: AtomicBool,
    /// When hyper took a part of the response that it has not come back from yet: it waits for the
    /// client's windows. [`NOTHING`] while it waits for the response.
    given_at: AtomicU64,
    given_bytes: AtomicUsize,
    /// How slowly the client may make room. Of one thread, so never contended.
    pace: Mutex<Pace>,
}

impl Stream {
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
        self.shared.activity.part_sent();
    }

    /// hyper asks for the next part of the body.
    pub(crate) fn body_asked(&self) {
        let given = self.given_at.swap(NOTHING, Ordering::Relaxed);
        if given != NOTHING {
            let waited = self.shared.activity.clock().now() - Instant::from_nanos(given);
            let bytes = self.given_bytes.load(Ordering::Relaxed);
            self.pace.lock().moved(bytes as u64, waited);
        }
    }

    /// hyper was given a part of the body.
    pub(crate) fn body_given(&self, bytes: usize) {
        let now = self.shared.activity.clock().now();
        self.given_at.store(now.as_nanos(), Ordering::Relaxed);
        self.given_bytes.store(bytes, Ordering::Relaxed);
        self.shared.activity.part_sent();
    }

    /// Until when the client must have made room, if it is the client that is waited for.
    fn deadline(&self) -> Option<Instant> {
        match self.given_at.load(Ordering::Relaxed) {
            NOTHING => None,
            given => Some(Instant::from_nanos(given) + self.pace.lock().left()),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !*self.answered.get_mut() {
            let now = self.shared.activity.clock().now();
            self.shared.resets.reset(self.began, now);
        }
        self.shared.metrics.streams.dec();
        self.shared.activity.stream_ends();
    }
}

pin_project! {
    /// hyper's future of a stream, which ends early when the client makes no room for the response.
    struct StreamTask<F> {
        // Before the stream, so that it is over when that is told.
        #[pin]
        future: F,
        timer: LazyTimer,
        stream: Arc<Stream>,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.future.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match this.stream.deadline() {
            Some(deadline) => this.timer.poll(cx, deadline),
            None => Poll::Pending,
        }
    }
}
