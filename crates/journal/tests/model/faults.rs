//! Each operation on the disk fails once, or for good, at each place where it can.

use std::time::Duration;

use stanchion_journal::{AppendError, Config, Journal, OpenError, SyncPolicy};

use crate::disk::{Disk, Fault};
use crate::oracle::Oracle;
use crate::sequences::bits;

fn config(sync: SyncPolicy) -> Config {
    let config = Config::new(1 << 15).unwrap();
    config.with_segment_bytes(1 << 12).unwrap().with_sync(sync)
}

/// Some of everything: several segments, acknowledgements of all kinds, and room given back.
fn script(journal: &Journal, oracle: &mut Oracle) {
    for round in 0..3_u8 {
        for len in [900, 0, 1500, 30, 1100, 700] {
            // What fails is told, and noted by the oracle.
            let _ = oracle.append(journal, &vec![round; len]);
        }
        let unacked: Vec<u64> = oracle.unacked().collect();
        for &seq in unacked.iter().skip(1).step_by(2) {
            let _ = oracle.ack(journal, seq);
        }
        oracle.sync(journal);
        if let Some(&middle) = unacked.get(3) {
            let _ = oracle.ack_through(journal, middle);
        }
    }
}

#[test]
fn a_failure_at_any_operation_loses_nothing_that_was_promised() {
    let every = SyncPolicy::every(3, Duration::MAX).unwrap();
    let policies = [
        (SyncPolicy::ALWAYS, Some(0)),
        (every, Some(2)),
        (SyncPolicy::NEVER, None),
    ];
    for (sync, unsynced_max) in policies {
        let disk = Disk::default();
        let journal = Journal::open_in(disk.clone(), config(sync)).unwrap();
        let before = disk.operations();
        script(&journal, &mut Oracle::new(unsynced_max));
        let operations = disk.operations() - before;
        assert!(operations > 50);

        for fault in [Fault::Once, Fault::Short, Fault::Dead] {
            for at in 0..operations {
                let disk = Disk::default();
                let journal = Journal::open_in(disk.clone(), config(sync)).unwrap();
                let mut oracle = Oracle::new(unsynced_max);
                disk.fail(at, fault);
                script(&journal, &mut oracle);
                println!("{sync:?}, {fault:?} at operation {at}");
                if fault == Fault::Short {
                    assert!(!journal.snapshot().poisoned && !oracle.is_unsure());
                    oracle.check_counts(&journal);
                }
                if oracle.is_unsure() {
                    assert!(journal.snapshot().poisoned);
                }
                after(&disk, sync, &oracle, at as u64);
            }
        }
    }
}

/// What is left after a death of the process, a loss of power, and both.
fn after(disk: &Disk, sync: SyncPolicy, oracle: &Oracle, seed: u64) {
    let open = |disk: &Disk| Journal::open_in(disk.clone(), config(sync)).unwrap();
    let mut killed = oracle.clone();
    let disk_killed = disk.killed();
    let journal = open(&disk_killed);
    killed.killed(&journal);
    if oracle.unsynced_max.is_none() {
        return;
    }
    for seed in seed * 4..seed * 4 + 4 {
        let without_power = disk.without_power(&mut bits(seed));
        oracle.clone().reopened(&open(&without_power));
        // What was found after the failure is durable from then on, although the kernel took its
        // pages for clean.
        let mut killed = killed.clone();
        let without_power = disk_killed.without_power(&mut bits(seed));
        killed.reopened(&open(&without_power));
        assert_eq!(killed.next(), journal.snapshot().next);
    }
}

#[test]
fn a_failure_while_opening_leaves_all_for_the_next_time() {
    let disk = Disk::default();
    let always = config(SyncPolicy::ALWAYS);
    let mut oracle = Oracle::new(Some(0));
    script(
        &Journal::open_in(disk.clone(), always.clone()).unwrap(),
        &mut oracle,
    );
    // A write that was torn, to be cut.
    let last = disk.segments().pop().unwrap();
    let mut content = disk.content(&last);
    content.extend([7; 11]);
    disk.put(&last, &content);

    let probe = disk.killed();
    drop(Journal::open_in(probe.clone(), always.clone()).unwrap());
    let operations = probe.operations();
    assert!(operations > 5);
    for fault in [Fault::Once, Fault::Dead] {
        for at in 0..operations {
            let disk = disk.killed();
            disk.fail(at, fault);
            let failed = Journal::open_in(disk.clone(), always.clone());
            assert!(matches!(failed, Err(OpenError::Failed(_))), "at {at}");
            for disk in [disk.killed(), disk.without_power(&mut bits(at as u64))] {
                let journal = Journal::open_in(disk, always.clone()).unwrap();
                oracle.clone().killed(&journal);
            }
        }
    }
}

#[test]
fn a_full_disk_is_told_and_passes() {
    let disk = Disk::default();
    let journal = Journal::open_in(disk.clone(), config(SyncPolicy::ALWAYS)).unwrap();
    journal.append(b"before").unwrap();
    disk.fail(0, Fault::Once);
    let failed = journal.append(b"while").unwrap_err();
    let AppendError::Failed(told) = &failed else {
        panic!("{failed}");
    };
    assert_eq!(told.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(failed.to_string(), "cannot write");
    assert_eq!(journal.append(b"after").unwrap(), 1);
    let records = journal.replay().map(|record| record.unwrap().bytes);
    assert!(records.eq([b"before".to_vec(), b"after".to_vec()]));
}

#[test]
fn after_a_sync_that_failed_nothing_is_taken() {
    let disk = Disk::default();
    let journal = Journal::open_in(disk.clone(), config(SyncPolicy::ALWAYS)).unwrap();
    journal.append(b"before").unwrap();
    // The write, then the sync.
    disk.fail(1, Fault::Once);
    for _ in 0..2 {
        let refused = journal.append(b"while").unwrap_err();
        assert!(matches!(refused, AppendError::Poisoned(_)));
        assert_eq!(
            refused.to_string(),
            "the journal must be opened again: it could not sync (no storage space)"
        );
    }
    assert!(journal.ack(0).is_err());
    assert!(journal.sync().is_err());
    assert!(journal.snapshot().poisoned);
    // Of the new segment, of the record before, and the one that failed; the disk would work again.
    assert_eq!(disk.syncs(), 3);
}
