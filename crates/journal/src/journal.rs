use std::any::Any;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use stanchion_core::Instant;

use crate::error::{AckError, AppendError, Failed, OpenError, Poisoned};
use crate::folder::{Disk, Folder};
use crate::log::Log;
use crate::{Config, Recovery, Replay};

/// An append-only journal of records in a folder; clones share it.
///
/// A record has a number, `seq`: one more than that of the record before. It stays until it is
/// acknowledged, and is [replayed](Self::replay) until then, by this process or the next.
///
/// All methods block for as long as the disk takes, and may be called from any number of threads.
///
/// # Examples
///
/// ```
/// use stanchion_journal::{Config, Journal};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let journal = Journal::open(folder, Config::new(1 << 20)?)?;
/// let first = journal.append(b"put a 1")?;
/// let second = journal.append(b"put b 2")?;
/// journal.ack(first)?;
/// drop(journal);
///
/// let journal = Journal::open(folder, Config::new(1 << 20)?)?;
/// let records = journal.replay().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(records.len(), 1);
/// assert_eq!((records[0].seq, &records[0].bytes[..]), (second, &b"put b 2"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    config: Config,
    pub(crate) folder: Arc<dyn Folder>,
    state: Mutex<State>,
    /// Told whenever a sync has ended.
    sync_ended: Condvar,
    recovery: Recovery,
    /// Keeps other processes out.
    _lock: Box<dyn Any + Send + Sync>,
}

struct State {
    log: Log,
    /// Whether a thread is syncing, without the lock.
    syncing: bool,
}

/// A journal in plain numbers, to make metrics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Records that are not acknowledged.
    pub records: u64,
    /// The first of them, or the next one appended: all before it are acknowledged.
    pub low: u64,
    /// The number of the next record.
    pub next: u64,
    /// Records that are not known to survive a loss of power.
    pub unsynced: u64,
    /// What all files take together.
    pub bytes: u64,
    /// How many files there are.
    pub segments: usize,
    /// Why a file could not be deleted that nobody needs; it is tried again with the next
    /// acknowledgement.
    pub unremoved: Option<io::ErrorKind>,
    /// Whether the journal takes nothing more; [`Journal::poisoned`] tells why.
    pub poisoned: bool,
}

impl Journal {
    /// Opens the journal in the folder at `path`, or begins one.
    ///
    /// Reads all of it, and holds one segment in memory while it does. What a crash tore is cut
    /// off; [`recovery`](Self::recovery) tells.
    ///
    /// # Errors
    ///
    /// If it is open already, was written by a later version, is damaged (under
    /// [`OnDamage::Refuse`](crate::OnDamage::Refuse)), or the file system fails.
    pub fn open(path: impl AsRef<Path>, config: Config) -> Result<Self, OpenError> {
        let disk = Disk::new(path).map_err(Failed::at("make the folder"))?;
        Self::open_in(disk, config)
    }

    /// As [`open`](Self::open), in a folder that the caller brings.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_in(folder: impl Folder + 'static, config: Config) -> Result<Self, OpenError> {
        let folder: Arc<dyn Folder> = Arc::new(folder);
        let lock = folder.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked,
            _ => Failed::new("lock the folder", error).into(),
        })?;
        let (log, recovery) = Log::open(Arc::clone(&folder), config.clone())?;
        let state = State {
            log,
            syncing: false,
        };
        let shared = Shared {
            config,
            folder,
            state: Mutex::new(state),
            sync_ended: Condvar::new(),
            recovery,
            _lock: lock,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// What was found when the journal was opened.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.shared.recovery
    }

    /// How it was configured.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Appends a record, and returns its number as soon as it is as durable as
    /// [`SyncPolicy`](crate::SyncPolicy) promises. Threads that wait for a sync share one.
    ///
    /// # Errors
    ///
    /// If the record is too large, the journal is full, or the file system fails. The record is not
    /// in the journal then; but after [`AppendError::Poisoned`] it may be.
    pub fn append(&self, record: &[u8]) -> Result<u64, AppendError> {
        let seq = self.write(record)?;
        self.commit(seq)?;
        Ok(seq)
    }

    /// Writes a record, and leaves it to [`commit`](Self::commit) to make it durable: so one thread
    /// can append many by one sync.
    ///
    /// After it the record survives the death of the process, but no loss of power.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn write(&self, record: &[u8]) -> Result<u64, AppendError> {
        let now = self.now();
        self.lock().log.append(record, now)
    }

    /// Waits until the record `seq`, and all before it, are as durable as
    /// [`SyncPolicy`](crate::SyncPolicy) promises.
    ///
    /// # Errors
    ///
    /// If the disk did not take it, this time or before.
    pub fn commit(&self, seq: u64) -> Result<(), Poisoned> {
        let sync = self.shared.config.sync;
        let now = self.now();
        let state = self.lock();
        let late = |oldest| Some(now? - oldest >= sync.interval()?);
        let late = state.log.oldest().and_then(late) == Some(true);
        let due = if late { Some(seq) } else { sync.due(seq) };
        match due {
            Some(due) => self.wait_until(state, |log| log.durable() > due),
            None => state.log.check(),
        }
    }

    /// Makes durable all that was written before, acknowledgements too.
    ///
    /// # Errors
    ///
    /// If the disk did not take it, this time or before.
    pub fn sync(&self) -> Result<(), Poisoned> {
        let state = self.lock();
        let (written, _) = state.log.progress();
        self.wait_until(state, |log| log.progress().1 >= written)
    }

    /// How long until a record that is not synced is as old as it may become under
    /// [`SyncPolicy::every`](crate::SyncPolicy::every); [`sync`](Self::sync) should be called then,
    /// if nothing is appended. `None` if there is no such record.
    #[must_use]
    pub fn sync_due_in(&self) -> Option<Duration> {
        let interval = self.shared.config.sync.interval()?;
        let now = self.now()?;
        let oldest = self.lock().log.oldest()?;
        Some(interval.saturating_sub(now - oldest))
    }

    /// Acknowledges the record `seq`: it is not replayed again. For one that is acknowledged already
    /// nothing is done.
    ///
    /// It survives the death of the process, and a loss of power after the next sync: before that,
    /// the record may be replayed once more.
    ///
    /// Deletes the segments at the beginning in which all are acknowledged. So one record that
    /// never is keeps all after it on the disk; append it again, and acknowledge the old one.
    ///
    /// # Errors
    ///
    /// If there is no such record yet, or the file system fails.
    pub fn ack(&self, seq: u64) -> Result<(), AckError> {
        self.ack_range(seq..=seq)
    }

    /// Acknowledges all records up to `seq` and that one too, as [`ack`](Self::ack) does; at the
    /// cost of one.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn ack_through(&self, seq: u64) -> Result<(), AckError> {
        self.ack_range(0..=seq)
    }

    pub(crate) fn ack_range(&self, seqs: RangeInclusive<u64>) -> Result<(), AckError> {
        self.lock().log.ack(seqs)
    }

    /// The records that are not acknowledged now, in order. Those appended later are not among them,
    /// nor those acknowledged before their turn comes.
    ///
    /// Holds one segment in memory.
    pub fn replay(&self) -> Replay {
        let end = self.lock().log.next();
        self.replay_of(0, end)
    }

    /// Of those from the first to before the last.
    pub(crate) fn replay_of(&self, from: u64, end: u64) -> Replay {
        Replay::new(Arc::clone(&self.shared), from, end)
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn is_acked(&self, seq: u64) -> bool {
        self.lock().log.acked().contains(seq)
    }

    /// Why the journal takes nothing more; `None` while it does.
    #[must_use]
    pub fn poisoned(&self) -> Option<Poisoned> {
        self.lock().log.check().err()
    }

    /// What is in the journal.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        let log = &state.log;
        Snapshot {
            records: log.acked().missing(log.next()),
            low: log.acked().low(),
            next: log.next(),
            unsynced: log.next() - log.durable().max(log.acked().low()),
            bytes: log.bytes(),
            segments: log.segments().len(),
            unremoved: log.unremoved(),
            poisoned: log.check().is_err(),
        }
    }

    fn now(&self) -> Option<Instant> {
        let config = &self.shared.config;
        config.sync.interval().map(|_| config.clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// Syncs, or waits for who does, until `done`.
    fn wait_until(
        &self,
        mut state: MutexGuard<'_, State>,
        done: impl Fn(&Log) -> bool,
    ) -> Result<(), Poisoned> {
        loop {
            if done(&state.log) {
                return Ok(());
            }
            state.log.check()?;
            if state.syncing {
                self.shared.sync_ended.wait(&mut state);
            } else {
                self.sync_once(&mut state);
            }
        }
    }

    /// Makes durable what is written now. Others write meanwhile, and are the next group.
    fn sync_once(&self, state: &mut MutexGuard<'_, State>) {
        let now = self.now();
        let pending = state.log.pending();
        state.syncing = true;
        let sync = AssertUnwindSafe(|| pending.sync());
        let done = MutexGuard::unlocked(state, || catch_unwind(sync));
        state.syncing = false;
        match &done {
            Ok(Ok(())) => state.log.synced(&pending, now),
            Ok(Err(failed)) => {
                state.log.poison(failed);
            }
            Err(_) => {
                let panicked = io::Error::other("the folder panicked");
                state.log.poison(&Failed::new("sync", panicked));
            }
        }
        self.shared.sync_ended.notify_all();
        if let Err(panic) = done {
            resume_unwind(panic);
        }
    }
}

impl Shared {
    /// Reads what is known under the lock.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.state.lock().log)
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("folder", &self.folder)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
