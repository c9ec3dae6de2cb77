use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use stanchion_core::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::{Activity, Phase};
use crate::config::Listen;
use crate::timer::LazyTimer;

/// A client's socket that does not wait forever: for a head, between requests, or for the client
/// to take what is written. Bodies keep their own time.
#[derive(Debug)]
pub(super) struct ClientIo {
    stream: TcpStream,
    activity: Arc<Activity>,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    read_timer: LazyTimer,
    write_timer: LazyTimer,
    blocked_since: Option<Instant>,
}

impl ClientIo {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>, listen: &Listen) -> Self {
        let clock = activity.clock();
        Self {
            stream,
            header_timeout: listen.header_timeout,
            idle_timeout: listen.idle_timeout,
            write_timeout: listen.body_timeout,
            read_timer: LazyTimer::new(clock.clone()),
            write_timer: LazyTimer::new(clock.clone()),
            blocked_since: None,
            activity,
        }
    }

    /// Until when a read may wait; not limited while a request is being answered.
    fn read_deadline(&self) -> Option<Instant> {
        let patience = match self.activity.phase() {
            Phase::Busy => return None,
            Phase::Idle => self.idle_timeout,
            // A client that connects has something to say.
            Phase::Fresh | Phase::Head => self.header_timeout,
        };
        Some(self.activity.since() + patience)
    }

    /// Passes on what a write gave, but fails one that is late.
    fn wait_for_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked_since = None;
            self.activity.bytes_left();
            return written;
        }
        let since = *self
            .blocked_since
            .get_or_insert_with(|| self.write_timer.now());
        let deadline = since + self.write_timeout;
        self.write_timer.poll(cx, deadline).map(|()| Err(late()))
    }
}

fn late() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_pending() {
            return match self.read_deadline() {
                Some(deadline) => self.read_timer.poll(cx, deadline).map(|()| Err(late())),
                None => Poll::Pending,
            };
        }
        if buf.filled().len() > before {
            self.activity.bytes_arrived();
        }
        read
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wait_for_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
