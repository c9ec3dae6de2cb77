use std::task::{Context, Poll, ready};

use tower_service::Service;

use super::{Answer, Limit, ResponseFuture};
use crate::Policy;

/// The service that [`RateLimitLayer`](crate::RateLimitLayer) makes; clones share the buckets.
#[derive(Clone, Debug)]
pub struct RateLimit<S, L, A, R> {
    inner: S,
    limit: L,
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
    pub(super) ready: bool,
}

/// Readiness belongs to one instance: a clone has to be polled itself.
impl Clone for Propagate {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<S, L, A, R> RateLimit<S, L, A, R> {
    pub(super) fn new(inner: S, limit: L, answer: A, readiness: R) -> Self {
        Self {
            inner,
            limit,
            answer,
            readiness,
        }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service. Calling it goes round the limit.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, out of the limit.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The policy that this request's key has of its own, if the answer tells it.
    #[inline]
    fn own<Req>(&self, request: &Req) -> Option<Policy>
    where
        S: Service<Req>,
        L: Limit<Req>,
        A: Answer<Req, S::Response, S::Error, L::Admitted, L::Refused>,
    {
        A::TELLS_POLICY.then(|| self.limit.policy_of(request))?
    }
}

impl<S, L, A, Req> Service<Req> for RateLimit<S, L, A, Isolate>
where
    S: Service<Req> + Clone,
    L: Limit<Req>,
    A: Answer<Req, S::Response, S::Error, L::Admitted, L::Refused>,
{
    type Response = S::Response;
    type Error = A::Error;
    type Future = ResponseFuture<S, Req, A, L::Admitted, L::Refused>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let own = self.own(&request);
        match self.limit.check(&request) {
            Ok(admitted) => {
                let note = self.answer.note_by(own, admitted);
                ResponseFuture::ready_then_call(self.inner.clone(), request, note)
            }
            Err(refused) => ResponseFuture::refused(self.answer.refuse_by(own, &refused, request)),
        }
    }
}

/// # Panics
///
/// `call` panics where it is not preceded by a `poll_ready` that was ready, as tower's contract
/// has it.
impl<S, L, A, Req> Service<Req> for RateLimit<S, L, A, Propagate>
where
    S: Service<Req>,
    L: Limit<Req>,
    A: Answer<Req, S::Response, S::Error, L::Admitted, L::Refused>,
{
    type Response = S::Response;
    type Error = A::Error;
    type Future = ResponseFuture<S, Req, A, L::Admitted, L::Refused>;

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
        let own = self.own(&request);
        match self.limit.check(&request) {
            Ok(admitted) => {
                self.readiness.ready = false;
                let note = self.answer.note_by(own, admitted);
                ResponseFuture::called(self.inner.call(request), note)
            }
            Err(refused) => ResponseFuture::refused(self.answer.refuse_by(own, &refused, request)),
        }
    }
}
