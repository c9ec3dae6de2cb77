//! Calls that last until the end of their body.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use stanchion_core::{Classify, End, Outcome, Verdict};

use super::{BoxError, Closure, Judge};
use crate::Picked;

/// A [`Classify`] judges, at the end of the body where it says so; clones share it.
///
/// Whatever it says of the head, the call counts as in flight until the body is over.
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
    type Response<A> = Response<JudgedBody<B, C, A>>;

    fn judge<A>(
        &self,
        picked: Picked<A>,
        retry_after: Duration,
        response: Response<B>,
    ) -> Self::Response<A> {
        let verdict = match self.classifier.classify(Ok(&response)) {
            Verdict::Known(outcome) => Some(outcome),
            Verdict::AtEnd => None,
        };
        let mut call = Call {
            picked: Some(picked),
            retry_after,
            verdict,
            classifier: self.classifier.clone(),
            at_end: |classifier, end| classifier.at_end(end),
        };
        // Of a body that is over already, nobody may ever poll the end.
        if response.body().is_end_stream() {
            call.end(End::Complete(&()));
        }
        response.map(|body| JudgedBody {
            body,
            call: Some(call),
        })
    }

    fn fail<A>(&self, picked: Picked<A>, retry_after: Duration, error: &Err) {
        let outcome = match self.classifier.classify(Err(error)) {
            Verdict::Known(outcome) => outcome,
            Verdict::AtEnd => self.classifier.at_end(End::Complete(&())),
        };
        picked.record_with_retry_after(outcome, retry_after);
    }

    fn pass<A>(response: Response<B>) -> Self::Response<A> {
        response.map(|body| JudgedBody { body, call: None })
    }
}

pin_project! {
    /// The body of a response, which keeps its call in flight until it has ended, with its trailers,
    /// has broken, or is dropped.
    ///
    /// Where the classifier left the verdict to the end, it is asked then, also of a body that is
    /// dropped.
    pub struct JudgedBody<B, C, A> {
        #[pin]
        body: B,
        call: Option<Call<C, A>>,
    }
}

/// A call that is not over.
struct Call<C, A> {
    picked: Option<Picked<A>>,
    retry_after: Duration,
    /// What the head said, if it said it all.
    verdict: Option<Outcome>,
    classifier: Arc<C>,
    at_end: fn(&C, End<'_>) -> Outcome,
}

impl<C, A> Call<C, A> {
    fn end(&mut self, end: End<'_>) {
        if let Some(picked) = self.picked.take() {
            let outcome = self.verdict;
            let outcome = outcome.unwrap_or_else(|| (self.at_end)(&self.classifier, end));
            picked.record_with_retry_after(outcome, self.retry_after);
        }
    }
}

impl<C, A> Drop for Call<C, A> {
    fn drop(&mut self) {
        self.end(End::Dropped);
    }
}

impl<B, C, A> Body for JudgedBody<B, C, A>
where
    B: Body<Error: Into<BoxError>>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let Some(call) = this.call else {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        };
        match frame {
            None => {
                call.end(End::Complete(&()));
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                let error = error.into();
                call.end(End::Broken(&*error));
                Poll::Ready(Some(Err(error)))
            }
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    call.end(End::Complete(trailers));
                } else if this.body.is_end_stream() {
                    call.end(End::Complete(&()));
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

impl<B: fmt::Debug, C, A> fmt::Debug for JudgedBody<B, C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_out = |call: &Call<C, A>| call.picked.is_some();
        f.debug_struct("JudgedBody")
            .field("body", &self.body)
            .field("in_flight", &self.call.as_ref().is_some_and(is_out))
            .finish()
    }
}
