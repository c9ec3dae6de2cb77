use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Session, SessionCookie};
use crate::EndpointId;

/// Keeps each session at one endpoint, by a cookie.
///
/// Goes around a [`Balance`](crate::Balance) that was made [`sticky`](crate::Balance::sticky): it reads the
/// cookie of a request, and writes one into the response where the session has none, or where another
/// endpoint answered since the old one is gone, unfit or full.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use stanchion_lb::affinity::{SessionCookie, SessionKeys, StickyLayer};
/// use stanchion_lb::policy::P2c;
/// use stanchion_lb::{Backend, Balance, Balancer, Endpoint};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let client = service_fn(async |_: Request<()>| Ok::<_, std::io::Error>(Response::new(())));
/// let balancer = Balancer::new(P2c::new());
/// balancer.update([Endpoint::new("web-1", Backend::new("10.0.0.1:80", client))])?;
///
/// let cookie = SessionCookie::new("lb", SessionKeys::new([7; 32])?)?;
/// let service = StickyLayer::new(cookie).layer(Balance::new(balancer).sticky());
/// let response = service.oneshot(Request::new(())).await?;
/// assert!(response.headers().contains_key("set-cookie"));
/// # Ok(())
/// # }
/// ```
#[must_use = "a layer does nothing until it wraps a service"]
#[derive(Clone, Debug)]
pub struct StickyLayer {
    cookie: Arc<SessionCookie>,
}

impl StickyLayer {
    /// By this cookie.
    pub fn new(cookie: SessionCookie) -> Self {
        Self {
            cookie: Arc::new(cookie),
        }
    }
}

impl<S> Layer<S> for StickyLayer {
    type Service = Sticky<S>;

    fn layer(&self, inner: S) -> Sticky<S> {
        let cookie = self.cookie.clone();
        Sticky { inner, cookie }
    }
}

/// The service that [`StickyLayer`] makes; ready when the inner one is.
#[derive(Clone, Debug)]
pub struct Sticky<S> {
    inner: S,
    cookie: Arc<SessionCookie>,
}

impl<S> Sticky<S> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, T> Service<Request<B>> for Sticky<S>
where
    S: Service<Request<B>, Response = Response<T>>,
{
    type Response = Response<T>;
    type Error = S::Error;
    type Future = StickyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // What an outer service may have left there is not ours.
        request.extensions_mut().remove::<Session>();
        let session = self.cookie.read(request.headers());
        if let Some(session) = &session {
            request.extensions_mut().insert(session.clone());
        }
        StickyFuture {
            future: self.inner.call(request),
            session,
            cookie: self.cookie.clone(),
        }
    }
}

pin_project! {
    /// The response of [`Sticky`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner call, and nothing else.
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct StickyFuture<F> {
        #[pin]
        future: F,
        session: Option<Session>,
        cookie: Arc<SessionCookie>,
    }
}

impl<F, T, E> Future for StickyFuture<F>
where
    F: Future<Output = Result<Response<T>, E>>,
{
    type Output = Result<Response<T>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.future.poll(cx))?;
        if let Some(id) = response.extensions_mut().remove::<EndpointId>() {
            let session = this.session.as_ref();
            this.cookie.write(session, &id, response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}
