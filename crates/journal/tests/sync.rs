//! When the disk is asked to keep what was written.

#![expect(clippy::unwrap_used, reason = "a test")]

mod disk;

use std::time::Duration;

use disk::Disk;
use stanchion_core::Clock;
use stanchion_journal::{Config, Journal, SyncPolicy};

fn open(disk: &Disk, sync: SyncPolicy, clock: Clock) -> Journal {
    let config = Config::new(1 << 20).unwrap().with_sync(sync);
    Journal::open_in(disk.clone(), config.with_clock(clock)).unwrap()
}

#[test]
fn one_of_n_appends_waits_for_the_disk() {
    let disk = Disk::default();
    let every = SyncPolicy::every(3, Duration::MAX).unwrap();
    let journal = open(&disk, every, Clock::system());
    let before = disk.syncs();
    let mut unsynced = Vec::new();
    for _ in 0..7 {
        journal.append(b"record").unwrap();
        unsynced.push((journal.snapshot().unsynced, disk.syncs() - before));
    }
    assert_eq!(
        unsynced,
        [(1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2), (1, 2)]
    );
}

#[test]
fn an_append_syncs_what_has_become_too_old() {
    let disk = Disk::default();
    let (clock, time) = Clock::manual();
    let second = Duration::from_secs(1);
    let journal = open(&disk, SyncPolicy::every(1000, second).unwrap(), clock);
    assert_eq!(journal.sync_due_in(), None);
    journal.append(b"old").unwrap();
    assert_eq!(journal.sync_due_in(), Some(second));
    time.advance(second - Duration::from_nanos(1));
    journal.append(b"younger").unwrap();
    assert_eq!(journal.snapshot().unsynced, 2);
    time.advance(Duration::from_nanos(1));
    assert_eq!(journal.sync_due_in(), Some(Duration::ZERO));
    journal.append(b"young").unwrap();
    assert_eq!(journal.snapshot().unsynced, 0);
    assert_eq!(journal.sync_due_in(), None);

    journal.append(b"next").unwrap();
    time.advance(second / 2);
    assert_eq!(journal.sync_due_in(), Some(second / 2));
    journal.sync().unwrap();
    assert_eq!(journal.sync_due_in(), None);
}

#[test]
fn always_syncs_each_append_and_never_none() {
    let disk = Disk::default();
    let journal = open(&disk, SyncPolicy::ALWAYS, Clock::system());
    let before = disk.syncs();
    for _ in 0..3 {
        journal.append(b"record").unwrap();
    }
    assert_eq!(disk.syncs() - before, 3);

    let disk = Disk::default();
    let journal = open(&disk, SyncPolicy::NEVER, Clock::system());
    for _ in 0..3 {
        journal.append(&[0; 100_000]).unwrap();
    }
    assert!(journal.snapshot().segments > 1);
    assert_eq!(disk.syncs(), 0);
    assert_eq!(journal.snapshot().unsynced, 3);
    journal.sync().unwrap();
    assert_eq!(journal.snapshot().unsynced, 0);
}

#[test]
fn many_written_records_are_committed_by_one_sync() {
    let disk = Disk::default();
    let journal = open(&disk, SyncPolicy::ALWAYS, Clock::system());
    let before = disk.syncs();
    let seqs = [b"a", b"b", b"c"].map(|record| journal.write(record).unwrap());
    assert_eq!(journal.snapshot().unsynced, 3);
    journal.commit(seqs[2]).unwrap();
    journal.commit(seqs[0]).unwrap();
    assert_eq!(disk.syncs() - before, 1);
    assert_eq!(journal.snapshot().unsynced, 0);
}
