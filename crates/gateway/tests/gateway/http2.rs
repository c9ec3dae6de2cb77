//! A client of HTTP/2 by prior knowledge.

use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::wire::DEADLINE;

/// Runs a test's future, with a deadline, while its connections are served by another thread.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let runtime = runtime();
    let output = runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await });
    runtime.shutdown_background();
    output.expect("the test took too long")
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// A client's connection.
pub(crate) struct Client {
    sender: SendRequest<Bytes>,
    /// How the connection ended, once it has.
    ended: tokio::sync::watch::Receiver<Option<Result<(), String>>>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::with(address, h2::client::Builder::new()).await
    }

    pub(crate) async fn with(address: SocketAddr, builder: h2::client::Builder) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = builder.handshake(stream).await.unwrap();
        let (tell, ended) = tokio::sync::watch::channel(None);
        tokio::spawn(async move {
            let end = connection.await.map_err(|error| error.to_string());
            tell.send_replace(Some(end));
        });
        Self { sender, ended }
    }

    /// Begins a request; its body goes on the stream, unless `end` says that it has none.
    pub(crate) async fn begin(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        self.try_begin(request, end).await.unwrap()
    }

    pub(crate) async fn try_begin(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        sender.send_request(request, end)
    }

    /// Sends a request without a body, and reads the response.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(get(path), None).await
    }

    pub(crate) async fn ask(&mut self, request: Request<()>, body: Option<&str>) -> Answer {
        self.try_ask(request, body).await.unwrap()
    }

    pub(crate) async fn try_ask(
        &mut self,
        request: Request<()>,
        body: Option<&str>,
    ) -> Result<Answer, h2::Error> {
        let (response, mut stream) = self.try_begin(request, body.is_none()).await?;
        if let Some(body) = body {
            stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true)?;
        }
        answer(response.await?).await
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(&mut self) -> Result<(), String> {
        let ended = self.ended.wait_for(Option::is_some).await.unwrap();
        ended.clone().unwrap()
    }
}

/// Reads a response to its end.
pub(crate) async fn answer(response: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    let trailers = stream.trailers().await?;
    Ok(Answer {
        head,
        body,
        trailers,
    })
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        text(&self.head.headers, name)
    }

    /// The field of the trailers.
    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref().and_then(|fields| text(fields, name))
    }

    /// The body, which must be a problem that bears the request's id.
    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status());
        let id = self.field("x-request-id");
        assert!(id.is_some() && problem["request_id"].as_str() == id);
        problem
    }
}

/// The only field of this name.
pub(crate) fn text<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = fields.get_all(name).iter();
    let value = values.next().map(|value| value.to_str().unwrap());
    assert_eq!(values.next(), None, "several {name}");
    value
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.test{path}"))
        .body(())
        .unwrap()
}

pub(crate) fn post(path: &str) -> Request<()> {
    Request::post(format!("http://a.test{path}"))
        .body(())
        .unwrap()
}
