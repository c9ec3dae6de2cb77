use std::sync::Arc;

use http::StatusCode;
use hyper::body::Incoming;

use super::failure::Failure;
use super::framing;
use super::io::InUse;
use super::pool::{Pool, Sender};
use crate::exchange::Request;
use crate::timer::within;

/// A connection in use. Dropped, it is closed; [`give_back`](Self::give_back) keeps it.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    connection: Option<(Sender, InUse)>,
}

/// What became of a request.
pub(super) enum Sent {
    Answered(http::Response<Incoming>, Lease),
    /// Not a byte of it was sent.
    Unsent(Request),
    Failed(Failure),
}

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, sender: Sender, in_use: InUse) -> Self {
        in_use.set(true);
        Self {
            pool,
            connection: Some((sender, in_use)),
        }
    }

    /// Sends a request, and waits for the head of the response.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection: half a request cannot be taken back.
    pub(super) fn send(mut self, request: Request) -> impl Future<Output = Sent> {
        // Handed over at once, so that the future holds it no second time.
        let sent = match &mut self.connection {
            Some((sender, _)) => Ok(sender.try_send_request(request)),
            None => Err(request),
        };
        async move {
            let sent = match sent {
                Ok(sent) => sent,
                Err(request) => return Sent::Unsent(request),
            };
            match sent.await {
                // No upgrade is passed on, so none was asked for.
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    Sent::Failed(Failure::Invalid)
                }
                Ok(response) if !framing::is_sound(response.headers()) => {
                    Sent::Failed(Failure::Invalid)
                }
                Ok(response) => Sent::Answered(response, self),
                Err(mut error) => match error.take_message() {
                    Some(request) => Sent::Unsent(request),
                    None => Sent::Failed(Failure::of(error.error())),
                },
            }
        }
    }

    /// Keeps the connection for the next request. The response must have been read to its end.
    pub(crate) fn give_back(mut self) {
        let Some((mut sender, in_use)) = self.connection.take() else {
            return;
        };
        if sender.is_ready() {
            in_use.set(false);
            self.pool.give_back(sender, in_use);
            return;
        }
        if sender.is_closed() {
            return;
        }
        // The endpoint answered before it had the whole request, which is still being sent; the
        // lease goes on meanwhile.
        tokio::spawn(async move {
            let ready = {
                let pool = &self.pool;
                within(pool.clock(), pool.settle_timeout(), sender.ready()).await
            };
            if let Some(Ok(())) = ready {
                in_use.set(false);
                self.pool.give_back(sender, in_use);
            }
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.free();
    }
}
