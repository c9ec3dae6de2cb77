//! The future that decides first, and calls then.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::layer::{Answer, ResponseFuture};
use crate::{Policy, Rejected, Status};

pin_project! {
    /// The response of an [`AsyncRateLimit`](super::AsyncRateLimit) service.
    ///
    /// # Panics
    ///
    /// When polled again after it is complete.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the decision or the inner call, and what the inner service had reserved.
    /// What the limiter took stays taken.
    #[must_use = "futures do nothing unless polled"]
    pub struct AsyncResponseFuture<S, Req, A, D>
    where
        S: Service<Req>,
        A: Answer<Req, S::Response, S::Error>,
    {
        #[pin]
        state: State<Decision<D>, Call<S, Req, A>, ResponseFuture<S, Req, A>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<D, C, F> {
        Deciding { #[pin] decision: D, call: Option<C> },
        Responding { #[pin] future: F },
    }
}

pin_project! {
    #[project = DecisionProjection]
    pub(super) enum Decision<D> {
        Known { result: Result<Option<Status>, Rejected> },
        Asking { #[pin] decision: D },
    }
}

impl<D> Future for Decision<D>
where
    D: Future<Output = Result<Option<Status>, Rejected>>,
{
    type Output = D::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<D::Output> {
        match self.project() {
            DecisionProjection::Known { result } => Poll::Ready(*result),
            DecisionProjection::Asking { decision } => decision.poll(context),
        }
    }
}

impl<S, Req, A, D> AsyncResponseFuture<S, Req, A, D>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error>,
{
    pub(super) fn new(decision: Decision<D>, call: Call<S, Req, A>) -> Self {
        Self {
            state: State::Deciding {
                decision,
                call: Some(call),
            },
        }
    }
}

impl<S, Req, A, D> Future for AsyncResponseFuture<S, Req, A, D>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error>,
    D: Future<Output = Result<Option<Status>, Rejected>>,
{
    type Output = Result<S::Response, A::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let future = match this.state.as_mut().project() {
                StateProjection::Responding { future } => return future.poll(context),
                StateProjection::Deciding { decision, call } => {
                    let decided = ready!(decision.poll(context));
                    let call = call.take().expect("a request is decided once");
                    call.go_on(decided)
                }
            };
            this.state.set(State::Responding { future });
        }
    }
}

impl<S, Req, A, D> fmt::Debug for AsyncResponseFuture<S, Req, A, D>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("AsyncResponseFuture");
        match &self.state {
            State::Deciding { .. } => tuple.field(&"Deciding"),
            State::Responding { future } => tuple.field(future),
        };
        tuple.finish()
    }
}

/// What is done with a request that is admitted.
pub(super) struct Call<S, Req, A> {
    pub(super) service: S,
    /// The service was polled ready.
    pub(super) ready: bool,
    pub(super) request: Req,
    pub(super) answer: A,
    /// The policy that the request's key has of its own, if the answer tells it.
    pub(super) own: Option<Policy>,
}

impl<S, Req, A> Call<S, Req, A>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error>,
{
    fn go_on(mut self, decided: Result<Option<Status>, Rejected>) -> ResponseFuture<S, Req, A> {
        match decided {
            Ok(status) => {
                let note = self.answer.note_by(self.own, status);
                if self.ready {
                    ResponseFuture::called(self.service.call(self.request), note)
                } else {
                    ResponseFuture::ready_then_call(self.service, self.request, note)
                }
            }
            Err(rejected) => {
                let answer = self.answer.refuse_by(self.own, &rejected, self.request);
                ResponseFuture::refused(answer)
            }
        }
    }
}
