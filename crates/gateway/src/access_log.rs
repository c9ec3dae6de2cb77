//! The access log: one line of JSON for each request, written off the hot path.
//!
//! A worker writes lines into a buffer of its own. Full buffers, and those that waited for a
//! while, go through a bounded channel to one thread that writes them out; if that thread is so far
//! behind that the channel is full, the buffer's lines are dropped and counted.

mod line;

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Arc;
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

/// Buffers that were written out and are used again; clones share.
///
/// A worker allocates and the writer would free: between two threads the allocator keeps more than is
/// in use, and how much more depends on who is faster.
#[derive(Clone, Default)]
struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    /// What is kept, at most; after a burst the rest is given back.
    const MAX: usize = 8;

    fn take(&self) -> Vec<u8> {
        let kept = self.0.lock().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 8))
    }

    fn give_back(&self, mut text: Vec<u8>) {
        text.clear();
        let mut kept = self.0.lock();
        if kept.len() < Self::MAX {
            kept.push(text);
        }
    }
}

/// The writing end, of which each worker takes a [`LogBuffer`].
#[derive(Debug)]
pub(crate) struct AccessLog {
    sender: SyncSender<Lines>,
    writer: JoinHandle<()>,
    spare: Spare,
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
        let (lost, spare) = (dropped.clone(), Spare::default());
        let written = spare.clone();
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(out, &receiver, &written, &lost))?;
        Ok(Some(Self {
            sender,
            writer,
            spare,
            dropped: dropped.clone(),
        }))
    }

    pub(crate) fn buffer(&self) -> LogBuffer {
        LogBuffer {
            lines: Mutex::new(Lines::EMPTY),
            sender: self.sender.clone(),
            spare: self.spare.clone(),
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
fn write_all(
    mut out: Box<dyn Write + Send>,
    receiver: &Receiver<Lines>,
    spare: &Spare,
    dropped: &Counter,
) {
    for lines in receiver {
        // There is nobody to tell but the counter: the log itself is what fails.
        if out
            .write_all(&lines.text)
            .and_then(|()| out.flush())
            .is_err()
        {
            dropped.inc_by(lines.count);
        }
        spare.give_back(lines.text);
    }
}

/// The lines of one worker that were not sent off yet.
pub(crate) struct LogBuffer {
    /// Of one thread, so never contended.
    lines: Mutex<Lines>,
    sender: SyncSender<Lines>,
    spare: Spare,
    dropped: Counter,
}

impl LogBuffer {
    pub(crate) fn write(&self, line: &Line<'_>) {
        let lines = &mut *self.lines.lock();
        if lines.text.capacity() == 0 {
            lines.text = self.spare.take();
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
                self.spare.give_back(lost.text);
            }
        }
    }
}

impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare").finish_non_exhaustive()
    }
}

impl fmt::Debug for LogBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogBuffer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_buffers_are_used_again_and_few_are_kept() {
        let spare = Spare::default();
        let mut first = spare.take();
        first.extend_from_slice(b"a line");
        let place = first.as_ptr();
        spare.give_back(first);
        let again = spare.take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        let many: Vec<_> = (0..3 * Spare::MAX).map(|_| spare.take()).collect();
        many.into_iter().for_each(|text| spare.give_back(text));
        assert_eq!(spare.0.lock().len(), Spare::MAX);
    }
}
