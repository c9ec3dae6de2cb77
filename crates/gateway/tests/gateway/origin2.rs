//! Servers that speak HTTP/2 from the first byte.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Response;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::http2::runtime;

/// A server of HTTP/2 whose answers a test writes. It ends when it is dropped.
pub(crate) struct Origin2 {
    address: SocketAddr,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    closed: AtomicUsize,
    requests: Mutex<Vec<http::request::Parts>>,
}

/// One request at an origin.
pub(crate) struct Asked {
    pub(crate) head: http::request::Parts,
    pub(crate) body: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
    /// Ends the connection, with a word or without.
    pub(crate) end: tokio::sync::mpsc::UnboundedSender<End>,
}

/// How an origin ends a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// GOAWAY, and what was begun is finished.
    Gracefully,
    /// GOAWAY at once, with this reason.
    Abruptly(h2::Reason),
    /// The socket is closed.
    Cut,
}

impl Origin2 {
    /// `answer` gets each request; all of them run side by side.
    pub(crate) fn start<F>(answer: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with(h2::server::Builder::new(), answer)
    }

    pub(crate) fn with<F>(
        builder: h2::server::Builder,
        answer: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let (shared, answer) = (state.clone(), Arc::new(answer));
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, answer) = (shared.clone(), answer.clone());
                let builder = builder.clone();
                tokio::spawn(async move {
                    serve(stream, builder, &shared, &*answer).await;
                    shared.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            state,
            runtime: Some(runtime),
        }
    }

    /// An origin that answers everything with this text.
    pub(crate) fn saying(text: &'static str) -> Self {
        Self::start(move |mut asked| async move {
            while let Some(Ok(chunk)) = asked.body.data().await {
                let _ = asked.body.flow_control().release_capacity(chunk.len());
            }
            asked.say(text);
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many of them are closed.
    pub(crate) fn closed(&self) -> usize {
        self.state.closed.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far.
    pub(crate) fn requests(&self) -> Vec<http::request::Parts> {
        self.state.requests.lock().unwrap().clone()
    }

    pub(crate) fn last_request(&self) -> http::request::Parts {
        self.requests().pop().expect("no request came")
    }
}

async fn serve<F>(
    stream: TcpStream,
    builder: h2::server::Builder,
    state: &State,
    answer: &(impl Fn(Asked) -> F + Sync),
) where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let (end, mut ends) = tokio::sync::mpsc::unbounded_channel();
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            Some(how) = ends.recv() => {
                match how {
                    End::Gracefully => connection.graceful_shutdown(),
                    End::Abruptly(reason) => connection.abrupt_shutdown(reason),
                    End::Cut => return,
                }
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        let (head, body) = request.into_parts();
        state.requests.lock().unwrap().push(head.clone());
        tokio::spawn(answer(Asked {
            head,
            body,
            respond,
            end: end.clone(),
        }));
    }
}

impl Asked {
    /// Answers 200 with this body.
    pub(crate) fn say(&mut self, text: &'static str) {
        let response = Response::new(());
        if let Ok(mut stream) = self.respond.send_response(response, false) {
            let _ = stream.send_data(Bytes::from_static(text.as_bytes()), true);
        }
    }
}

impl Drop for Origin2 {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
