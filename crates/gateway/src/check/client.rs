//! One request, on a connection of its own.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower::Service;

use crate::config::Protocol;

/// The most an answer's head may take, in bytes.
const HEAD_BYTES_MAX: u32 = 16 * 1024;

/// A client that connects for each request, to the [`Address`] among its extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) protocol: Protocol,
}

/// Host and port.
#[derive(Clone, Debug)]
pub(super) struct Address(pub(super) Arc<str>);

type BoxError = Box<dyn Error + Send + Sync>;
type Ask = Request<Empty<Bytes>>;

impl Service<Ask> for Client {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Ask) -> Self::Future {
        let protocol = self.protocol;
        Box::pin(async move {
            let address = request.extensions_mut().remove::<Address>();
            let Address(address) = address.ok_or("a request without an address")?;
            let stream = TcpStream::connect(&*address).await?;
            stream.set_nodelay(true)?;
            let io = TokioIo::new(stream);
            match protocol {
                Protocol::Http1 => {
                    let mut builder = http1::Builder::new();
                    builder.max_buf_size(HEAD_BYTES_MAX as usize);
                    let (mut sender, connection) = builder.handshake(io).await?;
                    beside(connection, sender.send_request(request)).await
                }
                Protocol::Http2 => {
                    let mut builder = http2::Builder::new(TokioExecutor::new());
                    builder.max_header_list_size(HEAD_BYTES_MAX);
                    let (mut sender, connection) = builder.handshake(io).await?;
                    beside(connection, sender.send_request(absolute(request)?)).await
                }
            }
        })
    }
}

/// With the host in the target, where HTTP/2 has it.
fn absolute(mut request: Ask) -> Result<Ask, BoxError> {
    let host = request.headers_mut().remove(header::HOST);
    let host = host.ok_or("a request without a host")?;
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = Some(host.to_str()?.parse()?);
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(request)
}

/// Drives the connection until the answer is there; then both are dropped, and the connection closed.
async fn beside<T, E: Into<BoxError>>(
    connection: impl Future,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, BoxError> {
    let (mut connection, mut answer) = (pin!(connection), pin!(answer));
    let mut ended = false;
    poll_fn(|cx| {
        ended = ended || connection.as_mut().poll(cx).is_ready();
        answer.as_mut().poll(cx).map_err(Into::into)
    })
    .await
}
