//! Many threads at one journal.

#![expect(clippy::unwrap_used, reason = "a test")]

mod disk;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use disk::Disk;
use stanchion_journal::{Config, Journal, SyncPolicy};
use testkit::eventually_blocking;

const THREADS: usize = 4;
const APPENDS: usize = 200;

fn open(disk: &Disk, sync: SyncPolicy) -> Journal {
    let config = Config::new(1 << 22).unwrap().with_sync(sync);
    let config = config.with_segment_bytes(1 << 12).unwrap();
    Journal::open_in(disk.clone(), config).unwrap()
}

#[test]
fn what_many_threads_append_and_acknowledge_is_exact() {
    let every = SyncPolicy::every(7, Duration::MAX).unwrap();
    for sync in [SyncPolicy::ALWAYS, every, SyncPolicy::NEVER] {
        let disk = Disk::default();
        let journal = open(&disk, sync);
        let barrier = Barrier::new(THREADS);
        let left = Mutex::new(BTreeMap::new());
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (journal, barrier, left) = (&journal, &barrier, &left);
                scope.spawn(move || {
                    barrier.wait();
                    let mut last = None;
                    for at in 0..APPENDS {
                        let bytes = format!("{thread}/{at}").into_bytes();
                        let seq = journal.append(&bytes).unwrap();
                        assert!(last < Some(seq));
                        last = Some(seq);
                        if at % 3 == 0 {
                            journal.ack(seq).unwrap();
                        } else {
                            assert_eq!(left.lock().unwrap().insert(seq, bytes), None);
                        }
                    }
                });
            }
            // And one that reads meanwhile.
            scope.spawn(|| {
                for _ in 0..20 {
                    let seqs: Vec<_> = journal.replay().map(|record| record.unwrap().seq).collect();
                    assert!(seqs.is_sorted_by(|before, after| before < after));
                }
            });
        });
        assert_eq!(journal.snapshot().next, (THREADS * APPENDS) as u64);
        let journal = open(&disk.killed(), sync);
        let replayed = journal.replay().map(|record| {
            let record = record.unwrap();
            (record.seq, record.bytes)
        });
        assert!(replayed.eq(left.into_inner().unwrap()));
    }
}

#[test]
fn those_who_wait_at_the_same_time_share_one_sync() {
    let disk = Disk::default();
    let journal = open(&disk, SyncPolicy::ALWAYS);
    let before = disk.syncs();
    let calls = Arc::new(AtomicUsize::new(0));
    let opened = Arc::new(OnceLock::new());
    opened.set(journal.clone()).unwrap();
    disk.before_sync({
        let opened: Arc<OnceLock<Journal>> = Arc::clone(&opened);
        let calls = Arc::clone(&calls);
        move || {
            // The first one takes until all others have written.
            if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                let all = || opened.get().unwrap().snapshot().next == THREADS as u64;
                eventually_blocking(Duration::from_secs(60), "all have written", all);
            }
        }
    });
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| journal.append(b"one of some").unwrap());
        }
    });
    assert_eq!(disk.syncs() - before, 2);
    assert_eq!(journal.snapshot().unsynced, 0);
}

#[test]
fn all_who_wait_for_a_sync_that_fails_are_told() {
    let disk = Disk::default();
    let journal = open(&disk, SyncPolicy::ALWAYS);
    let refused = thread::scope(|scope| {
        let journal = &journal;
        disk.before_sync({
            let journal = journal.clone();
            let disk = disk.clone();
            move || {
                let all = || journal.snapshot().next == THREADS as u64;
                eventually_blocking(Duration::from_secs(60), "all have written", all);
                disk.fail(0, disk::Fault::Once);
            }
        });
        let threads = [(); THREADS].map(|()| scope.spawn(|| journal.append(b"one of some")));
        threads.map(|thread| thread.join().unwrap().is_err())
    });
    assert_eq!(refused, [true; THREADS]);
}
