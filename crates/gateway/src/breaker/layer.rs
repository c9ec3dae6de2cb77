//! The guards of a route as a step of its stack.
//!
//! Not `BreakerLayer`: a verdict that waits for the end of a body travels in our own body, which is one
//! type throughout the stack, and goes through two breakers.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Admitted, Guards, refuse, verdict};
use crate::exchange::{Request, Response};

/// Asks the guards of a route, and tells them how the requests went that they let through.
#[derive(Clone, Debug)]
pub(crate) struct GuardsLayer {
    guards: Guards,
}

impl GuardsLayer {
    pub(crate) fn new(guards: Guards) -> Self {
        Self { guards }
    }
}

impl<S> Layer<S> for GuardsLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        let guards = self.guards.clone();
        Guarded { inner, guards }
    }
}

/// See [`GuardsLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    guards: Guards,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.guards.admit() {
            Ok(admitted) => ResponseFuture::Called {
                future: self.inner.call(request),
                admitted: Some(admitted),
            },
            Err(refusal) => ResponseFuture::Refused {
                answer: Some(refuse(&refusal, &request.body().origin().id)),
            },
        }
    }
}

pin_project! {
    /// What [`Guarded`] returns. Dropped, the request counts as given up.
    #[project = Projection]
    pub(crate) enum ResponseFuture<F> {
        Called {
            #[pin]
            future: F,
            admitted: Option<Admitted>,
        },
        Refused { answer: Option<Response> },
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projection::Called { future, admitted } => {
                let mut response = ready!(future.poll(cx))?;
                if let Some(admitted) = admitted.take() {
                    verdict::judge_of_route(admitted, &mut response);
                }
                Poll::Ready(Ok(response))
            }
            Projection::Refused { answer } => {
                Poll::Ready(Ok(answer.take().expect("polled after completion")))
            }
        }
    }
}
