use std::io;
use std::vec;

use tokio::runtime::Handle;

use crate::error::{Failed, ReplayError};
use crate::{Journal, Record};

/// The records of an [`AsyncJournal`](crate::AsyncJournal) that are not acknowledged, in order; see
/// [`Replay`](crate::Replay).
#[derive(Debug)]
#[must_use = "it reads nothing unless it is asked"]
pub struct AsyncReplay {
    runtime: Handle,
    journal: Journal,
    /// From where on the next batch is read, and up to where.
    from: u64,
    end: u64,
    /// What reads it; gone while it does.
    reader: Option<crate::Replay>,
    batch: vec::IntoIter<Result<Record, ReplayError>>,
}

/// How much is read at once: until so many records, or so many bytes.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 1 << 20;

impl AsyncReplay {
    pub(super) fn new(runtime: Handle, journal: Journal) -> Self {
        let reader = journal.replay();
        let (from, end) = reader.range();
        Self {
            runtime,
            journal,
            from,
            end,
            reader: Some(reader),
            batch: Vec::new().into_iter(),
        }
    }

    /// The next record that is not acknowledged.
    ///
    /// # Errors
    ///
    /// As [`Replay`](crate::Replay), and if the runtime shuts down; after the latter there is
    /// nothing more.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, no record is lost: another call gives the one that this would have given.
    pub async fn next(&mut self) -> Option<Result<Record, ReplayError>> {
        loop {
            for item in self.batch.by_ref() {
                match item {
                    Ok(record) if self.journal.is_acked(record.seq) => {}
                    item => return Some(item),
                }
            }
            if self.from >= self.end {
                return None;
            }
            if let Err(failed) = self.read().await {
                self.end = self.from;
                return Some(Err(ReplayError::Failed(failed)));
            }
        }
    }

    async fn read(&mut self) -> Result<(), Failed> {
        let reader = self.reader.take();
        let mut reader = reader.unwrap_or_else(|| self.journal.replay_of(self.from, self.end));
        let read = self.runtime.spawn_blocking(move || {
            let mut bytes = 0;
            let mut batch = Vec::new();
            while batch.len() < BATCH && bytes < BATCH_BYTES {
                let Some(item) = reader.next() else {
                    break;
                };
                bytes += item.as_ref().map_or(0, |record| record.bytes.len());
                batch.push(item);
            }
            (reader, batch)
        });
        let read = read.await;
        let (reader, batch) = read.map_err(|error| Failed::new("read", io::Error::other(error)))?;
        (self.from, _) = reader.range();
        self.batch = batch.into_iter();
        self.reader = Some(reader);
        Ok(())
    }
}
