//! Verdicts at the end of a body.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use stanchion_core::{Classify, End, Outcome, Verdict};

use super::{BoxError, Closure, Judge, Record};

/// A [`Classify`] judges, at the end of the body where it says so; clones share it.
pub struct AtEnd<C> {
    classifier: Arc<C>,
}

impl<C> AtEnd<C> {
    pub(super) fn new(classifier: C) -> Self {
        Self {
            classifier: Arc::new(classifier),
        }
    }
}

impl<B, Err, C> Judge<Response<B>, Err> for AtEnd<C>
where
    B: Body,
    C: Classify<Response<B>, Err>,
{
    type Response<P: Record> = Response<JudgedBody<B, C, P>>;

    fn judge<P: Record>(
        &self,
        permit: P,
        retry_after: Option<Duration>,
        result: Result<Response<B>, Err>,
    ) -> Result<Self::Response<P>, Err> {
        let mut pending = Pending {
            call: Some((permit, retry_after)),
            classifier: self.classifier.clone(),
            at_end: |classifier, end| classifier.at_end(end),
        };
        let verdict = self.classifier.classify(result.as_ref());
        // Of a body that is over already, nobody may ever poll the end. Nor has an error a body.
        let over = result
            .as_ref()
            .map_or(true, |response| response.body().is_end_stream());
        match verdict {
            Verdict::Known(outcome) => pending.settle(outcome),
            Verdict::AtEnd if over => pending.end(End::Complete(&())),
            Verdict::AtEnd => pending.answered(),
        }
        Ok(result?.map(|body| JudgedBody {
            body,
            pending: Some(pending),
        }))
    }

    fn pass<P: Record>(response: Response<B>) -> Self::Response<P> {
        response.map(|body| JudgedBody {
            body,
            pending: None,
        })
    }
}

pin_project! {
    /// The body of a response that is judged when it ends: with its trailers, when it breaks, or
    /// when it is dropped before.
    ///
    /// Until then it holds the call's permit. Dropped before its end it counts as the classifier
    /// says of [`End::Dropped`]; where that is nothing, by the breaker's
    /// [`CancelPolicy`](crate::CancelPolicy).
    pub struct JudgedBody<B, C, P: Record> {
        #[pin]
        body: B,
        pending: Option<Pending<C, P>>,
    }
}

/// A verdict that is still out.
struct Pending<C, P: Record> {
    call: Option<(P, Option<Duration>)>,
    classifier: Arc<C>,
    at_end: fn(&C, End<'_>) -> Outcome,
}

impl<C, P: Record> Pending<C, P> {
    fn end(&mut self, end: End<'_>) {
        if self.call.is_some() {
            self.settle((self.at_end)(&self.classifier, end));
        }
    }

    fn answered(&mut self) {
        if let Some((permit, _)) = &mut self.call {
            permit.answered();
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some((permit, retry_after)) = self.call.take() {
            permit.record(outcome, retry_after);
        }
    }
}

impl<C, P: Record> Drop for Pending<C, P> {
    fn drop(&mut self) {
        if self.call.is_none() {
            return;
        }
        match (self.at_end)(&self.classifier, End::Dropped) {
            // The permit is dropped with the rest.
            Outcome::Ignore => {}
            outcome => self.settle(outcome),
        }
    }
}

impl<B, C, P> Body for JudgedBody<B, C, P>
where
    B: Body<Error: Into<BoxError>>,
    P: Record,
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

impl<C> Clone for AtEnd<C> {
    fn clone(&self) -> Self {
        Self {
            classifier: self.classifier.clone(),
        }
    }
}

impl<C> fmt::Debug for AtEnd<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classifier = Closure::of(&*self.classifier);
        f.debug_tuple("AtEnd").field(&classifier).finish()
    }
}

impl<B: fmt::Debug, C, P: Record> fmt::Debug for JudgedBody<B, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_out = |pending: &Pending<C, P>| pending.call.is_some();
        f.debug_struct("JudgedBody")
            .field("body", &self.body)
            .field("verdict_is_out", &self.pending.as_ref().is_some_and(is_out))
            .finish()
    }
}
