use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Answer, Guard, Judge};

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
    pub struct ResponseFuture<S, Req, G, J, A>
    where
        S: Service<Req>,
        G: Guard<Req>,
        A: Answer<G::Rejected, Req, S::Response, S::Error>,
    {
        #[pin]
        state: State<S, Req, S::Future, A::Future>,
        call: Option<(G::Permit, J)>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Req, F, T> {
        Refused { #[pin] answer: T },
        Readying { service: S, request: Option<Req> },
        Calling { #[pin] future: F },
    }
}

impl<S, Req, G, J, A> ResponseFuture<S, Req, G, J, A>
where
    S: Service<Req>,
    G: Guard<Req>,
    A: Answer<G::Rejected, Req, S::Response, S::Error>,
{
    pub(super) fn refused(answer: A::Future) -> Self {
        Self {
            state: State::Refused { answer },
            call: None,
        }
    }

    #[inline]
    pub(super) fn ready_then_call(service: S, request: Req, permit: G::Permit, judge: J) -> Self {
        let request = Some(request);
        Self {
            state: State::Readying { service, request },
            call: Some((permit, judge)),
        }
    }

    pub(super) fn called(future: S::Future, permit: G::Permit, judge: J) -> Self {
        Self {
            state: State::Calling { future },
            call: Some((permit, judge)),
        }
    }
}

impl<S, Req, G, J, A> Future for ResponseFuture<S, Req, G, J, A>
where
    S: Service<Req>,
    G: Guard<Req>,
    J: Judge<G::Permit, S::Response, S::Error>,
    A: Answer<G::Rejected, Req, S::Response, S::Error>,
{
    type Output = Result<J::Response, A::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = loop {
            match this.state.as_mut().project() {
                StateProjection::Refused { answer } => {
                    return Poll::Ready(ready!(answer.poll(cx)).map(J::pass));
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
        Poll::Ready(match result {
            Ok(response) => Ok(judge.judge(permit, None, response)),
            Err(error) => {
                judge.fail(permit, None, &error);
                Err(A::error(error))
            }
        })
    }
}

impl<S, Req, G, J, A> fmt::Debug for ResponseFuture<S, Req, G, J, A>
where
    S: Service<Req>,
    G: Guard<Req>,
    A: Answer<G::Rejected, Req, S::Response, S::Error>,
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
