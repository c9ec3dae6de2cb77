use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::Outbox;
use crate::bell::{OnBell, Rung};

/// The most that is held to leave later, in bytes.
const SMALL: usize = 1024;

/// A socket that is read only if it may have something to read, and whose small writes leave with
/// those of others.
///
/// It is to be used by one task at a time. Dropped, it writes what it holds as far as the kernel takes
/// it at once.
#[derive(Debug)]
pub(crate) struct Socket {
    read: OnBell<OwnedReadHalf>,
    out: Arc<Out>,
    outbox: Outbox,
}

/// What is to be written to one socket. Of one thread, so its lock is never contended.
#[derive(Debug)]
pub(super) struct Out(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Gone only when this is dropped.
    half: Option<OwnedWriteHalf>,
    /// [`SMALL`] at most.
    held: Vec<u8>,
    /// Whether it is in the outbox.
    listed: bool,
    stage: Stage,
    /// The task that wrote last, which is told if something does not leave.
    task: Option<Waker>,
}

#[derive(Debug)]
enum Stage {
    /// What is held, if anything, is in the outbox.
    Free,
    /// The kernel did not take all that is held: the task writes it before anything else.
    Stuck,
    Failed(io::ErrorKind),
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, outbox: Outbox) -> Self {
        let (read, write) = stream.into_split();
        Self {
            read: OnBell::new(read),
            out: Arc::new(Out(Mutex::new(State {
                half: Some(write),
                held: Vec::new(),
                listed: false,
                stage: Stage::Free,
                task: None,
            }))),
            outbox,
        }
    }

    /// Whether there may be something to read.
    pub(crate) fn rung(&self) -> &Rung {
        self.read.rung()
    }

    /// Ready once the kernel has all that was written.
    pub(crate) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.0.lock().poll_leave(cx)
    }

    /// Writes `len` bytes: small ones by `hold`, and others by `write` when what is held has left.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        len: usize,
        hold: impl FnOnce(&mut Vec<u8>),
        write: impl FnOnce(Pin<&mut OwnedWriteHalf>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.out.0.lock();
        if !matches!(state.stage, Stage::Free) || state.held.len() + len > SMALL {
            ready!(state.poll_leave(cx))?;
        }
        if len > SMALL {
            return write(Pin::new(state.half()?), cx);
        }
        hold(&mut state.held);
        if !state.listed {
            state.listed = true;
            let task = state.task.as_ref();
            if !task.is_some_and(|task| task.will_wake(cx.waker())) {
                state.task = Some(cx.waker().clone());
            }
            self.outbox.put(&self.out);
        }
        Poll::Ready(Ok(len))
    }
}

impl Out {
    /// Takes it off the list, and writes what is held.
    pub(super) fn leave(&self) {
        let state = &mut *self.0.lock();
        state.listed = false;
        state.leave();
    }
}

impl State {
    /// Writes what is held without waiting. Where that takes more, the task is told.
    fn leave(&mut self) {
        let (Stage::Free, Some(half), 1..) = (&self.stage, &self.half, self.held.len()) else {
            return;
        };
        match half.try_write(&self.held) {
            Ok(len) if len == self.held.len() => {
                self.held.clear();
                return;
            }
            Ok(len) => {
                self.held.drain(..len);
                self.stage = Stage::Stuck;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stage = Stage::Stuck,
            Err(error) => self.stage = Stage::Failed(error.kind()),
        }
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Stage::Failed(kind) = self.stage {
            return Poll::Ready(Err(kind.into()));
        }
        while !self.held.is_empty() {
            self.stage = Stage::Stuck;
            let held = std::mem::take(&mut self.held);
            let written = Pin::new(self.half()?).poll_write(cx, &held);
            self.held = held;
            match ready!(written) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(len) => drop(self.held.drain(..len)),
                Err(error) => {
                    self.stage = Stage::Failed(error.kind());
                    return Poll::Ready(Err(error));
                }
            }
        }
        self.stage = Stage::Free;
        Poll::Ready(Ok(()))
    }

    fn half(&mut self) -> io::Result<&mut OwnedWriteHalf> {
        let gone = || io::ErrorKind::BrokenPipe.into();
        self.half.as_mut().ok_or_else(gone)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.out.0.lock().leave();
    }
}

impl Drop for State {
    /// The socket is closed when both halves are gone; to close this one before would be one call more.
    fn drop(&mut self) {
        if let Some(half) = self.half.take() {
            half.forget();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let hold = |held: &mut Vec<u8>| held.extend_from_slice(buf);
        self.write(cx, buf.len(), hold, |half, cx| half.poll_write(cx, buf))
    }

    /// Small pieces leave as one, since a call for several costs the kernel more than it takes to copy
    /// a head and a small body.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        let hold = |held: &mut Vec<u8>| bufs.iter().for_each(|buf| held.extend_from_slice(buf));
        self.write(cx, len, hold, |half, cx| match bufs {
            [buf] => half.poll_write(cx, buf),
            bufs => half.poll_write_vectored(cx, bufs),
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is held leaves by itself, so only what did not is waited for;
    /// [`poll_leave`](Socket::poll_leave) waits for all.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.out.0.lock();
        match state.stage {
            Stage::Free => Poll::Ready(Ok(())),
            Stage::Stuck | Stage::Failed(_) => state.poll_leave(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.out.0.lock();
        ready!(state.poll_leave(cx))?;
        Pin::new(state.half()?).poll_shutdown(cx)
    }
}
