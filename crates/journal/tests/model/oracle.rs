//! What a journal must give back, kept in the plainest way.

use std::collections::BTreeSet;

use stanchion_journal::{AckError, AppendError, Journal};

#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    /// Of which policy, as the number of records that a loss of power may take; `None` for never.
    pub(crate) unsynced_max: Option<u64>,
    /// All records whose appends returned.
    records: Vec<Vec<u8>>,
    /// One whose append failed in a way that leaves open whether it is there.
    unsure: Option<Vec<u8>>,
    acked: BTreeSet<u64>,
    /// Acknowledged, or not: the failure leaves it open.
    unsure_acked: BTreeSet<u64>,
    /// All below survive a loss of power.
    promised: u64,
    /// These acknowledgements survive it too.
    promised_acked: BTreeSet<u64>,
}

impl Oracle {
    pub(crate) fn new(unsynced_max: Option<u64>) -> Self {
        Self {
            unsynced_max,
            ..Self::default()
        }
    }

    pub(crate) fn next(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn unacked(&self) -> impl Iterator<Item = u64> {
        (0..self.next()).filter(|seq| !self.acked.contains(seq))
    }

    /// Whether a failure left something open; until the journal is opened again, that is.
    pub(crate) fn is_unsure(&self) -> bool {
        self.unsure.is_some() || !self.unsure_acked.is_empty()
    }

    pub(crate) fn append(&mut self, journal: &Journal, bytes: &[u8]) -> Result<(), AppendError> {
        let appended = journal.append(bytes);
        match &appended {
            Ok(seq) => {
                assert_eq!(*seq, self.next());
                self.records.push(bytes.to_vec());
                if let Some(unsynced) = self.unsynced_max {
                    self.promised = self.promised.max(self.next().saturating_sub(unsynced));
                }
            }
            // Only the first one may have been written; those after it were refused.
            Err(AppendError::Poisoned(_)) => {
                self.unsure.get_or_insert_with(|| bytes.to_vec());
            }
            Err(_) => {}
        }
        appended.map(|_| ())
    }

    pub(crate) fn ack(&mut self, journal: &Journal, seq: u64) -> Result<(), AckError> {
        let acked = journal.ack(seq);
        self.note(&acked, &[seq]);
        acked
    }

    pub(crate) fn ack_through(&mut self, journal: &Journal, seq: u64) -> Result<(), AckError> {
        let acked = journal.ack_through(seq);
        let all: Vec<u64> = (0..=seq).collect();
        self.note(&acked, &all);
        acked
    }

    fn note(&mut self, acked: &Result<(), AckError>, seqs: &[u64]) {
        match acked {
            Ok(()) => self.acked.extend(seqs),
            Err(AckError::Poisoned(_)) => self.unsure_acked.extend(seqs),
            Err(_) => {}
        }
    }

    pub(crate) fn sync(&mut self, journal: &Journal) {
        if journal.sync().is_ok() {
            self.promised = self.next();
            self.promised_acked.clone_from(&self.acked);
        }
    }

    /// Compares what all agree on while nothing has failed.
    pub(crate) fn check_counts(&self, journal: &Journal) {
        let snapshot = journal.snapshot();
        assert_eq!(snapshot.next, self.next());
        assert_eq!(snapshot.records, self.unacked().count() as u64);
        assert_eq!(snapshot.low, self.unacked().next().unwrap_or(self.next()));
        if let Some(unsynced) = self.unsynced_max {
            assert!(snapshot.unsynced <= unsynced);
        }
        assert!(snapshot.bytes <= journal.config().max_bytes());
    }

    /// The process was killed, and the journal is open again.
    pub(crate) fn killed(&mut self, journal: &Journal) {
        self.promised = self.next();
        self.promised_acked.clone_from(&self.acked);
        self.reopened(journal);
    }

    /// The power failed, and the journal is open again.
    pub(crate) fn reopened(&mut self, journal: &Journal) {
        let end = journal.snapshot().next;
        self.records.extend(self.unsure.take());
        assert!(
            self.promised <= end,
            "{} of {} are left",
            end,
            self.promised
        );
        assert!(end <= self.next(), "{end} of {} are left", self.next());
        self.records.truncate(usize::try_from(end).unwrap());

        let mut replayed = BTreeSet::new();
        for record in journal.replay() {
            let record = record.unwrap();
            let seq = usize::try_from(record.seq).unwrap();
            assert_eq!(record.bytes, self.records[seq], "record {seq}");
            assert!(
                replayed.last().is_none_or(|&last| last < record.seq),
                "in order"
            );
            replayed.insert(record.seq);
        }
        for seq in 0..end {
            let sure = !self.acked.contains(&seq) && !self.unsure_acked.contains(&seq);
            assert!(replayed.contains(&seq) || !sure, "{seq} is not replayed");
            assert!(
                !(replayed.contains(&seq) && self.promised_acked.contains(&seq)),
                "{seq} is replayed once more"
            );
        }
        assert_eq!(journal.recovery().records, replayed.len() as u64);
        assert_eq!(journal.recovery().damages_total, 0);

        self.acked = (0..end).filter(|seq| !replayed.contains(seq)).collect();
        self.unsure_acked.clear();
        if self.unsynced_max.is_some() {
            // Opening has synced all that it found.
            self.promised = end;
            self.promised_acked.clone_from(&self.acked);
        } else {
            self.promised = 0;
            self.promised_acked.clear();
        }
        self.check_counts(journal);
    }
}
