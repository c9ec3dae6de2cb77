use std::task::{Context, Poll, ready};

use tower_service::Service;

use super::{Answer, Guard, Judge, ResponseFuture};

/// The service that [`BreakerLayer`](crate::BreakerLayer) makes; clones share what guards it.
#[derive(Clone, Debug)]
pub struct BreakerService<S, G, J, A, R> {
    inner: S,
    guard: G,
    judge: J,
    answer: A,
    readiness: R,
}

/// The service is always ready; each call readies its own clone of the inner service.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Isolate;

/// The service is ready when the inner one is.
#[derive(Debug, Default)]
pub struct Propagate {
    /// The inner service was polled ready, and not called since.
    ready: bool,
}

/// Readiness belongs to one instance: a clone has to be polled itself.
impl Clone for Propagate {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<S, G, J, A, R> BreakerService<S, G, J, A, R> {
    pub(super) fn new(inner: S, guard: G, judge: J, answer: A, readiness: R) -> Self {
        Self {
            inner,
            guard,
            judge,
            answer,
            readiness,
        }
    }

    /// The breaker, or what else guards the inner service.
    #[must_use]
    pub fn guard(&self) -> &G {
        &self.guard
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service. Calling it goes round what guards it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, unguarded.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, G, J, A, Req> Service<Req> for BreakerService<S, G, J, A, Isolate>
where
    S: Service<Req> + Clone,
    G: Guard<Req>,
    J: Judge<G::Permit, S::Response, S::Error> + Clone,
    A: Answer<G::Rejected, Req, S::Response, S::Error>,
{
    type Response = J::Response;
    type Error = A::Error;
    type Future = ResponseFuture<S, Req, G, J, A>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        match self.guard.admit(&request) {
            Ok(permit) => {
                let (inner, judge) = (self.inner.clone(), self.judge.clone());
                ResponseFuture::ready_then_call(inner, request, permit, judge)
            }
            Err(rejected) => ResponseFuture::refused(self.answer.refuse(rejected, request)),
        }
    }
}

/// # Panics
///
/// `call` panics where it is not preceded by a `poll_ready` that was ready, as tower's contract
/// has it.
impl<S, G, J, A, Req> Service<Req> for BreakerService<S, G, J, A, Propagate>
where
    S: Service<Req>,
    G: Guard<Req>,
    J: Judge<G::Permit, S::Response, S::Error> + Clone,
    A: Answer<G::Rejected, Req, S::Response, S::Error>,
{
    type Response = J::Response;
    type Error = A::Error;
    type Future = ResponseFuture<S, Req, G, J, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        if !self.readiness.ready {
            ready!(self.inner.poll_ready(cx)).map_err(A::error)?;
            self.readiness.ready = true;
        }
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        assert!(self.readiness.ready, "call without poll_ready");
        match self.guard.admit(&request) {
            Ok(permit) => {
                self.readiness.ready = false;
                let future = self.inner.call(request);
                ResponseFuture::called(future, permit, self.judge.clone())
            }
            Err(rejected) => ResponseFuture::refused(self.answer.refuse(rejected, request)),
        }
    }
}
