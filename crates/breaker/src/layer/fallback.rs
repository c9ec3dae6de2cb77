use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// The response of a service that answers in another's place: it is made ready, then called.
    ///
    /// # Panics
    ///
    /// When polled again after it is complete.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the service and its call.
    #[must_use = "futures do nothing unless polled"]
    pub struct FallbackFuture<B, Req>
    where
        B: Service<Req>,
    {
        #[pin]
        state: State<B, Req, B::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<B, Req, F> {
        Readying { service: B, request: Option<Req> },
        Calling { #[pin] future: F },
    }
}

impl<B: Service<Req>, Req> FallbackFuture<B, Req> {
    pub(super) fn new(service: B, request: Req) -> Self {
        let request = Some(request);
        Self {
            state: State::Readying { service, request },
        }
    }
}

impl<B: Service<Req>, Req> Future for FallbackFuture<B, Req> {
    type Output = Result<B::Response, B::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Readying { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let request = request.take().expect("a request is called once");
                    let future = service.call(request);
                    this.state.set(State::Calling { future });
                }
                StateProjection::Calling { future } => return future.poll(cx),
            }
        }
    }
}

impl<B: Service<Req>, Req> fmt::Debug for FallbackFuture<B, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFuture").finish_non_exhaustive()
    }
}
