use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Answer, Judge};
use crate::OwnedPermit;

pin_project! {
    /// The response of a [`BreakerService`](super::BreakerService).
    ///
    /// # Panics
    ///
    /// When polled again after it is complete.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner call, gives back its trial if it held one, and counts by the
    /// breaker's [`CancelPolicy`](crate::CancelPolicy).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, Req, J, A>
    where
        S: Service<Req>,
        A: Answer<Req, S::Response, S::Error>,
    {
        #[pin]
        state: State<S, Req, S::Future, Result<S::Response, A::Error>>,
        call: Option<(OwnedPermit, J)>,
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

impl<S, Req, J, A> ResponseFuture<S, Req, J, A>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error>,
{
    pub(super) fn refused(answer: Result<S::Response, A::Error>) -> Self {
        let answer = Some(answer);
        Self {
            state: State::Refused { answer },
            call: None,
        }
    }

    #[inline]
    pub(super) fn ready_then_call(service: S, request: Req, permit: OwnedPermit, judge: J) -> Self {
        let request = Some(request);
        Self {
            state: State::Readying { service, request },
            call: Some((permit, judge)),
        }
    }

    pub(super) fn called(future: S::Future, permit: OwnedPermit, judge: J) -> Self {
        Self {
            state: State::Calling { future },
            call: Some((permit, judge)),
        }
    }
}

impl<S, Req, J, A> Future for ResponseFuture<S, Req, J, A>
where
    S: Service<Req>,
    J: Judge<S::Response, S::Error>,
    A: Answer<Req, S::Response, S::Error>,
{
    type Output = Result<S::Response, A::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = loop {
            match this.state.as_mut().project() {
                StateProjection::Refused { answer } => {
                    return Poll::Ready(answer.take().expect("polled after completion"));
                }
                StateProjection::Readying { service, request } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        break Err(error);
                    }
                    let request = request.take().expect("a request is called once");
                    let future = service.call(request);
                    this.state.set(State::Calling { future });
                }
                StateProjection::Calling { future } => break ready!(future.poll(cx)),
            }
        };
        let (permit, judge) = this.call.take().expect("polled after completion");
        let judgement = judge.judge(result.as_ref());
        match judgement.retry_after {
            None => permit.record(judgement.outcome),
            Some(time) => permit.record_with_retry_after(judgement.outcome, time),
        }
        Poll::Ready(result.map_err(A::error))
    }
}

impl<S, Req, J, A> fmt::Debug for ResponseFuture<S, Req, J, A>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error>,
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
