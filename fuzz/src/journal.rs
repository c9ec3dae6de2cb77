//! Segments of a journal, from anywhere: opening refuses what is damaged and leaves it alone, or goes
//! on without it; what is replayed is in order, and the same when it is opened again.

use std::collections::{BTreeMap, BTreeSet};

use stanchion_journal::{Config, Journal, OnDamage, OpenError, Recovery};

use crate::disk::Disk;

pub(crate) fn run(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else {
        return;
    };
    match how % 3 {
        // The bytes of one segment.
        0 => {
            let disk = Disk::default();
            disk.put(FIRST, data);
            open_both(&disk);
        }
        // Entries with the right checksums, which may mean anything.
        1 => {
            let disk = Disk::default();
            let (one, two) = data.split_at(data.len() / 2);
            disk.put(FIRST, &sealed(0, one));
            disk.put(SECOND, &sealed(1, two));
            open_both(&disk);
        }
        _ => written_and_damaged(data),
    }
}

const FIRST: &str = "0000000000000000.segment";
const SECOND: &str = "0000000000000001.segment";

fn config(on_damage: OnDamage) -> Config {
    let config = Config::new(1 << 26).expect("a size that may be");
    let config = config.with_segment_bytes(1 << 12);
    config
        .expect("a size that may be")
        .with_on_damage(on_damage)
}

/// Opens it under both policies, and returns what is found and replayed if damage is skipped; `None`
/// for a later version.
fn open_both(disk: &Disk) -> Option<(Recovery, BTreeMap<u64, Vec<u8>>)> {
    let untouched = disk.killed();
    match Journal::open_in(untouched.clone(), config(OnDamage::Refuse)) {
        Ok(journal) => {
            assert_eq!(journal.recovery().damages_total, 0);
            let replayed = replay(&journal);
            drop(journal);
            let again = Journal::open_in(untouched, config(OnDamage::Refuse));
            let again = again.expect("it could be opened before");
            assert_eq!(again.recovery().torn_bytes, 0);
            assert_eq!(replay(&again), replayed);
        }
        Err(OpenError::Damaged(_) | OpenError::Version { .. }) => {
            let names = disk.segments();
            assert_eq!(untouched.segments(), names);
            assert!(
                names
                    .iter()
                    .all(|name| untouched.content(name) == disk.content(name))
            );
        }
        Err(error) => panic!("{error}"),
    }

    let journal = match Journal::open_in(disk.clone(), config(OnDamage::Skip)) {
        Err(OpenError::Version { .. }) => return None,
        opened => opened.expect("damage is skipped"),
    };
    let found = journal.recovery().clone();
    let replayed = replay(&journal);
    let seq = journal.append(b"more").expect("there is room");
    assert!(replayed.keys().all(|&before| before < seq));
    drop(journal);
    let journal = Journal::open_in(disk.clone(), config(OnDamage::Skip));
    let journal = journal.expect("it could be opened before");
    let mut again = replay(&journal);
    assert_eq!(again.remove(&seq).as_deref(), Some(&b"more"[..]));
    assert_eq!(again, replayed);
    Some((found, replayed))
}

fn replay(journal: &Journal) -> BTreeMap<u64, Vec<u8>> {
    let mut replayed = BTreeMap::new();
    for record in journal.replay() {
        let record = record.expect("it was intact when it was opened");
        assert!(
            replayed
                .last_key_value()
                .is_none_or(|(&last, _)| last < record.seq)
        );
        replayed.insert(record.seq, record.bytes);
    }
    assert_eq!(journal.recovery().records, replayed.len() as u64);
    replayed
}

/// A segment of the entries that `data` tells, four bytes each.
fn sealed(number: u64, data: &[u8]) -> Vec<u8> {
    let salt = number + 7;
    let salted = |bytes: &[u8]| crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), bytes);
    let first_seq = data.first().map_or(0, |&seq| u64::from(seq));
    let mut bytes = b"STANCHJ\n\x01\0\0\0".to_vec();
    bytes.extend(number.to_le_bytes());
    bytes.extend(first_seq.to_le_bytes());
    bytes.extend(salt.to_le_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    for entry in data.chunks_exact(4) {
        let &[kind, seq, other, kept] = entry else {
            break;
        };
        let body = match kind % 4 {
            1 => vec![other; usize::from(other)],
            2 => u64::from(other).to_le_bytes().to_vec(),
            // What is no entry.
            _ => {
                bytes.extend([other; 3]);
                continue;
            }
        };
        // The far end of numbers too.
        let seq = match seq {
            255 => u64::MAX,
            254 => 1 << 62,
            seq => u64::from(seq),
        };
        let mut head = salted(&body).to_le_bytes().to_vec();
        head.extend(u32::try_from(body.len()).unwrap_or(0).to_le_bytes());
        head.extend((u32::from(kept) * 16).to_le_bytes());
        head.extend(seq.to_le_bytes());
        head.push(kind % 4);
        bytes.extend(salted(&head).to_le_bytes());
        bytes.extend(head);
        bytes.extend(body);
    }
    bytes
}

/// A journal that is written as `data` tells, and then damaged.
fn written_and_damaged(data: &[u8]) {
    let disk = Disk::default();
    let mut journal = open(&disk);
    let mut appended = BTreeMap::new();
    let mut acked = BTreeSet::new();
    let mut missing_may_be_silent = false;
    let mut damaged = false;
    for instruction in data.chunks_exact(4) {
        let &[what, which, a, b] = instruction else {
            break;
        };
        let at = usize::from(a) << 8 | usize::from(b);
        let names = disk.segments();
        let name = &names[usize::from(which) % names.len()];
        match what % 6 {
            0 | 1 if !damaged => {
                let bytes = vec![which; at % 3000];
                if let Ok(seq) = journal.append(&bytes) {
                    appended.insert(seq, bytes);
                }
            }
            2 if !damaged => {
                let seq = u64::from(which);
                let done = journal.ack(seq).is_ok();
                assert_eq!(done, appended.contains_key(&seq));
                if done {
                    acked.insert(seq);
                }
            }
            3 if !damaged => {
                drop(journal);
                journal = open(&disk);
            }
            4 => {
                damaged = true;
                let mut content = disk.content(name);
                if let Some(byte) = content.get_mut(at) {
                    *byte ^= 1 << (which % 8);
                }
                disk.put(name, &content);
            }
            5 => {
                damaged = true;
                // The end of the last one may be at the end of an entry.
                missing_may_be_silent |= Some(name) == names.last();
                let content = disk.content(name);
                disk.put(name, &content[..at.min(content.len())]);
            }
            _ => {}
        }
    }
    let disk = disk.killed();
    let Some((found, replayed)) = open_both(&disk) else {
        panic!("a version that nobody wrote");
    };
    for (seq, bytes) in &replayed {
        assert_eq!(appended.get(seq), Some(bytes), "record {seq}");
        // An acknowledgement may be lost.
        assert!(damaged || !acked.contains(seq));
    }
    let mut left = appended.keys().filter(|seq| !acked.contains(seq));
    let missing = left.any(|seq| !replayed.contains_key(seq));
    let told = found.damages_total > 0 || found.torn_bytes > 0;
    assert!(damaged || !(missing || told));
    assert!(told || !missing || missing_may_be_silent);
}

fn open(disk: &Disk) -> Journal {
    let opened = Journal::open_in(disk.clone(), config(OnDamage::Refuse));
    opened.expect("nothing is damaged yet")
}
