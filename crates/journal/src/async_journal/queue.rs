use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use crate::Journal;
use crate::error::{AckError, AppendError, Poisoned};

/// What waits for the disk, and the blocking task that sees to it: there is one while there is work.
pub(super) struct Queue {
    journal: Journal,
    runtime: Handle,
    state: Mutex<State>,
    /// Told when records were written.
    pub(super) wrote: Notify,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    working: bool,
}

pub(super) enum Job {
    Append {
        bytes: Vec<u8>,
        room: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<Appended, AppendError>>,
    },
    Ack {
        seqs: RangeInclusive<u64>,
        /// Held until it is done.
        room: OwnedSemaphorePermit,
        /// None for a record whose append was dropped.
        reply: Option<oneshot::Sender<Result<(), AckError>>>,
    },
    Sync {
        room: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<(), Poisoned>>,
    },
}

/// A record that was appended for somebody; if nobody claims it, it is acknowledged.
pub(super) struct Appended {
    seq: u64,
    unclaimed: Option<(Arc<Queue>, OwnedSemaphorePermit)>,
}

impl Queue {
    pub(super) fn new(journal: Journal, runtime: Handle) -> Self {
        Self {
            journal,
            runtime,
            state: Mutex::new(State::default()),
            wrote: Notify::new(),
        }
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn push(self: &Arc<Self>, job: Job) {
        let mut state = self.state.lock();
        state.jobs.push_back(job);
        let idle = !std::mem::replace(&mut state.working, true);
        drop(state);
        if idle {
            let worker = Worker {
                queue: Arc::clone(self),
                found_nothing: false,
            };
            self.runtime.spawn_blocking(move || worker.run());
        }
    }

    /// All that waits; with nothing, the worker is to end.
    fn take(&self) -> Option<VecDeque<Job>> {
        let mut state = self.state.lock();
        if state.jobs.is_empty() {
            state.working = false;
            return None;
        }
        Some(std::mem::take(&mut state.jobs))
    }
}

/// Ends as soon as nothing waits. Where it cannot run, because the runtime shuts down, or panics,
/// those who wait are told by the end of their channels.
struct Worker {
    queue: Arc<Queue>,
    found_nothing: bool,
}

impl Worker {
    fn run(mut self) {
        while let Some(jobs) = self.queue.take() {
            let mut written = Vec::new();
            for job in jobs {
                self.one(job, &mut written);
            }
            self.answer(written);
        }
        self.found_nothing = true;
    }

    /// Does one job, but leaves it to the end of the batch to sync what it wrote.
    fn one(&self, job: Job, written: &mut Vec<Written>) {
        let journal = &self.queue.journal;
        match job {
            // Dropped before its turn, it never was.
            Job::Append { reply, .. } if reply.is_closed() => {}
            Job::Append { bytes, room, reply } => match journal.write(&bytes) {
                Ok(seq) => {
                    let unclaimed = Some((Arc::clone(&self.queue), room));
                    written.push((Appended { seq, unclaimed }, reply));
                }
                Err(error) => tell(room, reply, Err(error)),
            },
            Job::Ack { seqs, room, reply } => {
                let acked = journal.ack_range(seqs);
                if let Some(reply) = reply {
                    tell(room, reply, acked);
                }
            }
            Job::Sync { room, reply } => tell(room, reply, journal.sync()),
        }
    }

    /// One sync for all of them, which the last one waits for.
    fn answer(&self, written: Vec<Written>) {
        let Some((last, _)) = written.last() else {
            return;
        };
        // Before anybody is answered, who may look at what it does.
        self.queue.wrote.notify_one();
        // What came of it is asked for each of them.
        let _ = self.queue.journal.commit(last.seq);
        for (appended, reply) in written {
            let committed = self.queue.journal.commit(appended.seq);
            // Whoever does not wait any more gets nothing, and the record is given back.
            drop(reply.send(committed.map(|()| appended).map_err(AppendError::from)));
        }
    }
}

type Written = (Appended, oneshot::Sender<Result<Appended, AppendError>>);

/// There is room again when the answer comes.
fn tell<T>(room: OwnedSemaphorePermit, reply: oneshot::Sender<T>, result: T) {
    drop(room);
    drop(reply.send(result));
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Where it has, another one may be at work.
        if !self.found_nothing {
            let mut state = self.queue.state.lock();
            state.working = false;
            let jobs = std::mem::take(&mut state.jobs);
            drop(state);
            drop(jobs);
        }
    }
}

impl Appended {
    pub(super) fn claim(mut self) -> u64 {
        self.unclaimed = None;
        self.seq
    }
}

impl Drop for Appended {
    fn drop(&mut self) {
        if let Some((queue, room)) = self.unclaimed.take() {
            queue.push(Job::Ack {
                seqs: self.seq..=self.seq,
                room,
                reply: None,
            });
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}
