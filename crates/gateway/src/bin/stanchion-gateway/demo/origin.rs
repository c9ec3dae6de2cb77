//! A small web server for the gateway to stand in front of.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The field in which an origin tells its number.
pub(super) const ORIGIN: &str = "x-origin";

/// Answers every request with a greeting, until it is dropped.
pub(super) async fn serve(number: usize, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        // Forgets those that ended.
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let service =
            service_fn(move |request| async move { Ok::<_, Infallible>(greet(number, &request)) });
        connections.spawn(async move {
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Its errors are the gateway's to see.
            let _ = served.await;
        });
    }
}

fn greet(number: usize, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let field = |name| {
        let value = request.headers().get(name);
        value
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .unwrap_or("nobody")
    };
    let text = format!(
        "hello from origin-{}\nyou asked for {} as {}, request {}\n",
        number + 1,
        request.uri(),
        field("x-forwarded-for"),
        field("x-request-id"),
    );
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response
        .headers_mut()
        .insert(ORIGIN, HeaderValue::from(number));
    response
}
