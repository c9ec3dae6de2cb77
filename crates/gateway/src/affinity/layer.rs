use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Wanted, Wants};
use crate::exchange::{Request, Response};

/// Notes what a request wants, before anything of it is changed, and tells the client which server
/// answered.
#[derive(Clone, Debug)]
pub(crate) struct WantsLayer {
    wants: Wants,
}

impl WantsLayer {
    pub(crate) fn new(wants: Wants) -> Self {
        Self { wants }
    }
}

impl<S> Layer<S> for WantsLayer {
    type Service = Wanting<S>;

    fn layer(&self, inner: S) -> Wanting<S> {
        let wants = self.wants.clone();
        Wanting { inner, wants }
    }
}

/// See [`WantsLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Wanting<S> {
    inner: S,
    wants: Wants,
}

impl<S> Service<Request> for Wanting<S>
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
        let wanted = Arc::new(self.wants.of(&request));
        request.body_mut().origin_mut().wanted = Some(wanted.clone());
        ResponseFuture {
            inner: self.inner.call(request),
            wanted,
            wants: self.wants.clone(),
        }
    }
}

pin_project! {
    /// What [`Wanting`] returns.
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        wanted: Arc<Wanted>,
        wants: Wants,
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        this.wants.tell(this.wanted, &mut response);
        Poll::Ready(Ok(response))
    }
}
