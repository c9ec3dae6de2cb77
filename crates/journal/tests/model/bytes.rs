//! Each byte of the files is damaged, and each length of them met.

use std::collections::BTreeMap;

use stanchion_journal::{Config, Journal, Lost, OnDamage, OpenError};

use crate::disk::Disk;

fn config(on_damage: OnDamage) -> Config {
    let config = Config::new(1 << 20).unwrap();
    let config = config.with_segment_bytes(1 << 12).unwrap();
    config.with_on_damage(on_damage)
}

/// Three segments, with an acknowledgement among them, and what is to be replayed.
fn sample() -> (Disk, BTreeMap<u64, Vec<u8>>) {
    let disk = Disk::default();
    let journal = Journal::open_in(disk.clone(), config(OnDamage::Refuse)).unwrap();
    let mut records = BTreeMap::new();
    for byte in 0..12 {
        let bytes = vec![byte; 500 + 300 * usize::from(byte % 3)];
        records.insert(journal.append(&bytes).unwrap(), bytes);
    }
    journal.ack(4).unwrap();
    records.remove(&4);
    assert_eq!(disk.segments().len(), 3);
    (disk.killed(), records)
}

fn replayed(journal: &Journal) -> BTreeMap<u64, Vec<u8>> {
    let records = journal.replay().map(|record| {
        let record = record.unwrap();
        (record.seq, record.bytes)
    });
    records.collect()
}

/// What is lost must be told, and nothing may come that was not appended. `last` says whether it is
/// the last segment that was changed.
fn check(disk: &Disk, records: &BTreeMap<u64, Vec<u8>>, last: bool, what: &str) {
    let damaged = match Journal::open_in(disk.killed(), config(OnDamage::Refuse)) {
        Ok(journal) => {
            // A torn end: all before it is there.
            assert!(last, "{what}");
            let mut left = replayed(&journal);
            // Its acknowledgement is in the end that is torn.
            left.remove(&4);
            assert!(left.iter().eq(records.iter().take(left.len())), "{what}");
            false
        }
        Err(OpenError::Damaged(_)) => true,
        Err(error) => panic!("{what}: {error}"),
    };
    let journal = Journal::open_in(disk.clone(), config(OnDamage::Skip)).unwrap();
    let found = journal.recovery();
    assert_eq!(found.damages_total > 0, damaged, "{what}");
    assert_eq!(found.damages.len() as u64, found.damages_total);
    let left = replayed(&journal);
    for (seq, bytes) in &left {
        // Where an acknowledgement is lost, its record comes back.
        let acked = *seq == 4 && bytes[..] == [4; 800];
        assert!(records.get(seq) == Some(bytes) || acked, "{what}");
    }

    // It goes on, and is the same when it is opened once more.
    let seq = journal.append(b"more").unwrap();
    assert!(left.keys().all(|&before| before < seq), "{what}");
    drop(journal);
    let journal = Journal::open_in(disk.clone(), config(OnDamage::Skip)).unwrap();
    let mut again = replayed(&journal);
    assert_eq!(again.remove(&seq).unwrap(), b"more", "{what}");
    assert_eq!(again, left, "{what}");
    assert_eq!(journal.recovery().torn_bytes, 0, "{what}");
}

#[test]
fn a_segment_cut_at_any_byte_is_a_torn_end_or_damage() {
    let (disk, records) = sample();
    let names = disk.segments();
    for name in &names {
        let last = Some(name) == names.last();
        let content = disk.content(name);
        for len in (0..content.len()).step_by(if last { 1 } else { 7 }) {
            let disk = disk.killed();
            disk.put(name, &content[..len]);
            check(&disk, &records, last, &format!("{name} cut to {len}"));
            if last {
                // Never damage.
                let journal = Journal::open_in(disk, config(OnDamage::Refuse));
                assert!(journal.is_ok());
            }
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_told() {
    let (disk, records) = sample();
    let names = disk.segments();
    for name in &names {
        let last = Some(name) == names.last();
        let content = disk.content(name);
        // Heads are 25 bytes long, and lie at any remainder.
        for at in (0..content.len()).step_by(3) {
            let disk = disk.killed();
            let mut content = content.clone();
            content[at] ^= 1 << (at / 3 % 8);
            disk.put(name, &content);
            let what = format!("{name} flipped at {at}");
            check(&disk, &records, last, &what);
        }
    }
}

#[test]
fn a_flip_costs_the_record_in_which_it_is() {
    let (disk, records) = sample();
    let name = &disk.segments()[0];
    let mut content = disk.content(name);
    // In the body of the second record.
    content[40 + 25 + 500 + 25 + 10] ^= 1;
    disk.put(name, &content);
    let refused = Journal::open_in(disk.clone(), config(OnDamage::Refuse)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "segment 0 is damaged at byte 565: 825 bytes are not what was written"
    );
    let journal = Journal::open_in(disk, config(OnDamage::Skip)).unwrap();
    let left = replayed(&journal);
    let missing: Vec<_> = records
        .keys()
        .filter(|seq| !left.contains_key(seq))
        .collect();
    assert_eq!(missing, [&1]);
    let lost: Vec<_> = journal
        .recovery()
        .damages
        .iter()
        .map(|damage| damage.lost)
        .collect();
    assert_eq!(
        lost,
        [Lost::Bytes(825), Lost::Records { first: 1, last: 1 }]
    );
}

#[test]
fn a_missing_segment_is_damage() {
    let (disk, records) = sample();
    let names = disk.segments();
    disk.take(&names[1]);
    let refused = Journal::open_in(disk.clone(), config(OnDamage::Refuse)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "segment 2 is damaged at byte 0: segments 1 to 1 are missing"
    );
    let journal = Journal::open_in(disk, config(OnDamage::Skip)).unwrap();
    let left = replayed(&journal);
    assert!(
        left.iter()
            .all(|(seq, bytes)| records.get(seq) == Some(bytes))
    );
    assert!((1..records.len()).contains(&left.len()));
}

#[test]
fn a_later_version_is_left_alone() {
    let (disk, _) = sample();
    let name = disk.segments().pop().unwrap();
    let mut content = disk.content(&name);
    content[8] = 2;
    let crc = crc32c::crc32c(&content[..36]);
    content[36..40].copy_from_slice(&crc.to_le_bytes());
    disk.put(&name, &content);
    for on_damage in [OnDamage::Refuse, OnDamage::Skip] {
        let refused = Journal::open_in(disk.clone(), config(on_damage)).unwrap_err();
        assert!(matches!(
            refused,
            OpenError::Version {
                segment: 2,
                version: 2
            }
        ));
        assert_eq!(disk.content(&name), content);
    }
}

#[test]
fn what_rots_after_opening_is_told_by_the_replay() {
    let (disk, records) = sample();
    let journal = Journal::open_in(disk.clone(), config(OnDamage::Refuse)).unwrap();
    let name = &disk.segments()[0];
    let mut content = disk.content(name);
    content[70] ^= 1;
    disk.put(name, &content);
    let results: Vec<_> = journal.replay().collect();
    assert_eq!(results.len(), records.len());
    assert_eq!(
        results[0].as_ref().unwrap_err().to_string(),
        "segment 0 is damaged at byte 40: records 0 to 0 are missing"
    );
    assert!(results[1..].iter().all(Result::is_ok));
}
