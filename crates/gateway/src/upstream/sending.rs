use std::convert::Infallible;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::HeaderValue;

use super::lease::Sent;
use super::{Chosen, Connection, Tried, Upstream, Way, wanted};
use crate::exchange::{Outbound, Request, Response};

/// A request on its way to an endpoint and back.
///
/// Nearly every request finds a kept connection and is sent at once, so that nothing but the response
/// is waited for. What may take longer is a future that is many times as large: it is made when it is
/// needed, and does not go along with the others.
pub(super) struct Sending<F>(State<F>);

enum State<F> {
    /// Sent on a kept connection.
    Begun {
        upstream: Arc<Upstream>,
        chosen: Chosen,
        id: HeaderValue,
        answer: Pin<Box<F>>,
    },
    Slowly(Pin<Box<dyn Future<Output = Response> + Send>>),
    /// It gave its response.
    Over,
}

impl<F> Sending<F> {
    pub(super) fn begun(
        upstream: Arc<Upstream>,
        chosen: Chosen,
        id: HeaderValue,
        answer: Pin<Box<F>>,
    ) -> Self {
        Self(State::Begun {
            upstream,
            chosen,
            id,
            answer,
        })
    }

    pub(super) fn slowly(upstream: Arc<Upstream>, request: Request, way: Way) -> Self {
        Self(State::Slowly(Box::pin(upstream.send_slowly(request, way))))
    }
}

impl<F: Future<Output = Sent>> Future for Sending<F> {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let State::Begun {
            upstream,
            chosen,
            id,
            answer,
        } = &mut this.0
        {
            let sent = ready!(answer.as_mut().poll(cx));
            let endpoint = upstream.at(chosen.place);
            let admitted = mem::take(&mut chosen.admitted);
            let response = match sent {
                Sent::Answered(response, lease) => {
                    endpoint.answered(admitted, response, |incoming| {
                        Outbound::upstream(incoming, lease)
                    })
                }
                Sent::Failed(failure) => endpoint.failed(admitted, failure, id),
                Sent::Unsent(request) => {
                    let mut tried = Tried::default();
                    let place = chosen.place;
                    let chosen = Chosen { place, admitted };
                    let chosen = upstream.again(chosen, &mut tried, wanted(&request));
                    let way = Way {
                        chosen,
                        connection: Connection::New,
                        second: true,
                        tried,
                    };
                    *this = Self::slowly(upstream.clone(), request, way);
                    return self.poll(cx);
                }
            };
            this.0 = State::Over;
            return Poll::Ready(Ok(response));
        }
        match &mut this.0 {
            State::Slowly(answer) => answer.as_mut().poll(cx).map(Ok),
            State::Begun { .. } | State::Over => Poll::Pending,
        }
    }
}
