//! What the files of a journal say, read in order; nothing is changed here.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::acked::Acked;
use crate::entry::Entry;
use crate::error::{Failed, OpenError};
use crate::folder::Folder;
use crate::header::{self, BadHeader, Header, NUMBER_MAX};
use crate::scan::{Scan, torn_from};
use crate::{Damage, Lost, OnDamage, Recovery};

/// One file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) first_seq: u64,
    pub(crate) len: u64,
}

/// All that opening has to know.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) acked: Acked,
    /// The number of the next record.
    pub(crate) next: u64,
    /// The last segment, if its head can be read.
    pub(crate) last: Option<Last>,
    /// The last segment, if it is no more than a head that was not completely written.
    pub(crate) unborn: Option<u64>,
    pub(crate) report: Recovery,
}

#[derive(Debug)]
pub(crate) struct Last {
    /// Nothing in it is damaged, so it can go on.
    pub(crate) intact: bool,
    pub(crate) salt: u64,
    /// What is left of it, without the torn end.
    pub(crate) bytes: Vec<u8>,
}

/// What its file is called.
pub(crate) fn name(number: u64) -> String {
    format!("{number:016x}.segment")
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (self::name(number) == *name && number <= NUMBER_MAX).then_some(number)
}

pub(crate) fn read(folder: &dyn Folder, on_damage: OnDamage) -> Result<Read, OpenError> {
    let names = folder.list().map_err(Failed::at("list the segments"))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    let mut reader = Reader::new(on_damage);
    let last = numbers.last().copied();
    for number in numbers {
        let bytes = folder.read(&name(number));
        let bytes = bytes.map_err(Failed::at("read a segment"))?;
        reader.segment(number, bytes, Some(number) == last)?;
    }
    Ok(reader.finish())
}

struct Reader {
    on_damage: OnDamage,
    read: Read,
    /// Whether bytes were passed over since the last record, so that some may be missing.
    hole: bool,
    /// Whether the number of any record is known.
    begun: bool,
}

impl Reader {
    fn new(on_damage: OnDamage) -> Self {
        Self {
            on_damage,
            read: Read {
                segments: VecDeque::new(),
                acked: Acked::default(),
                next: 0,
                last: None,
                unborn: None,
                report: Recovery::default(),
            },
            hole: false,
            begun: false,
        }
    }

    fn segment(&mut self, number: u64, mut bytes: Vec<u8>, last: bool) -> Result<(), OpenError> {
        let expected = self.read.segments.back().map(|before| before.number + 1);
        if let Some(first) = expected.filter(|&first| first < number) {
            self.hole = true;
            let missing = Lost::Segments {
                first,
                last: number - 1,
            };
            self.damaged(number, 0, missing)?;
        }
        let header = match Header::decode(&bytes) {
            Ok(header) if header.number == number => header,
            Err(BadHeader::Version(version)) => {
                return Err(OpenError::Version {
                    segment: number,
                    version,
                });
            }
            // It was being made, and is longer as soon as it has a record.
            Err(BadHeader::Damaged) if last && bytes.len() <= header::LEN => {
                self.read.report.torn_bytes += bytes.len() as u64;
                self.read.unborn = Some(number);
                return Ok(());
            }
            Ok(_) | Err(BadHeader::Damaged) => {
                self.hole = true;
                self.push(number, self.read.next, bytes.len());
                return self.damaged(number, 0, Lost::Header);
            }
        };
        self.begin(header)?;
        if last {
            let torn = torn_from(&bytes, header.salt, header::LEN);
            self.read.report.torn_bytes += (bytes.len() - torn) as u64;
            bytes.truncate(torn);
        }
        self.push(number, self.read.next, bytes.len());
        let damages = self.read.report.damages_total;
        self.entries(&header, &bytes)?;
        if last {
            self.read.last = Some(Last {
                intact: damages == self.read.report.damages_total,
                salt: header.salt,
                bytes,
            });
        }
        Ok(())
    }

    fn push(&mut self, number: u64, first_seq: u64, len: usize) {
        self.read.segments.push_back(Segment {
            number,
            first_seq,
            len: len as u64,
        });
    }

    /// Takes the number of a segment's first record.
    fn begin(&mut self, header: Header) -> Result<(), OpenError> {
        let Header {
            number, first_seq, ..
        } = header;
        if !std::mem::replace(&mut self.begun, true) {
            // What came before is deleted, so it was acknowledged.
            self.read.acked = Acked::below(first_seq);
            self.read.next = first_seq;
            return Ok(());
        }
        if first_seq < self.read.next {
            return self.damaged(number, 0, Lost::Contradiction);
        }
        self.skip_to(first_seq, number, 0)
    }

    fn entries(&mut self, header: &Header, bytes: &[u8]) -> Result<(), OpenError> {
        let number = header.number;
        for item in Scan::new(bytes, header.salt, header::LEN) {
            match item.entry {
                Some(Entry::Record { seq, .. }) if (self.read.next..NUMBER_MAX).contains(&seq) => {
                    self.skip_to(seq, number, item.from)?;
                    self.read.next = seq + 1;
                    self.hole = false;
                }
                Some(Entry::Ack { first, last }) if first <= last && last < self.acked_max() => {
                    // Beyond those that are known, it speaks of some that were in the hole.
                    if last >= self.read.next {
                        self.skip_to(last + 1, number, item.from)?;
                    }
                    self.read.acked.insert(first..=last);
                }
                Some(_) => self.damaged(number, item.from, Lost::Contradiction)?,
                None => {
                    self.hole = true;
                    let bytes = Lost::Bytes((item.to - item.from) as u64);
                    self.damaged(number, item.from, bytes)?;
                }
            }
        }
        Ok(())
    }

    /// Up to which record an acknowledgement makes sense.
    fn acked_max(&self) -> u64 {
        if self.hole {
            NUMBER_MAX
        } else {
            self.read.next
        }
    }

    /// Takes `seq` as the next number; those before it that were not met are lost.
    fn skip_to(&mut self, seq: u64, segment: u64, offset: usize) -> Result<(), OpenError> {
        let next = self.read.next;
        if seq > next {
            let lost: RangeInclusive<u64> = next..=seq - 1;
            // Nobody can acknowledge them any more.
            self.read.acked.insert(lost.clone());
            self.read.next = seq;
            let records = Lost::Records {
                first: *lost.start(),
                last: *lost.end(),
            };
            self.damaged(segment, offset, records)?;
        }
        Ok(())
    }

    fn damaged(&mut self, segment: u64, offset: usize, lost: Lost) -> Result<(), OpenError> {
        let damage = Damage {
            segment,
            offset: offset as u64,
            lost,
        };
        match self.on_damage {
            OnDamage::Refuse => Err(OpenError::Damaged(damage)),
            OnDamage::Skip => {
                self.read.report.found(damage);
                Ok(())
            }
        }
    }

    fn finish(self) -> Read {
        let mut read = self.read;
        read.report.records = read.acked.missing(read.next);
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for number in [0, 1, 0xabc, NUMBER_MAX] {
            assert_eq!(super::number(&name(number)), Some(number));
        }
        let others = [
            "1.segment",
            "000000000000ABCD.segment",
            "lock",
            "",
            ".segment",
        ];
        assert!(others.iter().all(|name| number(name).is_none()));
        assert_eq!(number(&name(NUMBER_MAX + 1)), None);
    }
}
