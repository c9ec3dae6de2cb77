use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, header};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Activity;
use crate::exchange::{Inbound, Origin, Peer, Request, Response};
use crate::worker::{Current, Worker};

/// Hands the requests of one connection to the stack that is in force.
pub(super) struct ConnectionService<S> {
    current: Arc<Current<S>>,
    peer: Peer,
    activity: Arc<Activity>,
    worker: Arc<Worker>,
}

impl<S> ConnectionService<S> {
    pub(super) fn new(
        current: Arc<Current<S>>,
        peer: Peer,
        activity: Arc<Activity>,
        worker: Arc<Worker>,
    ) -> Self {
        Self {
            current,
            peer,
            activity,
            worker,
        }
    }
}

impl<S> hyper::service::Service<http::Request<Incoming>> for ConnectionService<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ConnectionFuture<S::Future>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        self.activity.request_begins();
        let clock = self.worker.clock();
        let serving = self.current.load();
        let snapshot = &*serving.snapshot;
        let (parts, incoming) = request.into_parts();
        let peer = snapshot.clients.judge(&self.peer);
        let origin = Origin {
            client: snapshot.clients.find(&peer, &parts.headers),
            peer,
            started: clock.now(),
            id: HeaderValue::from_static(""),
            wanted: None,
            trace: None,
        };
        let patience = snapshot.config.listen.body_timeout;
        let inbound = Inbound::new(incoming, origin, patience, clock);
        let request: Request = Box::new(http::Request::from_parts(parts, inbound));
        ConnectionFuture {
            answer: serving.stack.clone().call(request),
            activity: Some(self.activity.clone()),
            worker: self.worker.clone(),
        }
    }
}

pin_project! {
    pub(super) struct ConnectionFuture<F> {
        #[pin]
        answer: F,
        // Until it goes with the response.
        activity: Option<Arc<Activity>>,
        worker: Arc<Worker>,
    }
}

impl<F> Future for ConnectionFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.answer.poll(cx))?;
        let mut refused = false;
        if let Some(activity) = this.activity.take() {
            // Nobody will read what is still to come of the body of a request that was refused.
            refused = response.body().note().cause.is_some() && activity.is_body_coming();
            response.body_mut().tell_connection(activity);
        }
        if refused || this.worker.is_draining() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Poll::Ready(Ok(response))
    }
}
