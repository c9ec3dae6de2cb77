use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use stanchion_core::{Clock, Instant};

use super::Origin;
use crate::config::BodyLimits;
use crate::hop_by_hop;
use crate::pace::Pace;
use crate::timer::LazyTimer;

/// The body of a request, which must make progress and stay in bounds.
///
/// It is moved many times on its way through hyper, so what it carries along is boxed.
#[derive(Debug)]
pub(crate) struct Inbound {
    incoming: Incoming,
    rest: Box<Rest>,
}

#[derive(Debug)]
struct Rest {
    origin: Origin,
    /// So many bytes may still come.
    left: u64,
    pace: Pace,
    waiting_since: Option<Instant>,
    timer: LazyTimer,
    /// What is sent a second time, in front of the rest.
    again: Option<Box<Again>>,
}

/// What was sent already of a body, to someone who refused it.
#[derive(Debug)]
struct Again {
    chunks: Vec<Bytes>,
    next: usize,
}

/// Longer than anyone waits.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The client sent nothing of the body for too long, or too little.
#[derive(Debug)]
pub(crate) struct Stalled;

/// The client sent more than it may.
#[derive(Debug)]
pub(crate) struct TooLarge;

impl Inbound {
    /// `patience` is how long the client may send nothing. Until [`limit`](Self::limit) says more,
    /// nothing else is asked of it.
    pub(crate) fn new(
        incoming: Incoming,
        origin: Origin,
        patience: Duration,
        clock: &Clock,
    ) -> Self {
        Self {
            incoming,
            rest: Box::new(Rest {
                origin,
                left: u64::MAX,
                pace: Pace::new(patience, 0),
                waiting_since: None,
                timer: LazyTimer::new(clock.clone()),
                again: None,
            }),
        }
    }

    /// The body begins with these, which were read from it already.
    pub(crate) fn send_again(&mut self, chunks: Vec<Bytes>) {
        if !chunks.is_empty() {
            self.rest.again = Some(Box::new(Again { chunks, next: 0 }));
        }
    }

    /// From here on someone else sees to it that the exchange goes on.
    pub(crate) fn wait_no_more(&mut self) {
        self.rest.pace = Pace::new(NEVER, 0);
    }

    /// Sets how much may come, and how slowly.
    pub(crate) fn limit(&mut self, limits: BodyLimits) {
        self.rest.left = limits.bytes_max;
        self.rest.pace = Pace::new(self.rest.pace.left(), limits.rate_min);
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.rest.origin
    }

    pub(crate) fn origin_mut(&mut self) -> &mut Origin {
        &mut self.rest.origin
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { incoming, rest } = &mut *self;
        if let Some(again) = &mut rest.again {
            if let Some(chunk) = again.chunks.get(again.next) {
                again.next += 1;
                return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
            }
            rest.again = None;
        }
        if let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) {
            let data = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                _ => 0,
            };
            let since = rest.waiting_since.take();
            let waited = since.map_or(Duration::ZERO, |since| rest.timer.now() - since);
            rest.pace.moved(data as u64, waited);
            let Some(left) = rest.left.checked_sub(data as u64) else {
                return Poll::Ready(Some(Err(TooLarge.into())));
            };
            rest.left = left;
            return Poll::Ready(
                frame.map(|frame| frame.map(hop_by_hop::strip_trailers).map_err(Into::into)),
            );
        }
        let since = *rest.waiting_since.get_or_insert_with(|| rest.timer.now());
        ready!(rest.timer.poll(cx, since + rest.pace.left()));
        Poll::Ready(Some(Err(Stalled.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.again.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest.again {
            None => self.incoming.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client sent nothing of the body for too long")
    }
}

impl Error for Stalled {}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client sent more of the body than it may")
    }
}

impl Error for TooLarge {}
