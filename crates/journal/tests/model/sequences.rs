//! Any sequence of operations and crashes.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use stanchion_journal::{AckError, AppendError, Config, Journal, OnDamage, SyncPolicy};

use crate::disk::Disk;
use crate::oracle::Oracle;

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    /// One of those that are not acknowledged, or of all.
    Ack(prop::sample::Index),
    AckAny(prop::sample::Index),
    AckThrough(prop::sample::Index),
    Sync,
    Reopen,
    Kill,
    PowerLoss(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (0_usize..1500).prop_map(Op::Append),
        4 => (0_usize..40).prop_map(Op::Append),
        1 => Just(Op::Append(4096 - 40 - 25)),
        8 => index().prop_map(Op::Ack),
        1 => index().prop_map(Op::AckAny),
        2 => index().prop_map(Op::AckThrough),
        1 => Just(Op::Sync),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        2 => any::<u64>().prop_map(Op::PowerLoss),
    ]
}

fn policy() -> impl Strategy<Value = (SyncPolicy, Option<u64>)> {
    let every = |records| SyncPolicy::every(records, Duration::MAX).unwrap();
    prop_oneof![
        Just((SyncPolicy::ALWAYS, Some(0))),
        (1_u64..9).prop_map(move |records| (every(records), Some(records - 1))),
        Just((SyncPolicy::NEVER, None)),
    ]
}

/// A stream of random bits from a seed, by xorshift.
pub(crate) fn bits(seed: u64) -> impl FnMut() -> bool {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 33 & 1 == 1
    }
}

fn content(seq: u64, len: usize) -> Vec<u8> {
    let mut bits = bits(seq.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let bytes = std::iter::repeat_with(|| u8::from(bits()));
    bytes.take(len).collect()
}

proptest! {
    #[test]
    fn what_is_replayed_is_what_was_appended_and_not_acknowledged(
        (sync, unsynced_max) in policy(),
        max_bytes in prop_oneof![Just(1_u64 << 13), Just(1 << 14), Just(1 << 16)],
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let config = Config::new(max_bytes).unwrap().with_segment_bytes(1 << 12).unwrap();
        let config = config.with_sync(sync);
        let open = |disk: &Disk| Journal::open_in(disk.clone(), config.clone()).unwrap();
        let mut disk = Disk::default();
        let mut journal = open(&disk);
        let mut oracle = Oracle::new(unsynced_max);
        for op in ops {
            match op {
                Op::Append(len) => {
                    let bytes = content(oracle.next(), len);
                    match oracle.append(&journal, &bytes) {
                        Ok(()) => {}
                        // With nothing in it, there is room for any record.
                        Err(AppendError::Full { .. }) => {
                            prop_assert!(oracle.unacked().next().is_some());
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                Op::Ack(index) => {
                    let unacked: Vec<u64> = oracle.unacked().collect();
                    if !unacked.is_empty() {
                        oracle.ack(&journal, *index.get(&unacked)).unwrap();
                    }
                }
                Op::AckAny(index) if oracle.next() > 0 => {
                    let seq = index.index(usize::try_from(oracle.next()).unwrap());
                    oracle.ack(&journal, seq as u64).unwrap();
                }
                Op::AckThrough(index) if oracle.next() > 0 => {
                    let seq = index.index(usize::try_from(oracle.next()).unwrap());
                    oracle.ack_through(&journal, seq as u64).unwrap();
                }
                Op::AckAny(_) | Op::AckThrough(_) => {
                    let refused = journal.ack(oracle.next());
                    let unknown = matches!(refused, Err(AckError::Unknown { next: 0, .. }));
                    prop_assert!(unknown);
                }
                Op::Sync => oracle.sync(&journal),
                Op::Reopen => {
                    drop(journal);
                    journal = open(&disk);
                    oracle.killed(&journal);
                }
                Op::Kill => {
                    disk = disk.killed();
                    journal = open(&disk);
                    oracle.killed(&journal);
                }
                // Without syncs there is no promise to check, see below.
                Op::PowerLoss(_) if unsynced_max.is_none() => {}
                Op::PowerLoss(seed) => {
                    disk = disk.without_power(&mut bits(seed));
                    journal = open(&disk);
                    oracle.reopened(&journal);
                }
            }
            oracle.check_counts(&journal);
            let segments = disk.segments();
            let bytes: usize = segments.iter().map(|name| disk.content(name).len()).sum();
            let snapshot = journal.snapshot();
            prop_assert_eq!(snapshot.bytes, bytes as u64);
            prop_assert_eq!(snapshot.segments, segments.len());
            prop_assert!(disk.peak_bytes() as u64 <= max_bytes);
            let longest = segments.iter().map(|name| disk.content(name).len()).max();
            prop_assert!(longest <= Some(2 << 12));
        }
        let replayed = journal.replay().map(|record| record.unwrap().seq);
        prop_assert!(replayed.eq(oracle.unacked()));
    }

    /// What is never synced may have holes after a loss of power, but never other records; and
    /// once synced by hand, it has none.
    #[test]
    fn what_was_not_synced_comes_back_right_or_not_at_all(
        lens in prop::collection::vec(0_usize..1500, 1..30),
        synced in 0_usize..30,
        seed: u64,
    ) {
        let config = Config::new(1 << 20).unwrap().with_segment_bytes(1 << 12).unwrap();
        let config = config.with_sync(SyncPolicy::NEVER).with_on_damage(OnDamage::Skip);
        let disk = Disk::default();
        let journal = Journal::open_in(disk.clone(), config.clone()).unwrap();
        for (seq, &len) in lens.iter().enumerate() {
            journal.append(&content(seq as u64, len)).unwrap();
            if seq == synced {
                journal.sync().unwrap();
                prop_assert_eq!(journal.snapshot().unsynced, 0);
            }
        }
        let disk = disk.without_power(&mut bits(seed));
        let journal = Journal::open_in(disk, config).unwrap();
        let mut last = None;
        let mut seqs = Vec::new();
        for record in journal.replay() {
            let record = record.unwrap();
            let len = lens[usize::try_from(record.seq).unwrap()];
            prop_assert_eq!(record.bytes, content(record.seq, len));
            prop_assert!(last < Some(record.seq));
            last = Some(record.seq);
            seqs.push(record.seq);
        }
        if synced < lens.len() {
            prop_assert!(seqs.into_iter().take(synced + 1).eq(0..=synced as u64));
        }
    }
}

/// Acknowledgements come from either end, and records as soon as there is room; then they stop.
#[test]
fn a_full_journal_is_emptied_within_its_bound() {
    for max_bytes in [1 << 13, 3 << 12, 1 << 14] {
        for len in [0, 3, 40, 200, 1000, 4031] {
            for from_the_end in [false, true] {
                let disk = Disk::default();
                let config = Config::new(max_bytes).unwrap();
                let config = config.with_segment_bytes(1 << 12).unwrap();
                let journal = Journal::open_in(disk.clone(), config).unwrap();
                let mut unacked = VecDeque::new();
                for round in 0..1500 {
                    while round < 1000
                        && let Ok(seq) = journal.append(&vec![7; len])
                    {
                        unacked.push_back(seq);
                    }
                    let seq = match from_the_end {
                        true => unacked.pop_back(),
                        false => unacked.pop_front(),
                    };
                    if let Some(seq) = seq {
                        journal.ack(seq).unwrap();
                    }
                }
                assert!(unacked.is_empty());
                let what = format!("{max_bytes}, {len}, {from_the_end}");
                assert!(disk.peak_bytes() as u64 <= max_bytes, "{what}");
                assert!(journal.append(&[7; 4096 - 40 - 25]).is_ok(), "{what}");
                assert!(disk.peak_bytes() as u64 <= max_bytes, "{what}");
            }
        }
    }
}
