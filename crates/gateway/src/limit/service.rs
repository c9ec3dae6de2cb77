//! The step of a route's limits.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::Limit;
use super::passage::Passage;
use crate::exchange::{Request, Response};

/// Holds requests to the limits of a route: all of them count a request, or none.
#[derive(Clone, Debug)]
pub(crate) struct LimitsLayer {
    limits: Arc<[Limit]>,
}

impl LimitsLayer {
    pub(crate) fn new(limits: &[Limit]) -> Self {
        Self {
            limits: limits.into(),
        }
    }
}

impl<S> Layer<S> for LimitsLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited {
            inner,
            limits: self.limits.clone(),
        }
    }
}

/// See [`LimitsLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Limited<S> {
    inner: S,
    limits: Arc<[Limit]>,
}

impl<S> Service<Request> for Limited<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut passage = Passage::new(self.limits.clone(), &request);
        match passage.begin(&request) {
            Ok(()) if passage.is_through() => ResponseFuture::Called {
                future: self.inner.call(request),
                passage,
            },
            Ok(()) => {
                // The instance that was readied goes with the request.
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                ResponseFuture::Waiting {
                    future: Box::pin(wait(passage, request, inner)),
                }
            }
            Err(refusal) => ResponseFuture::Refused {
                response: Some(passage.refuse(&refusal, request)),
            },
        }
    }
}

async fn wait<S>(passage: Passage, request: Request, mut inner: S) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let (passage, request, result) = passage.wait(request).await;
    match result {
        Ok(()) => {
            let response = inner.call(request).await?;
            Ok(passage.complete(response))
        }
        Err(refusal) => Ok(passage.refuse(&refusal, request)),
    }
}

pin_project! {
    /// What [`Limited`] returns.
    #[project = Projection]
    pub(crate) enum ResponseFuture<F> {
        /// The inner service was called.
        Called { #[pin] future: F, passage: Passage },
        Refused { response: Option<Response> },
        /// The decision is elsewhere; in a box, since most are not.
        Waiting { future: Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>> },
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projection::Called { future, passage } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(passage.complete(response)))
            }
            Projection::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("polled after completion")))
            }
            Projection::Waiting { future } => future.as_mut().poll(cx),
        }
    }
}
