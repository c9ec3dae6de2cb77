//! On a real file system.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;

use stanchion_journal::{AckError, AppendError, Config, Journal, OpenError};

fn config() -> Config {
    let config = Config::new(1 << 13).unwrap();
    config.with_segment_bytes(1 << 12).unwrap()
}

#[test]
fn one_at_a_time_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/for/it");
    let journal = Journal::open(&path, config()).unwrap();
    let clone = journal.clone();
    drop(journal);
    let refused = Journal::open(&path, config()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked));
    assert_eq!(refused.to_string(), "the journal is open already");
    drop(clone);
    assert!(Journal::open(&path, config()).is_ok());
}

#[test]
fn full_it_takes_nothing_but_acknowledgements() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), config()).unwrap();
    let mut seqs = Vec::new();
    let refused = loop {
        match journal.append(&[7; 200]) {
            Ok(seq) => seqs.push(seq),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Full { max_bytes: 8192 }));
    assert_eq!(refused.to_string(), "the journal is full, of 8192 bytes");
    // Of 225 bytes each, with 34 reserved; the heads of two segments are 40 each.
    assert_eq!(seqs.len(), (8192 - 2 * 40) / (225 + 34));

    // From the last one on, so that no segment goes before all are acknowledged.
    for &seq in seqs.iter().rev() {
        let bytes = |folder| {
            let files = fs::read_dir(folder).unwrap();
            files
                .map(|file| file.unwrap().metadata().unwrap().len())
                .sum::<u64>()
        };
        assert!(bytes(folder.path()) <= 8192);
        journal.ack(seq).unwrap();
    }
    assert_eq!(journal.snapshot().records, 0);
    assert!(journal.append(&[7; 4096 - 40 - 25]).is_ok());
}

#[test]
fn what_no_record_can_be_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), config()).unwrap();
    let refused = journal.append(&[0; 4032]).unwrap_err();
    assert!(matches!(refused, AppendError::TooLarge { .. }));
    assert_eq!(
        refused.to_string(),
        "the record has 4032 bytes, must have at most 4031"
    );
    journal.append(b"").unwrap();
    let refused = journal.ack(1).unwrap_err();
    assert!(matches!(refused, AckError::Unknown { seq: 1, next: 1 }));
    assert_eq!(
        refused.to_string(),
        "record 1 is acknowledged, must be below 1"
    );
    assert!(journal.ack_through(u64::MAX).is_err());
}

#[test]
fn other_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("notes.segment");
    fs::write(&other, "mine").unwrap();
    let journal = Journal::open(folder.path(), config()).unwrap();
    journal.append(b"record").unwrap();
    drop(journal);
    drop(Journal::open(folder.path(), config()).unwrap());
    assert_eq!(fs::read_to_string(other).unwrap(), "mine");
}

#[test]
fn what_a_crash_tore_is_cut_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), config()).unwrap();
    journal.append(b"whole").unwrap();
    drop(journal);
    let file = folder.path().join("0000000000000000.segment");
    let mut bytes = fs::read(&file).unwrap();
    let whole = bytes.len();
    bytes.extend_from_within(40..60);
    fs::write(&file, bytes).unwrap();

    let journal = Journal::open(folder.path(), config()).unwrap();
    assert_eq!(journal.recovery().torn_bytes, 20);
    assert_eq!(journal.recovery().records, 1);
    assert_eq!(fs::metadata(&file).unwrap().len(), whole as u64);
    assert_eq!(journal.append(b"next").unwrap(), 1);
}
