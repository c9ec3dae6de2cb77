//! The least that a proxy made of hyper costs: what the gateway would cost if it did nothing.
//!
//! One thread, one task for each client, a shelf of kept connections to the origin; no routes, no
//! fields, no times, no records, and none of what is wrong with a request or an answer is looked
//! for. It is this program once more, started with [`ARGUMENT`].

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self as client, SendRequest};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// `compare-gateway floor LISTEN ORIGIN` is the floor, and compares nothing.
pub(crate) const ARGUMENT: &str = "floor";

/// What the arguments ask for, if they ask for a floor.
pub(crate) fn asked_for(arguments: &[String]) -> Option<(SocketAddr, SocketAddr)> {
    match arguments {
        [_, word, listen, origin] if word == ARGUMENT => {
            Some((listen.parse().ok()?, origin.parse().ok()?))
        }
        _ => None,
    }
}

/// Proxies until the process is ended.
///
/// # Panics
/// If there is no listening on `listen`.
pub(crate) fn run(listen: SocketAddr, origin: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    let runtime = runtime.expect("a runtime can be made");
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await;
        let listener = listener.expect("the address is free");
        let shelf = Arc::new(Shelf::default());
        while let Ok((stream, _)) = listener.accept().await {
            let shelf = shelf.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let pass = |request| pass(request, shelf.clone(), origin);
                let connection = server::Builder::new()
                    .header_read_timeout(None)
                    .serve_connection(TokioIo::new(stream), service_fn(pass));
                // A client that leaves is no matter.
                let _ = connection.await;
            });
        }
    });
}

/// Connections to the origin that wait for a request.
#[derive(Default)]
struct Shelf(Mutex<Vec<SendRequest<Incoming>>>);

impl Shelf {
    fn take(&self) -> Option<SendRequest<Incoming>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| kept.pop()).find(SendRequest::is_ready)
    }

    fn give_back(&self, sender: SendRequest<Incoming>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(sender);
    }
}

/// Ends with the client's connection if anything goes wrong: nothing is to go wrong here.
async fn pass(
    request: Request<Incoming>,
    shelf: Arc<Shelf>,
    origin: SocketAddr,
) -> Result<Response<Passed>, hyper::Error> {
    let mut sender = match shelf.take() {
        Some(sender) => sender,
        None => connect(origin).await?,
    };
    let response = sender.send_request(request).await?;
    Ok(response.map(|incoming| Passed {
        incoming,
        back: Some((sender, shelf)),
    }))
}

async fn connect(origin: SocketAddr) -> Result<SendRequest<Incoming>, hyper::Error> {
    let stream = TcpStream::connect(origin).await;
    let stream = stream.expect("the origin takes connections");
    let _ = stream.set_nodelay(true);
    let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// The body of an answer, which gives back its connection at the end.
struct Passed {
    incoming: Incoming,
    back: Option<(SendRequest<Incoming>, Arc<Shelf>)>,
}

impl Body for Passed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if self.incoming.is_end_stream()
            && let Some((sender, shelf)) = self.back.take()
            && sender.is_ready()
        {
            shelf.give_back(sender);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
