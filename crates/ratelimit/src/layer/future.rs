use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::Answer;
use crate::{Rejected, Status};

pin_project! {
    /// The response of a [`RateLimit`](super::RateLimit) service.
    ///
    /// # Panics
    ///
    /// When polled again after it is complete.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner call. What an admitted request took stays taken: it was
    /// admitted.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, Req, A, Ok = Option<Status>, No = Rejected>
    where
        S: Service<Req>,
        A: Answer<Req, S::Response, S::Error, Ok, No>,
    {
        #[pin]
        state: State<S, Req, S::Future, Result<S::Response, A::Error>>,
        note: Option<A::Note>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Req, F, T> {
        Refused { answer: Option<T> },
        Readying { service: S, request: Option<Req> },
        Calling { #[pin] future: F },
    }
}

impl<S, Req, A, Ok, No> ResponseFuture<S, Req, A, Ok, No>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error, Ok, No>,
{
    pub(super) fn refused(answer: Result<S::Response, A::Error>) -> Self {
        Self {
            state: State::Refused {
                answer: Some(answer),
            },
            note: None,
        }
    }

    #[inline]
    pub(super) fn ready_then_call(service: S, request: Req, note: A::Note) -> Self {
        Self {
            state: State::Readying {
                service,
                request: Some(request),
            },
            note: Some(note),
        }
    }

    pub(super) fn called(future: S::Future, note: A::Note) -> Self {
        Self {
            state: State::Calling { future },
            note: Some(note),
        }
    }
}

impl<S, Req, A, Ok, No> Future for ResponseFuture<S, Req, A, Ok, No>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error, Ok, No>,
{
    type Output = Result<S::Response, A::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Refused { answer } => {
                    return Poll::Ready(answer.take().expect("polled after completion"));
                }
                StateProjection::Readying { service, request } => {
                    ready!(service.poll_ready(cx)).map_err(A::error)?;
                    let request = request.take().expect("a request is called once");
                    let future = service.call(request);
                    this.state.set(State::Calling { future });
                }
                StateProjection::Calling { future } => {
                    let response = ready!(future.poll(cx)).map_err(A::error)?;
                    let note = this.note.take().expect("polled after completion");
                    return Poll::Ready(Result::Ok(A::complete(note, response)));
                }
            }
        }
    }
}

impl<S, Req, A, Ok, No> fmt::Debug for ResponseFuture<S, Req, A, Ok, No>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error, Ok, No>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Refused { .. } => "Refused",
            State::Readying { .. } => "Readying",
            State::Calling { .. } => "Calling",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
