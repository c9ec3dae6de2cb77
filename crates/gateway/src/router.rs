//! Finds the route of a request, and calls its stack.

mod fit;
mod intake;
mod path;
mod table;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, StatusCode, header};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::exchange::{Request, Response};
use crate::problem::Problem;
use crate::record::{Record, Recorder};

pub(crate) use fit::{Fit, Rank, fit};
pub(crate) use intake::{ALLOWED, host};
pub(crate) use path::normalised;
pub(crate) use table::Table;

const NO_ROUTE: Problem = Problem::new(
    StatusCode::NOT_FOUND,
    "no_route",
    "no route matches this host and path",
);

/// Answers by the route whose host and path prefix fit best, or with a problem.
///
/// Each clone of it shares the routes; a request gets a clone of its route's service.
pub(crate) struct Router<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    table: Table,
    routes: Box<[S]>,
    unmatched: Arc<Recorder>,
}

impl<S> Router<S> {
    /// `table` gives indexes into `routes`. Requests without a route are told to `unmatched`.
    pub(crate) fn new(table: Table, routes: Box<[S]>, unmatched: Arc<Recorder>) -> Self {
        Self {
            shared: Arc::new(Shared {
                table,
                routes,
                unmatched,
            }),
        }
    }
}

impl<S> Clone for Router<S> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<S> Service<Request> for Router<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let shared = &*self.shared;
        match find(&shared.table, &mut request) {
            Ok(route) => ResponseFuture::Matched {
                answer: shared.routes[route].clone().call(request),
            },
            Err(problem) => ResponseFuture::Refused {
                answer: Some(refuse(&problem, &request, &shared.unmatched)),
            },
        }
    }
}

/// The route of a request, which is taken in on the way; an index as the table gives it.
pub(crate) fn find<B>(table: &Table, request: &mut http::Request<B>) -> Result<usize, Problem> {
    intake::take_in(request, table.encoded_slash())?;
    let host = intake::host(request);
    table.find(host, request.uri().path()).ok_or(NO_ROUTE)
}

fn refuse(problem: &Problem, request: &Request, unmatched: &Arc<Recorder>) -> Response {
    let record = Record::begin(unmatched, request);
    let mut response = problem.response(&request.body().origin().id);
    if problem.status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = HeaderValue::from_static(intake::ALLOWED);
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    record.answered(&mut response);
    response
}

pin_project! {
    /// What [`Router`] returns.
    #[project = ResponseFutureProjection]
    pub(crate) enum ResponseFuture<F> {
        Matched { #[pin] answer: F },
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
            ResponseFutureProjection::Matched { answer } => answer.poll(cx),
            ResponseFutureProjection::Refused { answer } => {
                Poll::Ready(Ok(answer.take().expect("polled after completion")))
            }
        }
    }
}
