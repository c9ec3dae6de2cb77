use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use pin_project_lite::pin_project;

use super::failure::Failure;
use super::framing;
use super::pool::{Held, Pool};
use crate::exchange::{Inbound, Request};
use crate::timer::within;

/// A connection in use. Dropped, it is closed; [`give_back`](Self::give_back) keeps it.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    connection: Option<Held>,
}

/// What became of a request.
pub(super) enum Sent {
    Answered(http::Response<Incoming>, Lease),
    /// Not a byte of it was sent.
    Unsent(Request),
    Failed(Failure),
}

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, held: Held) -> Self {
        held.in_use.set(true);
        Self {
            pool,
            connection: Some(held),
        }
    }

    /// Sends a request, and waits for the head of the response.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection: half a request cannot be taken back.
    pub(super) fn send(mut self, request: Request) -> impl Future<Output = Sent> {
        // Handed over at once, so that the future holds it no second time.
        match &mut self.connection {
            Some(held) => Answer::Due {
                answer: held.sender.try_send_request(*request),
                lease: Some(self),
            },
            None => Answer::Unsent {
                request: Some(request),
            },
        }
    }

    /// Keeps the connection for the next request. The response must have been read to its end.
    pub(crate) fn give_back(mut self) {
        let Some(mut held) = self.connection.take() else {
            return;
        };
        if held.sender.is_ready() {
            held.in_use.set(false);
            self.pool.give_back(held);
            return;
        }
        if held.sender.is_closed() {
            return;
        }
        // The endpoint answered before it had the whole request, which is still being sent; the
        // lease goes on meanwhile.
        tokio::spawn(async move {
            let ready = {
                let pool = &self.pool;
                within(pool.clock(), pool.settle_timeout(), held.sender.ready()).await
            };
            if let Some(Ok(())) = ready {
                held.in_use.set(false);
                self.pool.give_back(held);
            }
        });
    }
}

pin_project! {
    /// What [`Lease::send`] returns: by hand, since an `async` block moves what it waits for, and what
    /// comes of it, once more than there is need.
    #[project = AnswerProjection]
    enum Answer<F> {
        Due {
            #[pin]
            answer: F,
            lease: Option<Lease>,
        },
        Unsent { request: Option<Request> },
    }
}

impl<F> Future for Answer<F>
where
    F: Future<Output = Result<http::Response<Incoming>, TrySendError<http::Request<Inbound>>>>,
{
    type Output = Sent;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        let (answer, lease) = match self.project() {
            AnswerProjection::Due { answer, lease } => (ready!(answer.poll(cx)), lease.take()),
            AnswerProjection::Unsent { request } => {
                let request = request.take().expect("polled after completion");
                return Poll::Ready(Sent::Unsent(request));
            }
        };
        let response = match answer {
            Ok(response) => response,
            Err(mut error) => {
                return Poll::Ready(match error.take_message() {
                    Some(request) => Sent::Unsent(Box::new(request)),
                    None => Sent::Failed(Failure::of(error.error())),
                });
            }
        };
        // No upgrade is passed on, so none was asked for.
        let sound = response.status() != StatusCode::SWITCHING_PROTOCOLS
            && framing::is_sound(response.headers());
        Poll::Ready(match lease {
            Some(lease) if sound => Sent::Answered(response, lease),
            _ => Sent::Failed(Failure::Invalid),
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.free();
    }
}
