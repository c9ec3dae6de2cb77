//! One cache line of a keyed limiter: four buckets and a lock.

use crate::gcra::{Gcra, Moment};
use crate::sync::{AtomicU64, Ordering, fence, pause};

/// Buckets in a line.
pub(super) const SLOTS: usize = 4;

/// The lock of the line; only in the tag of its first slot.
const LOCKED: u64 = 1;
/// The slot holds, or held, a bucket.
const USED: u64 = 1 << 1;
const ERA_SHIFT: u32 = 2;
const ERA: u64 = 0xff << ERA_SHIFT;
const FINGERPRINT: u64 = !0x3ff;

/// Four buckets in 64 bytes, so that a check touches one cache line.
///
/// Writers hold the lock. Readers do not: they read a tag, its TAT, and the tag again.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Line {
    slots: [Slot; SLOTS],
}

/// A bucket of one key.
#[derive(Debug)]
struct Slot {
    /// Whose bucket this is, and when it was last touched.
    ///
    /// | bits | meaning |
    /// |---|---|
    /// | 63–10 | fingerprint of the key |
    /// | 9–2 | era of the last touch, modulo 256 (36 years of the finest units) |
    /// | 1 | the slot is used; 0 while it is written for another key |
    /// | 0 | the line is locked (first slot only) |
    tag: AtomicU64,
    /// The TAT, in the quota's units.
    tat: AtomicU64,
}

/// A key's hash, cut to the bits that a tag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) u64);

impl Fingerprint {
    pub(super) fn of(hash: u64) -> Self {
        Self(hash & FINGERPRINT)
    }
}

/// What a slot holds, read as one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    tag: u64,
    tat: u64,
}

impl Entry {
    fn new(key: Fingerprint, era: u64, tat: u64) -> Self {
        Self {
            tag: key.0 | ((era << ERA_SHIFT) & ERA) | USED,
            tat,
        }
    }

    pub(super) fn key(self) -> Option<Fingerprint> {
        (self.tag & USED != 0).then_some(Fingerprint(self.tag & FINGERPRINT))
    }

    /// How far the bucket is from full; 0 is as good as absent.
    pub(super) fn ahead(self, now: Moment) -> u64 {
        let age = now.era.wrapping_sub(self.tag >> ERA_SHIFT) & 0xff;
        match age {
            // This era, the last, or (two threads at the turn of an era) the next.
            0 | 1 | 255 => Gcra::ahead(self.tat, now.units),
            2..128 => 0,
            // The clock went back by more than an era: nothing until it is there again.
            _ => u64::MAX,
        }
    }

    /// How long ago the bucket was full, in units; `None` if eras ago.
    pub(super) fn full_since(self, now: Moment) -> Option<u64> {
        let age = now.era.wrapping_sub(self.tag >> ERA_SHIFT) & 0xff;
        (age < 2).then(|| now.units.wrapping_sub(self.tat))
    }
}

impl Line {
    pub(super) fn new() -> Self {
        let slot = || Slot {
            tag: AtomicU64::new(0),
            tat: AtomicU64::new(0),
        };
        Self {
            slots: [slot(), slot(), slot(), slot()],
        }
    }

    /// The bucket of `key`, without the lock; `None` if it is not here, or is just being written.
    #[inline]
    pub(super) fn find(&self, key: Fingerprint) -> Option<Entry> {
        let mine = |tag: u64| tag & (FINGERPRINT | USED) == key.0 | USED;
        let slot = self
            .slots
            .iter()
            .find(|slot| mine(slot.tag.load(Ordering::Relaxed)))?;
        // Acquire pairs with the Release of the last write: the TAT is this key's, or a later one.
        let tag = slot.tag.load(Ordering::Acquire) & !LOCKED;
        let tat = slot.tat.load(Ordering::Relaxed);
        // Pairs with the Release fence in `replace`: had the TAT been another key's, the load
        // below would see the tag gone.
        fence(Ordering::Acquire);
        let same = slot.tag.load(Ordering::Relaxed) & !LOCKED == tag;
        (same && mine(tag)).then_some(Entry { tag, tat })
    }

    /// Locks the line. Held for a few dozen instructions, in which nobody else's code runs.
    #[inline]
    pub(super) fn lock(&self) -> Locked<'_> {
        let mut spins = 0;
        loop {
            if let Some(locked) = self.try_lock() {
                return locked;
            }
            pause(&mut spins);
        }
    }

    #[inline]
    pub(super) fn try_lock(&self) -> Option<Locked<'_>> {
        let word = &self.slots[0].tag;
        let tag = word.load(Ordering::Relaxed);
        let free = tag & LOCKED == 0;
        // Acquire pairs with the Release of `Locked::drop`: the writes of the holder before are seen.
        let locked = free
            && word
                .compare_exchange(tag, tag | LOCKED, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        locked.then_some(Locked { line: self })
    }
}

/// The right to write a line; ends on drop.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    line: &'a Line,
}

impl Locked<'_> {
    /// Where the bucket of `key` is, and what it holds.
    #[inline]
    pub(super) fn find(&self, key: Fingerprint) -> Option<(usize, Entry)> {
        self.entries().find(|(_, entry)| entry.key() == Some(key))
    }

    /// A slot whose bucket is full again, or that was never used.
    pub(super) fn vacant(&self, now: Moment) -> Option<(usize, Entry)> {
        self.entries().find(|(_, entry)| entry.ahead(now) == 0)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, Entry)> {
        // Relaxed: the lock orders these after the last writes.
        self.line.slots.iter().enumerate().map(|(place, slot)| {
            let tag = slot.tag.load(Ordering::Relaxed) & !LOCKED;
            (
                place,
                Entry {
                    tag,
                    tat: slot.tat.load(Ordering::Relaxed),
                },
            )
        })
    }

    /// Moves on the bucket of `key`, which is at `place` already.
    #[inline]
    pub(super) fn update(&self, place: usize, key: Fingerprint, era: u64, tat: u64) {
        let slot = &self.line.slots[place];
        slot.tat.store(tat, Ordering::Relaxed);
        let tag = Entry::new(key, era, tat).tag;
        slot.tag
            .store(tag | self.lock_bit(place), Ordering::Release);
    }

    /// Gives the slot at `place` to another key.
    pub(super) fn replace(&self, place: usize, key: Fingerprint, era: u64, tat: u64) {
        self.write(place, Entry::new(key, era, tat));
    }

    /// Moves a bucket from another line to `place`.
    pub(super) fn write(&self, place: usize, entry: Entry) {
        let slot = &self.line.slots[place];
        let lock = self.lock_bit(place);
        slot.tag.store(lock, Ordering::Relaxed);
        // A reader that sees the new TAT sees the tag gone; see `Line::find`.
        fence(Ordering::Release);
        slot.tat.store(entry.tat, Ordering::Relaxed);
        slot.tag.store(entry.tag | lock, Ordering::Release);
    }

    fn lock_bit(&self, place: usize) -> u64 {
        if place == 0 { LOCKED } else { 0 }
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        let word = &self.line.slots[0].tag;
        let tag = word.load(Ordering::Relaxed);
        word.store(tag & !LOCKED, Ordering::Release);
    }
}
