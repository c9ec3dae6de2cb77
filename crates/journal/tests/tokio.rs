//! The journal of async code.

#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test")]

mod disk;

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use disk::Disk;
use stanchion_core::Clock;
use stanchion_journal::{AppendError, AsyncJournal, Config, Journal, SyncPolicy};
use testkit::{drop_at_every_await, eventually};
use tokio::runtime::{Builder, Runtime};

/// With one thread for what blocks, so that it comes in order.
fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().max_blocking_threads(1);
    builder.build().unwrap()
}

fn open(runtime: &Runtime, disk: &Disk, config: Config) -> AsyncJournal {
    let journal = Journal::open_in(disk.clone(), config).unwrap();
    AsyncJournal::new_on(runtime.handle(), journal)
}

fn config() -> Config {
    Config::new(1 << 27).unwrap()
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Whether syncs of the disk wait.
#[derive(Clone, Default)]
struct Held(Arc<(Mutex<bool>, Condvar)>);

impl Held {
    fn syncs(disk: &Disk) -> Self {
        let held = Self::default();
        held.set(true);
        disk.before_sync({
            let held = held.clone();
            move || {
                let (held, changed) = &*held.0;
                drop(
                    changed
                        .wait_while(held.lock().unwrap(), |held| *held)
                        .unwrap(),
                );
            }
        });
        held
    }

    fn set(&self, held: bool) {
        *self.0.0.lock().unwrap() = held;
        self.0.1.notify_all();
    }
}

#[test]
fn a_dropped_append_leaves_no_record_that_nobody_knows() {
    let runtime = runtime();
    let disk = Disk::default();
    let journal = open(&runtime, &disk, config());
    // So no append is done at its first poll.
    let held = Held::syncs(&disk);
    let settle = || {
        held.set(false);
        // What is given back meanwhile is behind the first, and done at the second.
        for _ in 0..2 {
            runtime.block_on(journal.sync()).unwrap();
        }
        held.set(true);
    };
    let claimed = RefCell::new(Vec::new());
    let drops = drop_at_every_await(|| async {
        let seq = journal.append("record").await.unwrap();
        claimed.borrow_mut().push(seq);
        let seq = journal.append("another").await.unwrap();
        claimed.borrow_mut().push(seq);
    })
    .nudge(|()| settle())
    .check(|()| {
        settle();
        let records = journal.journal().replay().map(|record| record.unwrap().seq);
        assert!(records.eq(claimed.borrow().iter().copied()));
        assert_eq!(journal.waiting_bytes(), 0);
    });
    assert_eq!(drops, 5);
    // Two of the full run, and the first ones of those that came to the second append.
    assert_eq!(claimed.borrow().len(), 4);
}

#[test]
fn appends_that_wait_together_share_a_sync() {
    let runtime = runtime();
    let disk = Disk::default();
    let journal = open(&runtime, &disk, config());
    let before = disk.syncs();
    let held = Held::syncs(&disk);
    runtime.block_on(async {
        let mut first = pin!(journal.append("first"));
        assert!(poll(first.as_mut()).is_pending());
        let written = || journal.journal().snapshot().next == 1;
        eventually(Duration::from_secs(60), "the first is written", written).await;
        let mut others: Vec<_> = (0..9)
            .map(|at| Box::pin(journal.append(format!("{at}"))))
            .collect();
        for append in &mut others {
            assert!(poll(append.as_mut()).is_pending());
        }
        held.set(false);
        assert_eq!(first.await.unwrap(), 0);
        for (seq, append) in (1..).zip(others) {
            assert_eq!(append.await.unwrap(), seq);
        }
    });
    assert_eq!(disk.syncs() - before, 2);
}

#[test]
fn more_than_there_is_room_for_waits_outside() {
    let runtime = runtime();
    let disk = Disk::default();
    let journal = open(&runtime, &disk, config());
    let held = Held::syncs(&disk);
    runtime.block_on(async {
        let mut appends: Vec<_> = (0..20)
            .map(|at| Box::pin(journal.append(vec![at; 1 << 20])))
            .collect();
        for append in &mut appends {
            assert!(poll(append.as_mut()).is_pending());
        }
        // The eighth waits for its last bytes, and has taken the others.
        assert_eq!(journal.waiting_bytes(), AsyncJournal::QUEUE_BYTES);
        appends.truncate(7);
        assert_eq!(journal.waiting_bytes(), 7 * ((1 << 20) + 128));
        let more = (0..3).map(|at| Box::pin(journal.append(vec![at; 1 << 20])));
        appends.extend(more);
        held.set(false);
        for append in appends {
            append.await.unwrap();
        }
        journal.sync().await.unwrap();
    });
    assert_eq!(journal.waiting_bytes(), 0);
    assert_eq!(journal.journal().snapshot().records, 10);
}

#[test]
fn a_record_larger_than_the_room_takes_all_of_it() {
    let runtime = runtime();
    let config = Config::new(1 << 27).unwrap();
    let config = config.with_segment_bytes(1 << 24).unwrap();
    let journal = open(&runtime, &Disk::default(), config);
    let large = vec![7; AsyncJournal::QUEUE_BYTES + 1];
    runtime.block_on(async {
        assert_eq!(journal.append(large).await.unwrap(), 0);
        let refused = journal.append(vec![0; 1 << 24]).await.unwrap_err();
        assert!(matches!(refused, AppendError::TooLarge { .. }));
        journal.ack(0).await.unwrap();
        assert!(journal.ack(1).await.is_err());
    });
}

#[test]
fn after_a_sync_that_failed_all_are_told() {
    let runtime = runtime();
    let disk = Disk::default();
    let journal = open(&runtime, &disk, config());
    disk.before_sync({
        let disk = disk.clone();
        move || disk.fail(0, disk::Fault::Once)
    });
    runtime.block_on(async {
        let mut appends = [pin!(journal.append("a")), pin!(journal.append("b"))];
        for append in &mut appends {
            assert!(poll(append.as_mut()).is_pending());
        }
        for append in appends {
            let refused = append.await.unwrap_err();
            assert!(matches!(refused, AppendError::Poisoned(_)), "{refused}");
        }
        assert!(journal.ack_through(0).await.is_err());
        assert!(journal.sync().await.is_err());
    });
}

#[test]
fn on_a_runtime_that_has_shut_down_nobody_hangs() {
    let runtime = runtime();
    let journal = open(&runtime, &Disk::default(), config());
    runtime.block_on(journal.append("record")).unwrap();
    let mut replay = journal.replay();
    // Waits for what blocks.
    drop(runtime);
    let other = self::runtime();
    other.block_on(async {
        let refused = journal.append("late").await.unwrap_err();
        assert!(matches!(refused, AppendError::Failed(_)), "{refused}");
        assert!(journal.ack(0).await.is_err());
        assert!(journal.sync().await.is_err());
        assert!(replay.next().await.unwrap().is_err());
        assert!(replay.next().await.is_none());
    });
    assert_eq!(journal.waiting_bytes(), 0);
}

#[test]
fn a_replay_goes_on_where_it_was_dropped() {
    let runtime = runtime();
    let journal = open(&runtime, &Disk::default(), config());
    runtime.block_on(async {
        for at in 0..200 {
            assert_eq!(journal.append(vec![at; 10]).await.unwrap(), u64::from(at));
        }
        journal.ack(100).await.unwrap();
        let mut replay = journal.replay();
        let mut seqs = Vec::new();
        loop {
            // Pending wherever a batch begins.
            let dropped = poll(pin!(replay.next()));
            let record = match dropped {
                Poll::Ready(record) => record,
                Poll::Pending => replay.next().await,
            };
            let Some(record) = record else {
                break;
            };
            let record = record.unwrap();
            assert_eq!(u64::from(record.bytes[0]), record.seq);
            seqs.push(record.seq);
            // One that was read already is not given.
            if record.seq == 10 {
                journal.ack(12).await.unwrap();
            }
        }
        let all = (0..200).filter(|seq| ![12, 100].contains(seq));
        assert!(seqs.into_iter().eq(all));
    });
}

#[test]
fn the_last_records_of_a_burst_are_synced_in_time() {
    let runtime = runtime();
    let (clock, time) = Clock::manual();
    let second = Duration::from_secs(1);
    let every = SyncPolicy::every(1000, second).unwrap();
    let config = config().with_sync(every).with_clock(clock);
    let journal = open(&runtime, &Disk::default(), config);
    runtime.block_on(async {
        let mut keeper = pin!(journal.keep_synced());
        for _ in 0..2 {
            assert!(poll(keeper.as_mut()).is_pending());
            journal.append("record").await.unwrap();
            assert!(poll(keeper.as_mut()).is_pending());
            assert_eq!(journal.journal().snapshot().unsynced, 1);
            time.advance(second);
            assert!(poll(keeper.as_mut()).is_pending());
            let synced = || journal.journal().snapshot().unsynced == 0;
            eventually(Duration::from_secs(60), "the record is synced", synced).await;
        }
    });
}
