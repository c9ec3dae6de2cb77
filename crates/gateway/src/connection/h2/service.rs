use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Stream, Streams};
use crate::exchange::{Inbound, Origin, Peer, Refused, Request, Response};
use crate::problem::Problem;
use crate::worker::{Current, Worker};

const HOST: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "host",
    "the Host of a request must be its :authority",
);
const FIELDS: Problem = Problem::new(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head",
    "the head has too many fields",
);

/// Hands the requests of one connection to the stack, in the shape that HTTP/1.1 gives them.
pub(super) struct StreamService<S> {
    current: Arc<Current<S>>,
    peer: Peer,
    streams: Streams,
    worker: Arc<Worker>,
}

impl<S> StreamService<S> {
    pub(super) fn new(
        current: Arc<Current<S>>,
        peer: Peer,
        streams: Streams,
        worker: Arc<Worker>,
    ) -> Self {
        Self {
            current,
            peer,
            streams,
            worker,
        }
    }
}

impl<S> hyper::service::Service<http::Request<Incoming>> for StreamService<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    type Response = Response;
    type Error = Infallible;
    type Future = StreamFuture<S::Future>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let clock = self.worker.clock();
        let now = clock.now();
        let stream = self.streams.begin(now);
        let serving = self.current.load();
        let snapshot = &*serving.snapshot;
        let listen = &snapshot.config.listen;
        let (mut parts, incoming) = request.into_parts();
        if let Err(problem) = reshape(&mut parts, listen.heads.fields_max) {
            parts.extensions.insert(Refused(problem));
        }
        let peer = snapshot.clients.judge(&self.peer);
        let origin = Origin {
            client: snapshot.clients.find(&peer, &parts.headers),
            peer,
            started: now,
            id: HeaderValue::from_static(""),
            wanted: None,
            trace: None,
        };
        let head_only = parts.method == Method::HEAD;
        let inbound = Inbound::new(incoming, origin, listen.body_timeout, clock);
        let request: Request = Box::new(http::Request::from_parts(parts, inbound));
        StreamFuture {
            answer: serving.stack.clone().call(request),
            head_only,
            stream: Some(stream),
        }
    }
}

/// Gives a request the shape that it has in HTTP/1.1: a `Host`, a target that is a path, and one
/// `Cookie`.
///
/// Source: RFC 9113, sections 8.2.3 and 8.3.1.
fn reshape(parts: &mut Parts, fields_max: usize) -> Result<(), Problem> {
    if parts.headers.len() > fields_max {
        return Err(FIELDS);
    }
    if let Some(authority) = parts.uri.authority() {
        let same = |host: &HeaderValue| {
            host.as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes())
        };
        if !parts.headers.get_all(header::HOST).iter().all(same) {
            return Err(HOST);
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| HOST)?;
        parts.headers.insert(header::HOST, host);
        if parts.method != Method::CONNECT {
            let path = parts.uri.path_and_query().cloned();
            let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
            parts.uri = Uri::from(path);
        }
    }
    join_cookies(&mut parts.headers);
    Ok(())
}

/// Makes one field of several, as servers of HTTP/1.1 expect it.
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    // What is made of values and a separator is a value.
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

pin_project! {
    pub(super) struct StreamFuture<F> {
        #[pin]
        answer: F,
        head_only: bool,
        stream: Option<Arc<Stream>>,
    }
}

impl<F> Future for StreamFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.answer.poll(cx))?;
        if *this.head_only {
            // hyper sends what it is given.
            let length = response.body_mut().discard();
            if let Some(length) = length {
                let fields = response.headers_mut();
                fields
                    .entry(header::CONTENT_LENGTH)
                    .or_insert(length.into());
            }
        }
        if let Some(stream) = this.stream.take() {
            stream.answered();
            response.body_mut().tell_stream(stream);
        }
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reshaped(uri: &str, fields: &[(&'static str, &str)]) -> Result<Parts, Problem> {
        let mut request = http::Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        reshape(&mut parts, 100).map(|()| parts)
    }

    #[test]
    fn the_authority_becomes_the_host() {
        let parts = reshaped("http://a.test:81/x?y", &[]).unwrap();
        assert_eq!(parts.headers["host"], "a.test:81");
        assert_eq!(parts.uri, "/x?y");
        let parts = reshaped("http://a.test/", &[("host", "A.test")]).unwrap();
        assert_eq!(parts.headers["host"], "a.test");
        let parts = reshaped("/x", &[("host", "b.test")]).unwrap();
        assert_eq!(parts.headers["host"], "b.test");
    }

    #[test]
    fn a_host_that_is_not_the_authority_is_refused() {
        for hosts in [
            &[("host", "b.test")][..],
            &[("host", "a.test"), ("host", "b.test")],
            &[("host", "a.test:80")],
        ] {
            let problem = reshaped("http://a.test/", hosts).unwrap_err();
            assert_eq!(problem.status, 400, "{hosts:?}");
        }
    }

    proptest! {
        #[test]
        fn cookies_are_joined_in_their_order(
            cookies in proptest::collection::vec("[a-c]=[a-z]{0,3}", 0..5),
        ) {
            let fields: Vec<_> = cookies.iter().map(|cookie| ("cookie", cookie.as_str())).collect();
            let parts = reshaped("http://a.test/", &fields).unwrap();
            let found: Vec<_> = parts.headers.get_all("cookie").iter().collect();
            if cookies.is_empty() {
                prop_assert!(found.is_empty());
            } else {
                let joined = cookies.join("; ");
                prop_assert_eq!(found, [joined.as_str()]);
            }
        }
    }
}
