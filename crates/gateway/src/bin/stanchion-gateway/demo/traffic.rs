//! Clients that ask at a steady rate.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use stanchion_core::Clock;
use tokio::net::TcpStream;

use super::origin::ORIGIN;
use super::tally::Tally;

/// A client, known by its API key.
#[derive(Clone, Copy)]
pub(super) struct Client {
    pub(super) index: usize,
    pub(super) name: &'static str,
    /// How much of all requests it sends, in hundredths.
    share: u32,
}

/// At the usual 60 requests a second they ask 9, 36 and 15 times, where 10 are allowed.
pub(super) const CLIENTS: [Client; 3] = [
    Client {
        index: 0,
        name: "alice",
        share: 15,
    },
    Client {
        index: 1,
        name: "bob",
        share: 60,
    },
    Client {
        index: 2,
        name: "carol",
        share: 25,
    },
];

/// Sends requests until it is dropped, one at a time over a connection that is kept.
pub(super) async fn send(
    client: Client,
    address: SocketAddr,
    rate: u32,
    tally: Arc<Tally>,
    clock: Clock,
) {
    let gap = Duration::from_secs(1) * 100 / (rate * client.share);
    let mut connection = None;
    let mut next = clock.now();
    loop {
        // Where the last answer took longer than a gap, what was missed is made up for.
        clock.sleep_until(next).await;
        next += gap;
        match ask(client, address, &mut connection).await {
            Ok(Answer::Served { origin }) => tally.served(client.index, origin),
            Ok(Answer::Refused) => tally.refused(client.index),
            Ok(Answer::Other) => tally.failed(),
            Err(_) => {
                tally.failed();
                connection = None;
            }
        }
    }
}

enum Answer {
    Served { origin: usize },
    Refused,
    Other,
}

type Connection = SendRequest<Empty<Bytes>>;

async fn ask(
    client: Client,
    address: SocketAddr,
    connection: &mut Option<Connection>,
) -> Result<Answer, Box<dyn Error + Send + Sync>> {
    let sender = match connection {
        Some(sender) => sender,
        None => connection.insert(connect(address).await?),
    };
    sender.ready().await?;
    let request = Request::get("/hello/world")
        .header(header::HOST, "demo.test")
        .header("x-api-key", client.name)
        .body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let origin = response.headers().get(ORIGIN);
    let origin = origin.and_then(|origin| origin.to_str().ok()?.parse().ok());
    let status = response.status();
    response.into_body().collect().await?;
    Ok(match (status, origin) {
        (StatusCode::OK, Some(origin)) => Answer::Served { origin },
        (StatusCode::TOO_MANY_REQUESTS, _) => Answer::Refused,
        _ => Answer::Other,
    })
}

async fn connect(address: SocketAddr) -> Result<Connection, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
