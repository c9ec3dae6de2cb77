//! The access log: one line of JSON for each request, written off the hot path.
//!
//! A worker writes lines into a buffer of its own. Full buffers, and those that waited for a
//! while, go through a bounded channel to one thread that writes them out; if that thread is so far
//! behind that the channel is full, the buffer's lines are dropped and counted.

mod line;

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;

use crate::config::LogTarget;
pub(crate) use line::Line;

/// A buffer this full is sent off. With the channel's length it bounds what is held in memory.
const BUFFER_BYTES: usize = 32 * 1024;
const BUFFERS_IN_CHANNEL: usize = 256;

/// Lines of JSON, and how many.
struct Lines {
    text: Vec<u8>,
    count: u64,
}

impl Lines {
    const EMPTY: Self = Self {
        text: Vec::new(),
        count: 0,
    };
}

/// The writing end, of which each worker takes a [`LogBuffer`].
#[derive(Debug)]
pub(crate) struct AccessLog {
    sender: SyncSender<Lines>,
    writer: JoinHandle<()>,
    dropped: Counter,
}

impl AccessLog {
    /// Opens the target and starts the writer; `None` if the log is off.
    pub(crate) fn open(target: &LogTarget, dropped: &Counter) -> io::Result<Option<Self>> {
        let out: Box<dyn Write + Send> = match target {
            LogTarget::Off => return Ok(None),
            LogTarget::Stdout => Box::new(io::stdout()),
            LogTarget::File(path) => {
                Box::new(OpenOptions::new().append(true).create(true).open(path)?)
            }
        };
        let (sender, receiver) = sync_channel(BUFFERS_IN_CHANNEL);
        let lost = dropped.clone();
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(out, &receiver, &lost))?;
        Ok(Some(Self {
            sender,
            writer,
            dropped: dropped.clone(),
        }))
    }

    pub(crate) fn buffer(&self) -> LogBuffer {
        LogBuffer {
            lines: Mutex::new(Lines::EMPTY),
            sender: self.sender.clone(),
            dropped: self.dropped.clone(),
        }
    }

    /// Waits until every line is written. All buffers must be gone.
    pub(crate) fn finish(self) {
        drop(self.sender);
        // A panic of the writer has been reported by its thread.
        let _ = self.writer.join();
    }
}

/// Ends when the last sender is gone.
fn write_all(mut out: Box<dyn Write + Send>, receiver: &Receiver<Lines>, dropped: &Counter) {
    for lines in receiver {
        // There is nobody to tell but the counter: the log itself is what fails.
        if out
            .write_all(&lines.text)
            .and_then(|()| out.flush())
            .is_err()
        {
            dropped.inc_by(lines.count);
        }
    }
}

/// The lines of one worker that were not sent off yet.
pub(crate) struct LogBuffer {
    /// Of one thread, so never contended.
    lines: Mutex<Lines>,
    sender: SyncSender<Lines>,
    dropped: Counter,
}

impl LogBuffer {
    pub(crate) fn write(&self, line: &Line<'_>) {
        let lines = &mut *self.lines.lock();
        if lines.text.capacity() == 0 {
            lines.text.reserve(BUFFER_BYTES + BUFFER_BYTES / 8);
        }
        line.write_to(&mut lines.text);
        lines.count += 1;
        if lines.text.len() >= BUFFER_BYTES {
            self.send(lines);
        }
    }

    /// Sends off what there is.
    pub(crate) fn flush(&self) {
        let lines = &mut *self.lines.lock();
        if lines.count > 0 {
            self.send(lines);
        }
    }

    /// Sends off what there is, and waits for room if it must.
    pub(crate) fn finish(&self) {
        let lines = std::mem::replace(&mut *self.lines.lock(), Lines::EMPTY);
        if lines.count > 0 && self.sender.send(lines).is_err() {
            // The writer panicked; its thread has reported it.
        }
    }

    fn send(&self, lines: &mut Lines) {
        let full = std::mem::replace(lines, Lines::EMPTY);
        match self.sender.try_send(full) {
            Ok(()) => {}
            Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) => {
                self.dropped.inc_by(lost.count);
            }
        }
    }
}

impl fmt::Debug for LogBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogBuffer").finish_non_exhaustive()
    }
}
