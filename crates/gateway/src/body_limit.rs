//! Bounds the body of a request.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::StatusCode;
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::config::BodyLimits;
use crate::exchange::{Request, Response};
use crate::problem::Problem;

pub(crate) const TOO_LARGE: Problem = Problem::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "body_length",
    "the body of the request is too large",
);

/// Refuses a request whose body is said to be too large, and has one of unknown length fail once
/// it is, or once it comes in too slowly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimitLayer {
    limits: BodyLimits,
}

impl BodyLimitLayer {
    pub(crate) fn new(limits: BodyLimits) -> Self {
        Self { limits }
    }
}

impl<S> Layer<S> for BodyLimitLayer {
    type Service = BodyLimit<S>;

    fn layer(&self, inner: S) -> BodyLimit<S> {
        BodyLimit {
            inner,
            limits: self.limits,
        }
    }
}

/// See [`BodyLimitLayer`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit<S> {
    inner: S,
    limits: BodyLimits,
}

impl<S> Service<Request> for BodyLimit<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // The length that was told, or 0 where none was.
        if request.body().size_hint().lower() > self.limits.bytes_max {
            let response = TOO_LARGE.response(&request.body().origin().id);
            return ResponseFuture::Refused {
                response: Some(response),
            };
        }
        request.body_mut().limit(self.limits);
        ResponseFuture::Passed {
            answer: self.inner.call(request),
        }
    }
}

pin_project! {
    /// What [`BodyLimit`] returns.
    #[project = ResponseFutureProjection]
    pub(crate) enum ResponseFuture<F> {
        Passed { #[pin] answer: F },
        Refused { response: Option<Response> },
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ResponseFutureProjection::Passed { answer } => answer.poll(cx),
            ResponseFutureProjection::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("polled after completion")))
            }
        }
    }
}
