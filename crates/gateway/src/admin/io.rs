use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use stanchion_core::{Clock, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::timer::LazyTimer;

/// How long a reader may take nothing of what is written.
const PATIENCE: Duration = Duration::from_secs(20);

/// A socket whose writes do not wait forever, so that a page that sleeps does not keep its place.
#[derive(Debug)]
pub(super) struct AdminIo {
    stream: TcpStream,
    blocked_since: Option<Instant>,
    timer: LazyTimer,
}

impl AdminIo {
    pub(super) fn new(stream: TcpStream, clock: &Clock) -> Self {
        Self {
            stream,
            blocked_since: None,
            timer: LazyTimer::new(clock.clone()),
        }
    }

    fn wait<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked_since = None;
            return written;
        }
        let since = *self.blocked_since.get_or_insert_with(|| self.timer.now());
        let late = || Err(io::ErrorKind::TimedOut.into());
        self.timer.poll(cx, since + PATIENCE).map(|()| late())
    }
}

impl AsyncRead for AdminIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for AdminIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wait(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wait(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
