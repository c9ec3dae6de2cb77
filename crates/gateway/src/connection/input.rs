use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::guard::{Guard, Limits, Refusal, Rest};

/// What comes in on a connection, past the guard.
///
/// Bytes are judged where the reader wants them, and stay there if they are sound. Only the
/// beginning of a head that is not complete is held back, so that the reader never sees a head of
/// which it is not known that it is sound. No more is held than a head may take, and one read.
#[derive(Debug)]
pub(super) struct Input {
    /// None for what is no HTTP/1: all of that passes.
    guard: Option<Guard>,
    held: Vec<u8>,
    /// So many of the held bytes are sound.
    sound: usize,
    /// Whether bytes came in since that was asked last.
    arrived: bool,
    end: Option<End>,
}

/// Why nothing more is read.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// To be answered, once the requests before it are.
    Refused(Refused),
    /// A body is broken whose head has passed.
    Broken,
}

/// A request that the guard refuses.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    /// The beginning of the head, for the record.
    pub(super) seen: Vec<u8>,
}

/// The most that is read at once of what is held.
const READ: usize = 4 * 1024;
/// The most of a refused head that the record may want.
const SEEN: usize = 1024;

impl Input {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            guard: Some(Guard::new(limits)),
            held: Vec::new(),
            sound: 0,
            arrived: false,
            end: None,
        }
    }

    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether bytes came in since this was asked last.
    pub(super) fn take_arrived(&mut self) -> bool {
        std::mem::take(&mut self.arrived)
    }

    /// Whether a head began and is not complete.
    pub(super) fn is_in_head(&self) -> bool {
        self.held.len() > self.sound
    }

    /// Whether all requests that came in are complete.
    pub(super) fn is_between_requests(&self) -> bool {
        let guard = self.guard.as_ref();
        self.end.is_none() && guard.is_none_or(Guard::is_between_messages)
    }

    /// Gives up a head that is not complete.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.end = Some(End::refused(refusal, &self.held[self.sound..]));
        self.held.truncate(self.sound);
    }

    /// Reads as far as it takes to tell what is spoken; whether it is HTTP/2.
    pub(super) fn poll_protocol(
        &mut self,
        cx: &mut Context<'_>,
        mut stream: impl AsyncRead + Unpin,
    ) -> Poll<io::Result<Protocol>> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        loop {
            if self.held.starts_with(PREFACE) {
                self.guard = None;
                self.sound = self.held.len();
                return Poll::Ready(Ok(Protocol::Http2));
            }
            if !PREFACE.starts_with(&self.held) {
                self.judge_held();
                return Poll::Ready(Ok(Protocol::Http1));
            }
            if ready!(self.poll_more(cx, &mut stream))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Reads what may pass; nothing at the end, which [`end`](Self::end) may explain.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut stream: impl AsyncRead + Unpin,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.sound > 0 {
                let len = self.sound.min(buf.remaining());
                buf.put_slice(&self.held[..len]);
                self.sound -= len;
                if self.held.len() == len {
                    // Most connections never hold anything again.
                    self.held = Vec::new();
                } else {
                    self.held.drain(..len);
                }
                return Poll::Ready(Ok(()));
            }
            if self.end.is_some() {
                return Poll::Ready(Ok(()));
            }
            if self.held.is_empty() {
                let before = buf.filled().len();
                ready!(Pin::new(&mut stream).poll_read(cx, buf))?;
                let came = &buf.filled()[before..];
                if came.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.arrived = true;
                let pass = judge(&mut self.guard, &mut self.end, came);
                if self.end.is_none() {
                    self.held.extend_from_slice(&came[pass..]);
                }
                buf.set_filled(before + pass);
                if pass > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                if ready!(self.poll_more(cx, &mut stream))? == 0 {
                    return Poll::Ready(Ok(()));
                }
                self.judge_held();
            }
        }
    }

    /// Reads on while a request is under way: nothing at the end. What comes is held, and then no
    /// more is read.
    pub(super) fn poll_ahead(
        &mut self,
        cx: &mut Context<'_>,
        mut stream: impl AsyncRead + Unpin,
    ) -> Poll<io::Result<usize>> {
        if self.end.is_some() || !self.held.is_empty() {
            return Poll::Pending;
        }
        let mut space = [const { MaybeUninit::uninit() }; READ];
        let mut buf = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut stream).poll_read(cx, &mut buf))?;
        let came = buf.filled().len();
        if came > 0 {
            self.arrived = true;
            self.held.extend_from_slice(buf.filled());
            self.judge_held();
        }
        Poll::Ready(Ok(came))
    }

    /// Reads on to what is held; how much.
    fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        stream: impl AsyncRead + Unpin,
    ) -> Poll<io::Result<usize>> {
        let before = self.held.len();
        self.held.resize(before + READ, 0);
        let mut buf = ReadBuf::new(&mut self.held[before..]);
        let read = Pin::new(&mut { stream }).poll_read(cx, &mut buf);
        let came = buf.filled().len();
        self.held.truncate(before + came);
        ready!(read)?;
        self.arrived |= came > 0;
        Poll::Ready(Ok(came))
    }

    fn judge_held(&mut self) {
        self.sound = judge(&mut self.guard, &mut self.end, &self.held);
        if self.end.is_some() {
            self.held.truncate(self.sound);
        }
    }
}

/// Says how many of the bytes pass, and sets the end if the others never will.
fn judge(guard: &mut Option<Guard>, end: &mut Option<End>, bytes: &[u8]) -> usize {
    let Some(guard) = guard else {
        return bytes.len();
    };
    let verdict = guard.look(bytes);
    match verdict.rest {
        Rest::Wait => {}
        Rest::Refuse(refusal) => *end = Some(End::refused(refusal, &bytes[verdict.pass..])),
        Rest::Break(_) => *end = Some(End::Broken),
    }
    verdict.pass
}

impl End {
    fn refused(refusal: Refusal, rest: &[u8]) -> Self {
        let seen = rest[..rest.len().min(SEEN)].to_vec();
        Self::Refused(Refused { refusal, seen })
    }
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    /// With prior knowledge: it began with the preface.
    Http2,
}
