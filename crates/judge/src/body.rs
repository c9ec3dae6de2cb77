//! Calls that last until the end of their body.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use stanchion_core::{Classify, End, Outcome, Verdict};

use crate::{Call, Closure, Judge};

type BoxError = Box<dyn Error + Send + Sync>;

/// A [`Classify`] judges, at the end of the body where it says so; clones share it.
///
/// Of a body that is over when the head comes, the end is asked for at once: nobody may ever poll it.
pub struct AtEnd<K> {
    classifier: Arc<K>,
}

impl<K> AtEnd<K> {
    /// Judges by `classifier`.
    #[must_use]
    pub fn new(classifier: K) -> Self {
        Self {
            classifier: Arc::new(classifier),
        }
    }
}

impl<C, B, Err, K> Judge<C, Response<B>, Err> for AtEnd<K>
where
    C: Call,
    B: Body,
    K: Classify<Response<B>, Err>,
{
    type Response = Response<JudgedBody<B, K, C>>;

    fn judge(
        &self,
        call: C,
        retry_after: Option<Duration>,
        response: Response<B>,
    ) -> Self::Response {
        let mut pending = Pending {
            call: Some(call),
            retry_after,
            verdict: None,
            classifier: self.classifier.clone(),
            at_end: |classifier, end| classifier.at_end(end),
        };
        match self.classifier.classify(Ok(&response)) {
            Verdict::Known(outcome) if C::LASTS_TO_THE_END => pending.verdict = Some(outcome),
            Verdict::Known(outcome) => pending.record(outcome),
            Verdict::AtEnd => {}
        }
        if response.body().is_end_stream() {
            pending.end(End::Complete(&()));
        } else if let Some(call) = &mut pending.call {
            call.answered();
        }
        response.map(|body| JudgedBody {
            body,
            pending: Some(pending),
        })
    }

    fn fail(&self, call: C, retry_after: Option<Duration>, error: &Err) {
        let outcome = match self.classifier.classify(Err(error)) {
            Verdict::Known(outcome) => outcome,
            Verdict::AtEnd => self.classifier.at_end(End::Complete(&())),
        };
        call.record(outcome, retry_after);
    }

    fn pass(response: Response<B>) -> Self::Response {
        response.map(|body| JudgedBody {
            body,
            pending: None,
        })
    }
}

pin_project! {
    /// The body of a response that is judged when it is over: when it has ended, with its trailers,
    /// when it breaks, or when it is dropped before.
    ///
    /// Until then it holds its call. Dropped before its end, the call ends as the classifier says of
    /// [`End::Dropped`]; where that is nothing, it is dropped, too, and counts as cancelled.
    pub struct JudgedBody<B, K, C: Call> {
        #[pin]
        body: B,
        // None where nothing was called.
        pending: Option<Pending<K, C>>,
    }
}

/// A verdict that is still out, or a call that goes on with its verdict known.
struct Pending<K, C: Call> {
    call: Option<C>,
    retry_after: Option<Duration>,
    verdict: Option<Outcome>,
    classifier: Arc<K>,
    at_end: fn(&K, End<'_>) -> Outcome,
}

impl<K, C: Call> Pending<K, C> {
    fn end(&mut self, end: End<'_>) {
        if self.call.is_some() {
            let outcome = self.verdict;
            let outcome = outcome.unwrap_or_else(|| (self.at_end)(&self.classifier, end));
            self.record(outcome);
        }
    }

    fn record(&mut self, outcome: Outcome) {
        if let Some(call) = self.call.take() {
            call.record(outcome, self.retry_after);
        }
    }
}

impl<K, C: Call> Drop for Pending<K, C> {
    fn drop(&mut self) {
        if self.call.is_none() {
            return;
        }
        let outcome = self.verdict;
        match outcome.unwrap_or_else(|| (self.at_end)(&self.classifier, End::Dropped)) {
            // The call is dropped with the rest.
            Outcome::Ignore => {}
            outcome => self.record(outcome),
        }
    }
}

impl<B, K, C> Body for JudgedBody<B, K, C>
where
    B: Body<Error: Into<BoxError>>,
    C: Call,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let Some(pending) = this.pending else {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        };
        match frame {
            None => {
                pending.end(End::Complete(&()));
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                let error = error.into();
                pending.end(End::Broken(&*error));
                Poll::Ready(Some(Err(error)))
            }
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    pending.end(End::Complete(trailers));
                } else if this.body.is_end_stream() {
                    pending.end(End::Complete(&()));
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<K> Clone for AtEnd<K> {
    fn clone(&self) -> Self {
        Self {
            classifier: self.classifier.clone(),
        }
    }
}

impl<K> fmt::Debug for AtEnd<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classifier = Closure::of(&*self.classifier);
        f.debug_tuple("AtEnd").field(&classifier).finish()
    }
}

impl<B: fmt::Debug, K, C: Call> fmt::Debug for JudgedBody<B, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = |pending: &Pending<K, C>| pending.call.is_some();
        f.debug_struct("JudgedBody")
            .field("body", &self.body)
            .field("holds_a_call", &self.pending.as_ref().is_some_and(holds))
            .finish()
    }
}
