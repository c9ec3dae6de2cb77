mod queue;
mod replay;

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use self::queue::{Job, Queue};
pub use self::replay::AsyncReplay;
use crate::error::{AckError, AppendError, Failed, OpenError, Poisoned};
use crate::{Config, Journal};

/// A [`Journal`] for async code; clones share it.
///
/// What blocks runs on the runtime that it was given, as one blocking task at a time, which ends when
/// there is nothing to do. Appends that wait at the same time share a sync. Once the last clone is
/// dropped, the journal is open until that task has ended.
///
/// [`QUEUE_BYTES`](Self::QUEUE_BYTES) of records may wait for the disk, or a single larger one; more
/// wait for room, in the order in which they came.
///
/// # Examples
///
/// ```
/// use stanchion_journal::{AsyncJournal, Config};
/// use tokio::runtime::Handle;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let config = Config::new(64 << 20)?;
/// let journal = AsyncJournal::open_on(&Handle::current(), folder.path(), config).await?;
/// let mut left = journal.replay();
/// while let Some(record) = left.next().await {
///     let record = record?;
///     println!("{}: {} bytes", record.seq, record.bytes.len());
/// }
///
/// let seq = journal.append("put user:1000 Ada").await?;
/// journal.ack(seq).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncJournal {
    queue: Arc<Queue>,
    room: Arc<Semaphore>,
}

/// What a job takes of the room, beyond the bytes of a record.
const JOB_BYTES: usize = 128;

impl AsyncJournal {
    /// How many bytes of records may wait for the disk; each counts 128 more.
    pub const QUEUE_BYTES: usize = 1 << 23;

    /// Lets `journal` be used by async code, and block on the threads that `runtime` has for it.
    #[must_use]
    pub fn new_on(runtime: &Handle, journal: Journal) -> Self {
        Self {
            queue: Arc::new(Queue::new(journal, runtime.clone())),
            room: Arc::new(Semaphore::new(Self::QUEUE_BYTES)),
        }
    }

    /// Opens a journal as [`Journal::open`] does.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`], and if the runtime shuts down.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, the journal is opened all the same, and closed at once.
    pub async fn open_on(
        runtime: &Handle,
        path: impl AsRef<Path>,
        config: Config,
    ) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let opened = runtime.spawn_blocking(move || Journal::open(path, config));
        let opened = opened
            .await
            .map_err(|error| Failed::new("open the journal", io::Error::other(error)))?;
        Ok(Self::new_on(runtime, opened?))
    }

    /// The journal itself, whose methods block, but for `config`, `recovery` and `snapshot`, which
    /// wait for a lock at most.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        self.queue.journal()
    }

    /// Appends a record as [`Journal::append`] does.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`], and if the runtime shuts down.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before it is done, the record is not appended, or acknowledged as soon as it
    /// is: nobody else knows its number. Until that is done it may be replayed by another process.
    pub async fn append(&self, record: impl Into<Vec<u8>>) -> Result<u64, AppendError> {
        let bytes = record.into();
        let max = self.journal().config().record_bytes_max();
        if bytes.len() > max {
            let bytes = bytes.len();
            return Err(AppendError::TooLarge { bytes, max });
        }
        let room = self.room(bytes.len()).await;
        let (reply, appended) = oneshot::channel();
        self.queue.push(Job::Append { bytes, room, reply });
        match appended.await {
            Ok(appended) => Ok(appended?.claim()),
            Err(_) => Err(self.gone().map_or_else(AppendError::Failed, Into::into)),
        }
    }

    /// Acknowledges a record as [`Journal::ack`] does.
    ///
    /// # Errors
    ///
    /// As [`Journal::ack`], and if the runtime shuts down.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, the record may be acknowledged or not.
    pub async fn ack(&self, seq: u64) -> Result<(), AckError> {
        self.ack_range(seq..=seq).await
    }

    /// Acknowledges all records up to one as [`Journal::ack_through`] does.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    ///
    /// As [`ack`](Self::ack).
    pub async fn ack_through(&self, seq: u64) -> Result<(), AckError> {
        self.ack_range(0..=seq).await
    }

    async fn ack_range(&self, seqs: RangeInclusive<u64>) -> Result<(), AckError> {
        let room = self.room(0).await;
        let (reply, acked) = oneshot::channel();
        self.queue.push(Job::Ack {
            seqs,
            room,
            reply: Some(reply),
        });
        match acked.await {
            Ok(acked) => acked,
            Err(_) => Err(self.gone().map_or_else(AckError::Failed, Into::into)),
        }
    }

    /// Makes durable all that was written before, as [`Journal::sync`] does.
    ///
    /// # Errors
    ///
    /// As [`Journal::sync`], and if the runtime shuts down.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, the sync may take place or not.
    pub async fn sync(&self) -> Result<(), Poisoned> {
        let room = self.room(0).await;
        let (reply, synced) = oneshot::channel();
        self.queue.push(Job::Sync { room, reply });
        match synced.await {
            Ok(synced) => synced,
            Err(_) => Err(self.gone().unwrap_or_else(|failed| Poisoned::by(&failed))),
        }
    }

    /// Syncs whenever a record is as old as it may become under
    /// [`SyncPolicy::every`](crate::SyncPolicy::every), though nothing is appended any more; poll it
    /// beside the rest. It ends only by an error. Under other policies it waits forever.
    ///
    /// Records that are appended by the plain [`journal`](Self::journal) do not wake it.
    ///
    /// # Errors
    ///
    /// As [`sync`](Self::sync).
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves nothing undone that another call would not do.
    pub async fn keep_synced(&self) -> Result<(), Poisoned> {
        loop {
            match self.journal().sync_due_in() {
                None => self.queue.wrote.notified().await,
                Some(due) if due.is_zero() => self.sync().await?,
                Some(due) => self.journal().config().clock.sleep(due).await,
            }
        }
    }

    /// How many bytes of records wait for the disk now, with 128 for each, and for whatever else waits.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        Self::QUEUE_BYTES - self.room.available_permits()
    }

    /// The records that are not acknowledged now, as [`Journal::replay`] gives them.
    pub fn replay(&self) -> AsyncReplay {
        AsyncReplay::new(self.queue.runtime().clone(), self.journal().clone())
    }

    /// Waits until `bytes` more may wait for the disk.
    async fn room(&self, bytes: usize) -> OwnedSemaphorePermit {
        let bytes = (bytes + JOB_BYTES).min(Self::QUEUE_BYTES);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes);
        room.await.expect("nobody closes it")
    }

    /// Why nobody answered.
    fn gone(&self) -> Result<Poisoned, Failed> {
        match self.journal().poisoned() {
            Some(poisoned) => Ok(poisoned),
            None => Err(Failed::new(
                "reach the disk",
                io::Error::other("the runtime shuts down"),
            )),
        }
    }
}
