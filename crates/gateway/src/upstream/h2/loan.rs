use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use stanchion_core::{Clock, Instant};

use crate::exchange::Inbound;
use crate::upstream::failure::Failure;

/// The most of a body that is kept, in bytes, in case the server refuses the request.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Lends a request's body to a connection, and can have it back, whole, as long as little of it was
/// sent and the response did not begin.
#[derive(Debug)]
pub(in crate::upstream) struct Lender {
    loan: Arc<Loan>,
}

/// The body as the connection has it.
#[derive(Debug)]
pub(super) struct Lent {
    loan: Arc<Loan>,
}

#[derive(Debug)]
struct Loan {
    clock: Clock,
    /// When something of the request or of the response moved last.
    moved: AtomicU64,
    /// Of one thread, so never contended.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Absent once it was taken back.
    body: Option<Inbound>,
    /// What was sent of it, unless that was too much.
    kept: Option<Vec<Bytes>>,
    kept_bytes: usize,
    failure: Option<Failure>,
}

impl Lender {
    pub(super) fn lend(body: Inbound, clock: &Clock) -> (Self, Lent) {
        let loan = Arc::new(Loan {
            clock: clock.clone(),
            moved: AtomicU64::new(clock.now().as_nanos()),
            state: Mutex::new(State {
                body: Some(body),
                kept: Some(Vec::new()),
                kept_bytes: 0,
                failure: None,
            }),
        });
        (Self { loan: loan.clone() }, Lent { loan })
    }

    pub(super) fn moved(&self) -> Instant {
        Instant::from_nanos(self.loan.moved.load(Ordering::Relaxed))
    }

    pub(super) fn touch(&self) {
        self.loan.touch();
    }

    /// What the client did wrong with the body.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.loan.state.lock().failure
    }

    /// The response began: the body goes on as it is, and may pause for as long as the response
    /// goes on.
    pub(super) fn settle(&self) {
        let state = &mut *self.loan.state.lock();
        state.kept = None;
        if let Some(body) = &mut state.body {
            body.wait_no_more();
        }
    }

    /// The whole body, if it still can be had.
    pub(super) fn take_back(self) -> Option<Inbound> {
        let state = &mut *self.loan.state.lock();
        let kept = state.kept.take()?;
        let mut body = state.body.take()?;
        body.send_again(kept);
        Some(body)
    }
}

impl Loan {
    fn touch(&self) {
        let now = self.clock.now();
        self.moved.store(now.as_nanos(), Ordering::Relaxed);
    }
}

impl State {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(kept) = &mut self.kept else {
            return;
        };
        match frame.data_ref() {
            Some(data) if self.kept_bytes + data.len() <= KEPT_BYTES_MAX => {
                self.kept_bytes += data.len();
                if !data.is_empty() {
                    kept.push(data.clone());
                }
            }
            _ => self.kept = None,
        }
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let state = &mut *self.loan.state.lock();
        let Some(body) = &mut state.body else {
            return Poll::Ready(None);
        };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        self.loan.touch();
        match &frame {
            Some(Ok(frame)) => state.keep(frame),
            Some(Err(error)) => state.failure = Failure::of_client(&**error),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.loan.state.lock();
        state.body.as_ref().is_none_or(Inbound::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.loan.state.lock();
        state
            .body
            .as_ref()
            .map_or_else(SizeHint::default, Inbound::size_hint)
    }
}
