use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};

/// One step of a body of [`Parts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// A frame of data.
    Data,
    /// Trailers with that `grpc-status`.
    Status(&'static str),
    /// An error, which reads "cut off".
    Break,
    /// Nothing now, and no wake.
    Hang,
}

/// A body that goes through its parts; it knows its end as soon as nothing is left, like one with
/// a length, unless it ends in trailers.
#[derive(Clone, Debug, Default)]
pub struct Parts(VecDeque<Part>);

impl Parts {
    /// A body of these parts.
    #[must_use]
    pub fn new(parts: &[Part]) -> Self {
        Self(parts.iter().copied().collect())
    }
}

impl Body for Parts {
    type Data = &'static [u8];
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<&'static [u8]>, io::Error>>> {
        Poll::Ready(match self.0.pop_front() {
            None => None,
            Some(Part::Data) => Some(Ok(Frame::data(b"data"))),
            Some(Part::Status(status)) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static(status));
                Some(Ok(Frame::trailers(trailers)))
            }
            Some(Part::Break) => Some(Err(io::Error::other("cut off"))),
            Some(Part::Hang) => return Poll::Pending,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}
