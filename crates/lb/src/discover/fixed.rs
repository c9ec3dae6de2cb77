use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::Update;
use crate::Endpoint;

/// Endpoints that do not change: tells them once, and ends.
#[derive(Clone, Debug)]
pub struct Fixed<A> {
    endpoints: Option<Vec<Endpoint<A>>>,
}

impl<A> Fixed<A> {
    /// These.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint<A>>) -> Self {
        Self {
            endpoints: Some(endpoints.into_iter().collect()),
        }
    }
}

// Nothing in it is ever pinned.
impl<A> Unpin for Fixed<A> {}

impl<A> Stream for Fixed<A> {
    type Item = Result<Update<A>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.endpoints.take().map(Update::Full).map(Ok))
    }
}
