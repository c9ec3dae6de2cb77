use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use stanchion_core::{Clock, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::bell::Rung;
use crate::outbox::{Outbox, Socket};
use crate::timer::LazyTimer;

/// Whether a request is under way on a connection; clones share. Who uses or keeps the connection
/// writes it, and the connection's task reads it once it is woken.
#[derive(Clone, Debug)]
pub(super) struct InUse {
    in_use: Arc<AtomicBool>,
    /// Whether the socket may have something to read.
    rung: Rung,
}

impl InUse {
    pub(super) fn set(&self, in_use: bool) {
        self.in_use.store(in_use, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Whether the connection waits for its next request, or its end, and nothing came.
    pub(super) fn has_nothing_to_do(&self) -> bool {
        !self.get() && !self.rung.get()
    }
}

/// How long an endpoint may be silent while a response is due; clones share. A reload may change it.
#[derive(Clone, Debug)]
pub(super) struct Patience(Arc<AtomicU64>);

impl Patience {
    pub(super) fn new(patience: Duration) -> Self {
        let shared = Self(Arc::default());
        shared.set(patience);
        shared
    }

    pub(super) fn set(&self, patience: Duration) {
        let nanos = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(nanos, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A socket that fails a read when a request is under way and nothing moved for too long: no byte
/// of a response came, and none of the request could be written.
#[derive(Debug)]
pub(super) struct UpstreamIo {
    stream: Socket,
    in_use: InUse,
    patience: Patience,
    waiting_since: Option<Instant>,
    timer: LazyTimer,
}

impl UpstreamIo {
    pub(super) fn new(
        stream: TcpStream,
        outbox: Outbox,
        patience: Patience,
        clock: &Clock,
    ) -> (Self, InUse) {
        let stream = Socket::new(stream, outbox);
        let in_use = InUse {
            in_use: Arc::default(),
            rung: stream.rung().clone(),
        };
        let io = Self {
            stream,
            in_use: in_use.clone(),
            patience,
            waiting_since: None,
            timer: LazyTimer::new(clock.clone()),
        };
        (io, in_use)
    }

    fn wrote<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() && self.waiting_since.is_some() {
            self.waiting_since = Some(self.timer.now());
        }
        written
    }
}

impl AsyncRead for UpstreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if read.is_ready() || !this.in_use.get() {
            this.waiting_since = None;
            return read;
        }
        let since = *this.waiting_since.get_or_insert_with(|| this.timer.now());
        let late = || Err(io::ErrorKind::TimedOut.into());
        this.timer
            .poll(cx, since + this.patience.get())
            .map(|()| late())
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }

    /// No: few requests have a body, and without one there are no pieces to keep apart, which costs
    /// hyper more than it takes to copy a small body behind its head.
    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
