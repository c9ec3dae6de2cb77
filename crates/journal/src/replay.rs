use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::sync::Arc;

use crate::entry::Entry;
use crate::error::{Failed, ReplayError};
use crate::header::{self, Header};
use crate::journal::Shared;
use crate::recovery::{Segment, name};
use crate::scan::Scan;
use crate::{Damage, Lost};

/// A record that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// What was appended.
    pub bytes: Vec<u8>,
}

/// The records of a [`Journal`](crate::Journal) that are not acknowledged, in order.
///
/// After an error it goes on with what comes behind: a damaged record is told, never left out
/// silently.
#[must_use = "an iterator does nothing unless it is asked"]
pub struct Replay {
    shared: Arc<Shared>,
    next: u64,
    end: u64,
    segment: Option<Open>,
}

/// The segment that is read.
struct Open {
    number: u64,
    salt: u64,
    bytes: Vec<u8>,
    at: usize,
}

impl Replay {
    pub(crate) fn new(shared: Arc<Shared>, next: u64, end: u64) -> Self {
        Self {
            shared,
            next,
            end,
            segment: None,
        }
    }

    /// What is still to be looked at.
    #[cfg(feature = "tokio")]
    pub(crate) fn range(&self) -> (u64, u64) {
        (self.next, self.end)
    }

    /// The next record that is not acknowledged, the segment in which it is, and where the records
    /// of the one behind that begin.
    fn target(&self) -> Option<(u64, Segment, u64)> {
        self.shared.look(|log| {
            let seq = log.acked().first_missing(self.next);
            if seq >= self.end {
                return None;
            }
            let segments = log.segments();
            let behind = segments.partition_point(|segment| segment.first_seq <= seq);
            let segment = *segments.get(behind.checked_sub(1)?)?;
            let end = segments.get(behind).map_or(self.end, |next| next.first_seq);
            Some((seq, segment, end.min(self.end)))
        })
    }

    /// Opens `segment`; none if it could be deleted meanwhile, for `seq` was acknowledged.
    fn open(&self, segment: Segment, seq: u64) -> Result<Option<Open>, ReplayError> {
        let number = segment.number;
        let bytes = match self.shared.folder.read(&name(number)) {
            Ok(bytes) => bytes,
            Err(error) => {
                let acked = self.shared.look(|log| log.acked().contains(seq));
                if error.kind() == io::ErrorKind::NotFound && acked {
                    return Ok(None);
                }
                let failed = Failed::new("read a segment", error);
                return Err(ReplayError::Failed(failed));
            }
        };
        match Header::decode(&bytes) {
            Ok(header) if header.number == number => Ok(Some(Open {
                number,
                salt: header.salt,
                bytes,
                at: header::LEN,
            })),
            _ => Err(ReplayError::Damaged(Damage {
                segment: number,
                offset: 0,
                lost: Lost::Header,
            })),
        }
    }

    fn step(&mut self) -> Option<Result<Record, ReplayError>> {
        loop {
            let (seq, segment, end) = self.target()?;
            self.next = seq;
            if self.segment.as_ref().map(|open| open.number) != Some(segment.number) {
                self.segment = match self.open(segment, seq) {
                    Ok(None) => continue,
                    Ok(open) => open,
                    Err(error) => {
                        self.next = end;
                        return Some(Err(error));
                    }
                };
            }
            let open = self.segment.as_mut()?;
            match open.find(seq, end) {
                Ok(bytes) => {
                    self.next = seq + 1;
                    return Some(Ok(Record { seq, bytes }));
                }
                Err(damage) => {
                    let Lost::Records { last, .. } = damage.lost else {
                        return None;
                    };
                    self.next = last + 1;
                    return Some(Err(ReplayError::Damaged(damage)));
                }
            }
        }
    }
}

impl Open {
    /// What the record `seq` holds, which was not passed yet; `end` is behind the last record here.
    fn find(&mut self, seq: u64, end: u64) -> Result<Vec<u8>, Damage> {
        let mut found = end;
        let mut hole = None;
        for item in Scan::new(&self.bytes, self.salt, self.at) {
            match item.entry {
                Some(Entry::Record { seq: at, bytes }) if at == seq => {
                    self.at = item.to;
                    return Ok(bytes.to_vec());
                }
                Some(Entry::Record { seq: at, .. }) if at > seq => {
                    found = at.min(end);
                    break;
                }
                None => {
                    hole.get_or_insert(item.from);
                    self.at = item.to;
                }
                Some(_) => self.at = item.to,
            }
        }
        Err(Damage {
            segment: self.number,
            offset: hole.unwrap_or(self.at) as u64,
            lost: Lost::Records {
                first: seq,
                last: found.max(seq + 1) - 1,
            },
        })
    }
}

impl Iterator for Replay {
    type Item = Result<Record, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_none() {
            self.next = self.end;
            self.segment = None;
        }
        step
    }
}

impl FusedIterator for Replay {}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("next", &self.next)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
