use std::fmt;

/// What opening found that is damaged, and where; clones copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The number of the segment in whose file it is, or before which something is missing.
    pub segment: u64,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is lost.
    pub lost: Lost,
}

/// What is lost by a [`Damage`]. Numbers include their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// So many bytes are no entries. If there were records in them, those are told by
    /// [`Records`](Self::Records) as soon as a later one is found.
    Bytes(u64),
    /// Records that were appended.
    Records {
        /// The first one.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// The files of segments.
    Segments {
        /// The first one.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// The head of the segment, and so all that is in it.
    Header,
    /// Nothing, but an intact entry contradicts those before it, and is passed over: the file was
    /// not written by one journal.
    Contradiction,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segment, offset, ..
        } = self;
        write!(f, "segment {segment} is damaged at byte {offset}: ")?;
        match self.lost {
            Lost::Bytes(bytes) => write!(f, "{bytes} bytes are not what was written"),
            Lost::Records { first, last } => write!(f, "records {first} to {last} are missing"),
            Lost::Segments { first, last } => write!(f, "segments {first} to {last} are missing"),
            Lost::Header => f.write_str("its head is not what was written"),
            Lost::Contradiction => f.write_str("an entry contradicts those before it"),
        }
    }
}

/// What a journal found when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How many records are to be replayed.
    pub records: u64,
    /// How many bytes were cut off at the end of the last segment: what was being written when the
    /// process died, and after a loss of power what was not synced.
    pub torn_bytes: u64,
    /// What was passed over, under [`OnDamage::Skip`](crate::OnDamage::Skip): the first
    /// [`DAMAGES_MAX`](Self::DAMAGES_MAX) of it.
    pub damages: Vec<Damage>,
    /// How many damages there are in all.
    pub damages_total: u64,
}

impl Recovery {
    /// How many damages are told one by one.
    pub const DAMAGES_MAX: usize = 64;

    pub(crate) fn found(&mut self, damage: Damage) {
        self.damages_total += 1;
        if self.damages.len() < Self::DAMAGES_MAX {
            self.damages.push(damage);
        }
    }
}
