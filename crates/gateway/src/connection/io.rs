use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use stanchion_core::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::activity::{Activity, InputState, Phase};
use super::h2::Frames;
use super::input::{End, Input, Protocol, Refused};
use crate::config::Listen;
use crate::guard::Refusal;
use crate::outbox::Socket;
use crate::pace::Pace;
use crate::timer::{LazyTimer, within};

/// How long a client that still sends is listened to after the last answer, and how much it may
/// send: closed at once, it might lose the answer.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How much of HTTP/2 is read before the streams get a turn, in bytes. Small frames pile up in memory
/// until then, and many of them look like a flood.
const TURN_BYTES: usize = 16 * 1024;

const HEAD_TIMEOUT: Refusal = Refusal {
    status: StatusCode::REQUEST_TIMEOUT,
    cause: "head_timeout",
    detail: "the head of the request did not come in in time",
};

/// A client's socket behind the guard, which does not wait forever: for a head, between requests,
/// or for the client to take what is written. Bodies keep their own time.
#[derive(Debug)]
pub(super) struct ClientIo {
    stream: Socket,
    input: Input,
    activity: Arc<Activity>,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_pace: Pace,
    read_timer: LazyTimer,
    write_timer: LazyTimer,
    blocked_since: Option<Instant>,
    /// Read since the task was last suspended, of HTTP/2.
    read_in_turn: usize,
    /// Of HTTP/2, once something came in.
    frames: Option<Box<Frames>>,
}

impl ClientIo {
    pub(super) fn new(stream: Socket, activity: Arc<Activity>, listen: &Listen) -> Self {
        let clock = activity.clock();
        Self {
            stream,
            input: Input::new(listen.heads),
            header_timeout: listen.header_timeout,
            idle_timeout: listen.idle_timeout,
            write_pace: Pace::new(listen.body_timeout, listen.bodies.rate_min),
            read_timer: LazyTimer::new(clock.clone()),
            write_timer: LazyTimer::new(clock.clone()),
            blocked_since: None,
            read_in_turn: 0,
            frames: None,
            activity,
        }
    }

    /// Until when a read may wait; not limited while a request is being answered.
    fn read_deadline(&self) -> Option<Instant> {
        let patience = match self.activity.phase() {
            Phase::Busy => return None,
            // Closed with a word of goodbye, by whoever serves the connection.
            Phase::Idle if self.activity.multiplexed() => return None,
            Phase::Idle if !self.input.is_in_head() => self.idle_timeout,
            // A client that connects has something to say.
            Phase::Fresh | Phase::Head | Phase::Idle => self.header_timeout,
        };
        Some(self.activity.since() + patience)
    }

    /// Waits until it is clear what the client speaks.
    ///
    /// # Errors
    ///
    /// When the client is silent for too long, or leaves.
    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        std::future::poll_fn(|cx| {
            let protocol = self.input.poll_protocol(cx, &mut self.stream);
            if protocol.is_pending() {
                return self.poll_late(cx).map(|()| Err(late()));
            }
            self.note_input();
            protocol
        })
        .await
    }

    /// The request that is to be answered with a refusal, if there is one.
    pub(super) fn refused(&self) -> Option<Refused> {
        match self.input.end() {
            Some(End::Refused(refused)) => Some(refused.clone()),
            _ => None,
        }
    }

    /// Closes the connection, so that the client gets all that was written: a socket that is
    /// closed while bytes come in resets the connection, and what was on its way is lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes at once.
    pub(super) async fn close(mut self) {
        let broken = matches!(self.input.end(), Some(End::Broken));
        if broken || self.input.is_between_requests() {
            return;
        }
        let clock = self.activity.clock().clone();
        let shut = within(&clock, LINGER, self.stream.shutdown()).await;
        if !matches!(shut, Some(Ok(()))) {
            return;
        }
        let (mut scratch, mut left) = (vec![0; 16 * 1024], LINGER_BYTES_MAX);
        let drained = async {
            while let Ok(read @ 1..) = self.stream.read(&mut scratch).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    return;
                }
            }
        };
        within(&clock, LINGER, drained).await;
    }

    /// Tells the connection what is known of its input.
    fn note_input(&mut self) {
        if self.input.take_arrived() {
            self.activity.bytes_arrived();
        }
        self.activity
            .set_body_coming(!self.input.is_between_requests());
        match self.input.end() {
            None => {}
            Some(End::Refused(_)) => self.activity.set_input(InputState::Refused),
            Some(End::Broken) => self.activity.set_input(InputState::Broken),
        }
    }

    /// Whether these bytes of HTTP/2 are too many frames that ask for nothing.
    fn are_a_flood(&mut self, came: &[u8]) -> bool {
        let now = || self.read_timer.now();
        let frames = self
            .frames
            .get_or_insert_with(|| Box::new(Frames::new(now())));
        frames.read(came) && frames.are_a_flood(self.activity.parts_sent(), now())
    }

    /// Ready once a read has waited for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.read_deadline() {
            Some(deadline) => self.read_timer.poll(cx, deadline),
            None => Poll::Pending,
        }
    }

    /// Fails once a client leaves whose request is under way.
    ///
    /// hyper has another way to notice, which takes a buffer for each request.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let may_tell = self.activity.phase() == Phase::Busy
            && self.stream.rung().get()
            && !self.activity.is_body_coming()
            && !self.activity.multiplexed();
        if may_tell && let Poll::Ready(came) = self.input.poll_ahead(cx, &mut self.stream) {
            if came? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.note_input();
        }
        Poll::Ready(Ok(()))
    }

    /// Passes on what a flush gave, but fails one that is late.
    fn wait_for_flush(
        &mut self,
        cx: &mut Context<'_>,
        flushed: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if flushed.is_ready() && self.blocked_since.is_none() {
            return flushed;
        }
        let written = flushed.map_ok(|()| 0);
        self.wait_for_write(cx, written).map_ok(drop)
    }

    /// Passes on what a write gave, but fails one that is late.
    fn wait_for_write(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = written {
            let now = || self.write_timer.now();
            let since = self.blocked_since.take();
            let waited = since.map_or(Duration::ZERO, |since| now() - since);
            let bytes = *result.as_ref().unwrap_or(&0);
            self.write_pace.moved(bytes as u64, waited);
            self.activity.bytes_left();
            return Poll::Ready(result);
        }
        let since = *self
            .blocked_since
            .get_or_insert_with(|| self.write_timer.now());
        let deadline = since + self.write_pace.left();
        self.write_timer.poll(cx, deadline).map(|()| Err(late()))
    }
}

fn late() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if this.read_in_turn >= TURN_BYTES {
            this.read_in_turn = 0;
            // Goes on once the kernel was asked what else there is: woken at once, this task would
            // read on while the connection to the server, say, waits to be noticed.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
            return Poll::Pending;
        }
        let mut read = this.input.poll_read(cx, &mut this.stream, buf);
        this.note_input();
        if read.is_pending() {
            this.read_in_turn = 0;
            ready!(this.poll_late(cx));
            if !this.input.is_in_head() {
                return Poll::Ready(Err(late()));
            }
            this.input.refuse(HEAD_TIMEOUT);
            this.note_input();
            read = Poll::Ready(Ok(()));
        }
        if buf.filled().len() > before {
            if this.activity.multiplexed() {
                let came = &buf.filled()[before..];
                this.read_in_turn += came.len();
                if this.are_a_flood(came) {
                    this.activity.set_input(InputState::Broken);
                    return Poll::Ready(Err(broken()));
                }
            }
            return read;
        }
        match this.activity.input() {
            InputState::Open => read,
            InputState::Broken => Poll::Ready(Err(broken())),
            // The end of the input would end the request under way. The connection is polled when
            // its response is over.
            InputState::Refused if this.activity.phase() == Phase::Busy => Poll::Pending,
            InputState::Refused => read,
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.activity.input() == InputState::Broken {
            return Poll::Ready(Err(broken()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wait_for_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.activity.input() == InputState::Broken {
            return Poll::Ready(Err(broken()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wait_for_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // After the end of a response, hyper does not read again before there is something to
        // read, so the wait for the next request begins here.
        if let Some(deadline) = self.read_deadline() {
            self.read_timer.arm(cx, deadline);
        }
        ready!(self.poll_gone(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.wait_for_flush(cx, flushed)
    }

    /// Leaves the closing to [`close`](Self::close): there may be a refusal to write.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let left = self.stream.poll_leave(cx);
        self.wait_for_flush(cx, left)
    }
}
