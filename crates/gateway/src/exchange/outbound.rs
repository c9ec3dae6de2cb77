use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::breaker;
use crate::connection::{Activity, Stream};
use crate::hop_by_hop;
use crate::record::Record;
use crate::upstream::{Lease, StreamBody};

/// The body of a response. When it ends, or is dropped, it gives back the upstream's connection,
/// closes the request's record, and tells the client's connection.
///
/// Boxed, since a response is moved many times on its way.
#[derive(Debug)]
pub(crate) struct Outbound(Box<Parts>);

#[derive(Debug)]
struct Parts {
    content: Content,
    note: Note,
    record: Option<Record>,
    client: Option<Client>,
    /// Of those who let the request through: of the endpoint, and of the route.
    verdicts: [Option<breaker::Pending>; 2],
}

/// Who is told how far the client took the response.
#[derive(Debug)]
enum Client {
    Connection(Arc<Activity>),
    Stream(Arc<Stream>),
}

#[derive(Debug)]
enum Content {
    Full(Option<Bytes>),
    Upstream {
        incoming: Incoming,
        /// Present until the body has ended.
        lease: Option<Lease>,
    },
    /// Of a server that speaks HTTP/2.
    Stream {
        incoming: Incoming,
        /// Present until the body has ended.
        held: Option<Box<StreamBody>>,
    },
}

type BodyError = Box<dyn Error + Send + Sync>;

/// What inner steps tell the record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    /// Who answered, or was to answer.
    pub(crate) endpoint: Option<Arc<str>>,
    /// Why the gateway answered itself.
    pub(crate) cause: Option<&'static str>,
    /// The limit that refused.
    pub(crate) limit: Option<Arc<str>>,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    Complete,
    /// The upstream broke off.
    CutByUpstream,
    /// The client left, before the response or in it.
    #[default]
    CutByClient,
}

impl Outbound {
    pub(crate) fn full(content: Bytes) -> Self {
        Self::new(Content::Full((!content.is_empty()).then_some(content)))
    }

    pub(crate) fn upstream(incoming: Incoming, lease: Lease) -> Self {
        let mut outbound = Self::new(Content::Upstream {
            incoming,
            lease: Some(lease),
        });
        outbound.give_back_if_ended();
        outbound
    }

    pub(crate) fn stream(incoming: Incoming, held: StreamBody) -> Self {
        let held = (!incoming.is_end_stream()).then(|| Box::new(held));
        Self::new(Content::Stream { incoming, held })
    }

    fn new(content: Content) -> Self {
        Self(Box::new(Parts {
            content,
            note: Note::default(),
            record: None,
            client: None,
            verdicts: [None, None],
        }))
    }

    pub(crate) fn note(&self) -> &Note {
        &self.0.note
    }

    pub(crate) fn note_mut(&mut self) -> &mut Note {
        &mut self.0.note
    }

    /// Has `record` closed when the body ends.
    pub(crate) fn recorded_by(&mut self, record: Record) {
        self.0.record = Some(record);
    }

    /// Has the server judged when the body ends; at once if it has.
    pub(crate) fn judged_at_end(&mut self, verdict: breaker::Pending) {
        let free = self.0.verdicts.iter_mut().find(|slot| slot.is_none());
        debug_assert!(free.is_some(), "judged by more than endpoint and route");
        if let Some(slot) = free {
            *slot = Some(verdict);
        }
        if self.is_end_stream() {
            self.judge(|verdict| verdict.complete(None));
        }
    }

    /// Has the client's connection told when the body ends.
    pub(crate) fn tell_connection(&mut self, activity: Arc<Activity>) {
        self.0.client = Some(Client::Connection(activity));
    }

    /// Has the client's stream told what of the body is taken.
    pub(crate) fn tell_stream(&mut self, stream: Arc<Stream>) {
        self.0.client = Some(Client::Stream(stream));
    }

    /// Drops a content that is not to be sent; gives its length.
    pub(crate) fn discard(&mut self) -> Option<usize> {
        match &mut self.0.content {
            Content::Full(content) => content.take().map(|bytes| bytes.len()),
            Content::Upstream { .. } | Content::Stream { .. } => None,
        }
    }

    /// Without waiting for the body to be dropped, which may be after a slow client took it all.
    fn give_back_if_ended(&mut self) {
        let (Content::Upstream { incoming, .. } | Content::Stream { incoming, .. }) =
            &self.0.content
        else {
            return;
        };
        if incoming.is_end_stream() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        match &mut self.0.content {
            Content::Full(_) => {}
            Content::Upstream { lease, .. } => {
                if let Some(lease) = lease.take() {
                    lease.give_back();
                }
            }
            Content::Stream { held, .. } => *held = None,
        }
    }

    fn judge(&mut self, mut tell: impl FnMut(breaker::Pending)) {
        let verdicts = self.0.verdicts.iter_mut();
        verdicts.filter_map(Option::take).for_each(&mut tell);
    }

    /// Judges by what came of the body.
    fn judge_by(&mut self, frame: &Frame<Bytes>) {
        if self.0.verdicts.iter().all(Option::is_none) {
            return;
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.judge(|verdict| verdict.complete(Some(trailers)));
        } else if self.is_end_stream() {
            self.judge(|verdict| verdict.complete(None));
        } else {
            let verdicts = self.0.verdicts.iter_mut().flatten();
            verdicts.for_each(breaker::Pending::moved);
        }
    }

    fn end(&mut self, ending: Ending) {
        if let Some(record) = &mut self.0.record {
            record.ended(ending);
        }
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Self::full(Bytes::new())
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Some(Client::Stream(stream)) = &this.0.client {
            stream.body_asked();
        }
        let frame = match &mut this.0.content {
            Content::Full(content) => content.take().map(|bytes| Ok(Frame::data(bytes))),
            Content::Upstream { incoming, .. } => ready!(poll_incoming(incoming, cx)),
            Content::Stream { incoming, held } => match poll_incoming(incoming, cx) {
                Poll::Ready(frame) => {
                    if let Some(held) = held {
                        held.moved();
                    }
                    frame
                }
                Poll::Pending => {
                    let Some(held) = held else {
                        return Poll::Pending;
                    };
                    ready!(held.poll_late(cx));
                    Some(Err(io::Error::from(io::ErrorKind::TimedOut).into()))
                }
            },
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(record), Some(data)) = (&mut this.0.record, frame.data_ref()) {
                    record.sent(data.len());
                }
                this.give_back_if_ended();
                this.judge_by(frame);
                if let Some(Client::Stream(stream)) = &this.0.client {
                    stream.body_given(frame.data_ref().map_or(0, Bytes::len));
                }
            }
            Some(Err(_)) => {
                this.judge(breaker::Pending::broken);
                this.end(Ending::CutByUpstream);
            }
            None => {
                this.give_back();
                this.judge(|verdict| verdict.complete(None));
                this.end(Ending::Complete);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0.content {
            Content::Full(content) => content.is_none(),
            Content::Upstream { incoming, .. } | Content::Stream { incoming, .. } => {
                incoming.is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0.content {
            Content::Full(content) => {
                SizeHint::with_exact(content.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Upstream { incoming, .. } | Content::Stream { incoming, .. } => {
                incoming.size_hint()
            }
        }
    }
}

fn poll_incoming(
    incoming: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    Pin::new(incoming)
        .poll_frame(cx)
        .map(|frame| frame.map(|frame| frame.map(hop_by_hop::strip_trailers).map_err(Into::into)))
}

impl Drop for Outbound {
    fn drop(&mut self) {
        // hyper takes no more than it needs: nothing at all for HEAD, nor the end of a body whose
        // length it knows.
        if matches!(self.0.content, Content::Full(_)) || self.is_end_stream() {
            self.judge(|verdict| verdict.complete(None));
            self.end(Ending::Complete);
        }
        if let Some(Client::Connection(activity)) = &self.0.client {
            activity.response_ended();
        }
    }
}
