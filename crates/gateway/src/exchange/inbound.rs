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
use crate::timer::LazyTimer;

/// The body of a request, which must make progress.
#[derive(Debug)]
pub(crate) struct Inbound {
    incoming: Incoming,
    origin: Origin,
    patience: Duration,
    waiting_since: Option<Instant>,
    timer: LazyTimer,
}

/// The client sent nothing of the body for too long.
#[derive(Debug)]
pub(crate) struct Stalled;

impl Inbound {
    /// `patience` is how long the client may send nothing.
    pub(crate) fn new(
        incoming: Incoming,
        origin: Origin,
        patience: Duration,
        clock: &Clock,
    ) -> Self {
        Self {
            incoming,
            origin,
            patience,
            waiting_since: None,
            timer: LazyTimer::new(clock.clone()),
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn origin_mut(&mut self) -> &mut Origin {
        &mut self.origin
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            this.waiting_since = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let since = *this.waiting_since.get_or_insert_with(|| this.timer.now());
        ready!(this.timer.poll(cx, since + this.patience));
        Poll::Ready(Some(Err(Stalled.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client sent nothing of the body for too long")
    }
}

impl Error for Stalled {}
