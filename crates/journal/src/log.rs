//! The files of an open journal, and what is known of them; behind the journal's lock.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use stanchion_core::Instant;

use crate::acked::Acked;
use crate::entry::{ACK_LEN, Entry, HEAD_LEN};
use crate::error::{AckError, AppendError, Failed, OpenError, Poisoned, Stopped};
use crate::folder::{File, Folder, write_all_at};
use crate::header::{self, Header};
use crate::recovery::{self, Last, Read, Segment, name};
use crate::{Config, Recovery};

/// What each record reserves, so that there is room for its acknowledgement: that, and a byte, of
/// which enough come together for the head of a segment before acknowledgements need one.
const RESERVE: u64 = ACK_LEN as u64 + 1;
const HEADER_LEN: u64 = header::LEN as u64;

#[derive(Debug)]
pub(crate) struct Log {
    folder: Arc<dyn Folder>,
    config: Config,
    /// In order; the last one is the active one, of which `active` has the file.
    segments: VecDeque<Segment>,
    active: Active,
    acked: Acked,
    /// The number of the next record.
    next: u64,
    /// The lengths of all segments together.
    bytes: u64,
    /// Of all entries, how many have been written since opening, and how many of these are synced.
    written: u64,
    synced: u64,
    /// All records before this one are synced.
    durable: u64,
    /// When the oldest record was written that is not synced; where age matters.
    oldest: Option<Instant>,
    /// The first segment that was not synced when the next one began.
    unsynced_from: Option<u64>,
    poisoned: Option<Poisoned>,
    /// Why a segment could not be deleted that nobody needs.
    unremoved: Option<io::ErrorKind>,
    buffer: Vec<u8>,
}

/// The segment that is written.
#[derive(Debug)]
struct Active {
    file: Arc<dyn File>,
    salt: u64,
    /// How much of it is synced.
    kept: u64,
}

/// What a sync is about to make durable.
#[derive(Debug)]
pub(crate) struct Pending {
    folder: Arc<dyn Folder>,
    file: Arc<dyn File>,
    active: Segment,
    older: Vec<u64>,
    written: u64,
    next: u64,
    with_folder: bool,
}

/// Longer than this, the buffer in which entries are put together is given back.
const BUFFER_KEPT: usize = 1 << 16;

impl Log {
    /// Makes the folder fit for writing, as it was read.
    pub(crate) fn open(
        folder: Arc<dyn Folder>,
        config: Config,
    ) -> Result<(Self, Recovery), OpenError> {
        let read = recovery::read(&*folder, config.on_damage)?;
        let Read {
            mut segments,
            acked,
            next,
            last,
            unborn,
            report,
        } = read;
        if let Some(number) = unborn {
            let removed = folder.remove(&name(number));
            removed.map_err(Failed::at("remove a segment"))?;
        }
        let sync = !config.sync.is_never();
        let active = match (last, segments.back()) {
            (Some(last), Some(segment)) => {
                let active = reopen(&*folder, segment.number, &last, sync)?;
                Some(active).filter(|_| last.intact)
            }
            _ => None,
        };
        if sync {
            for segment in &segments {
                let file = folder.open(&name(segment.number));
                let synced = file.and_then(|file| file.sync());
                synced.map_err(Failed::at("sync a segment"))?;
            }
            folder.sync().map_err(Failed::at("sync the folder"))?;
        }
        let active = match active {
            Some(active) => active,
            None => {
                let number = segments.back().map_or(0, |last| last.number + 1);
                let segment = Segment {
                    number,
                    first_seq: next,
                    len: HEADER_LEN,
                };
                let active = begin(&*folder, segment, sync).map_err(|stopped| match stopped {
                    Begin::Undone(failed) | Begin::Unknown(failed) => failed,
                })?;
                segments.push_back(segment);
                active
            }
        };
        let mut log = Self {
            bytes: segments.iter().map(|segment| segment.len).sum(),
            unsynced_from: None,
            folder,
            config,
            segments,
            active,
            acked,
            next,
            written: 0,
            synced: 0,
            durable: next,
            oldest: None,
            poisoned: None,
            unremoved: None,
            buffer: Vec::new(),
        };
        if log.config.sync.is_never() {
            log.durable = 0;
            log.unsynced_from = log.segments.front().map(|first| first.number);
            log.written = 1;
        }
        log.reclaim();
        Ok((log, report))
    }

    /// Writes a record at the end; nothing is synced yet.
    pub(crate) fn append(
        &mut self,
        bytes: &[u8],
        now: Option<Instant>,
    ) -> Result<u64, AppendError> {
        self.check()?;
        let max = self.config.record_bytes_max();
        if bytes.len() > max {
            let bytes = bytes.len();
            return Err(AppendError::TooLarge { bytes, max });
        }
        let len = (HEAD_LEN + bytes.len()) as u64;
        self.make_room(len)?;
        let seq = self.next;
        self.write(Entry::Record { seq, bytes })?;
        self.next += 1;
        if self.config.sync.interval().is_some() && self.oldest.is_none() {
            self.oldest = now;
        }
        Ok(seq)
    }

    /// Writes that `seqs` are acknowledged, unless they are already.
    pub(crate) fn ack(&mut self, seqs: RangeInclusive<u64>) -> Result<(), AckError> {
        self.check()?;
        let (first, last) = (*seqs.start().max(&self.acked.low()), *seqs.end());
        if last >= self.next {
            let next = self.next;
            return Err(AckError::Unknown { seq: last, next });
        }
        if !self.acked.contains_all(&seqs) {
            // Acknowledgements may fill a segment once more: so many of them share its head.
            let twice = 2 * u64::from(self.config.segment_bytes());
            if self.active_len() + ACK_LEN as u64 > twice {
                self.rotate()?;
            }
            self.write(Entry::Ack { first, last })?;
            self.acked.insert(first..=last);
        }
        self.reclaim();
        Ok(self.check()?)
    }

    pub(crate) fn acked(&self) -> &Acked {
        &self.acked
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn segments(&self) -> &VecDeque<Segment> {
        &self.segments
    }

    pub(crate) fn unremoved(&self) -> Option<io::ErrorKind> {
        self.unremoved
    }

    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.oldest
    }

    /// All records before this one are synced.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// How many entries were written, and how many of them are synced.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.written, self.synced)
    }

    /// Whether anything may still be done.
    pub(crate) fn check(&self) -> Result<(), Poisoned> {
        self.poisoned.clone().map_or(Ok(()), Err)
    }

    /// Does nothing any more.
    pub(crate) fn poison(&mut self, failed: &Failed) -> Poisoned {
        let poisoned = Poisoned::by(failed);
        self.poisoned.get_or_insert(poisoned).clone()
    }

    /// What has to be synced now.
    pub(crate) fn pending(&self) -> Pending {
        let active = self.active_segment();
        let older = self.segments.iter().map(|segment| segment.number);
        let unsynced = |&number: &u64| {
            number != active.number && self.unsynced_from.is_some_and(|from| from <= number)
        };
        Pending {
            folder: Arc::clone(&self.folder),
            file: Arc::clone(&self.active.file),
            active,
            older: older.filter(unsynced).collect(),
            written: self.written,
            next: self.next,
            with_folder: self.config.sync.is_never(),
        }
    }

    /// Takes note that `done` is durable.
    pub(crate) fn synced(&mut self, done: &Pending, now: Option<Instant>) {
        if self.active_segment().number == done.active.number {
            self.active.kept = self.active.kept.max(done.active.len);
        }
        self.synced = self.synced.max(done.written);
        self.durable = self.durable.max(done.next);
        // Those that came meanwhile are as old as this sync at most; later, to be exact.
        self.oldest = self.oldest.and(now).filter(|_| self.durable < self.next);
        if self
            .unsynced_from
            .is_some_and(|from| from <= done.active.number)
        {
            self.unsynced_from = Some(done.active.number);
        }
    }

    fn active_segment(&self) -> Segment {
        // There always is one.
        self.segments.back().copied().unwrap_or(Segment {
            number: 0,
            first_seq: 0,
            len: 0,
        })
    }

    fn active_len(&self) -> u64 {
        self.active_segment().len
    }

    /// Begins another segment where `len` more would be too many, if there is room for it.
    fn make_room(&mut self, len: u64) -> Result<(), AppendError> {
        loop {
            let active = self.active_len();
            let fresh = active == HEADER_LEN;
            let fits = fresh || active + len <= u64::from(self.config.segment_bytes());
            let head = if fits { 0 } else { HEADER_LEN };
            let unacked = self.acked.missing(self.next) + 1;
            let needed = self.bytes + len + head + unacked * RESERVE;
            let room = needed <= self.config.max_bytes();
            if room && fits {
                return Ok(());
            }
            // With nothing in it that is needed, a segment can go as soon as another has begun. For
            // the head of that there is room: the last record left the segment half of `max_bytes`
            // long at most, and what acknowledgements added is less than was reserved for them.
            if room || (!fresh && self.acked.low() == self.next) {
                self.rotate()?;
            } else {
                let max_bytes = self.config.max_bytes();
                return Err(AppendError::Full { max_bytes });
            }
        }
    }

    fn write(&mut self, entry: Entry<'_>) -> Result<(), Stopped> {
        let len = self.active_len();
        // What is never synced is not lost by a crash but with all that comes after it.
        let kept = if self.config.sync.is_never() {
            len
        } else {
            self.active.kept
        };
        self.buffer.clear();
        // A segment is shorter than 2³² bytes.
        let kept = u32::try_from(kept).unwrap_or(0);
        entry.encode(self.active.salt, kept, &mut self.buffer);
        if let Err(error) = write_all_at(&*self.active.file, &self.buffer, len) {
            let undone = self.active.file.set_len(len);
            undone.map_err(|error| self.poison(&Failed::new("take a write back", error)))?;
            return Err(Stopped::Failed(Failed::new("write", error)));
        }
        let written = self.buffer.len() as u64;
        self.buffer.shrink_to(BUFFER_KEPT);
        if let Some(active) = self.segments.back_mut() {
            active.len += written;
        }
        self.bytes += written;
        self.written += 1;
        Ok(())
    }

    /// Begins another segment. The one before is synced first, so that what is lost in a loss of
    /// power is always lost from the end.
    fn rotate(&mut self) -> Result<(), Stopped> {
        let sync = !self.config.sync.is_never();
        if sync && self.synced < self.written {
            let pending = self.pending();
            let done = pending.sync();
            done.map_err(|failed| self.poison(&failed))?;
            self.synced(&pending, None);
        }
        let segment = Segment {
            number: self.active_segment().number + 1,
            first_seq: self.next,
            len: HEADER_LEN,
        };
        match begin(&*self.folder, segment, sync) {
            Ok(active) => self.active = active,
            Err(Begin::Undone(failed)) => return Err(Stopped::Failed(failed)),
            Err(Begin::Unknown(failed)) => return Err(self.poison(&failed).into()),
        }
        self.segments.push_back(segment);
        self.bytes += HEADER_LEN;
        self.reclaim();
        Ok(self.check()?)
    }

    /// Deletes the segments at the beginning of which nothing is needed. One after the other, each
    /// for good before the next: so what a loss of power brings back misses nothing in its middle.
    fn reclaim(&mut self) {
        self.unremoved = None;
        while let (Some(&first), Some(second)) = (self.segments.front(), self.segments.get(1)) {
            if self.poisoned.is_some() || second.first_seq > self.acked.low() {
                return;
            }
            match self.folder.remove(&name(first.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.unremoved = Some(error.kind());
                    return;
                }
                _ => {}
            }
            self.segments.pop_front();
            self.bytes -= first.len;
            if let Err(error) = self.folder.sync() {
                self.poison(&Failed::new("sync the folder", error));
            }
        }
    }
}

impl Pending {
    /// Makes it durable; takes as long as the disk does.
    pub(crate) fn sync(&self) -> Result<(), Failed> {
        for &number in &self.older {
            match self.folder.open(&name(number)) {
                // Nobody needs it any more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => opened
                    .and_then(|file| file.sync())
                    .map_err(Failed::at("sync a segment"))?,
            }
        }
        self.file.sync().map_err(Failed::at("sync"))?;
        if self.with_folder {
            self.folder.sync().map_err(Failed::at("sync the folder"))?;
        }
        Ok(())
    }
}

/// Goes on with a segment from before.
///
/// It is written over itself before it is synced: where a sync had failed, the kernel takes pages
/// for clean that never reached the disk, and would not write them.
fn reopen(folder: &dyn Folder, number: u64, last: &Last, sync: bool) -> Result<Active, Failed> {
    let file = folder.open(&name(number));
    let file = file.map_err(Failed::at("open a segment"))?;
    let len = last.bytes.len() as u64;
    file.set_len(len)
        .map_err(Failed::at("cut a torn segment"))?;
    if sync {
        let written = write_all_at(&*file, &last.bytes, 0);
        written.map_err(Failed::at("write a segment over itself"))?;
    }
    Ok(Active {
        file: file.into(),
        salt: last.salt,
        kept: len,
    })
}

/// How beginning a segment failed.
enum Begin {
    /// There is nothing left of it.
    Undone(Failed),
    Unknown(Failed),
}

fn begin(folder: &dyn Folder, segment: Segment, sync: bool) -> Result<Active, Begin> {
    let name = name(segment.number);
    let file = folder.create(&name);
    let file = file.map_err(|error| Begin::Undone(Failed::new("create a segment", error)))?;
    let header = Header {
        number: segment.number,
        first_seq: segment.first_seq,
        // The keys of a new state are random.
        salt: RandomState::new().hash_one(segment.number),
    };
    if let Err(error) = write_all_at(&*file, &header.encode(), 0) {
        drop(file);
        let failed = Failed::new("write the head of a segment", error);
        return Err(match folder.remove(&name) {
            Ok(()) => Begin::Undone(failed),
            Err(_) => Begin::Unknown(failed),
        });
    }
    if sync {
        let synced = file.sync().and_then(|()| folder.sync());
        synced.map_err(|error| Begin::Unknown(Failed::new("sync a new segment", error)))?;
    }
    Ok(Active {
        file: file.into(),
        salt: header.salt,
        kept: HEADER_LEN,
    })
}
