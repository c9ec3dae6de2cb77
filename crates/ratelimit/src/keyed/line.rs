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
const SIDE_SHIFT: u32 = 10;
/// The TAT stands with its highest bit flipped.
const SIDE: u64 = 1 << SIDE_SHIFT;
const FINGERPRINT: u64 = !0x7ff;
/// The bit that tells how a TAT stands on one side from how any TAT of these years does on the
/// other.
const FLIP: u64 = 1 << 63;

/// Four buckets in 64 bytes, so that a check touches one cache line.
///
/// Whoever moves a bucket on swaps its TAT, without a lock. Whoever gives a slot to another key
/// holds the lock, and first makes sure that nobody can swap the old TAT any more. For that a TAT
/// stands on one of two *sides*, as it is or with its highest bit flipped, and each time that a
/// slot is given away it changes sides:
///
/// ```text
/// swap:     read tag, TAT, tag again; then TAT: old → new, only if it still stands as it was read
/// replace:  tag := only the side;  TAT: flip;  TAT := new, flipped;  tag := new, other side
/// ```
///
/// A swap that read the old TAT before the flip fails after it: TATs that are met lie within 2⁶²
/// units of now, so none on one side stands as any on the other, whichever keys they belong to. A
/// swap that reads the TAT after the flip sees the tag gone. (Sides alone would not tell a slot
/// that was given away twice during one swap and then reached the very same TAT.)
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
    /// | 63–11 | fingerprint of the key |
    /// | 10 | the side of the TAT |
    /// | 9–2 | era of the last touch, modulo 256 (36 years of the finest units) |
    /// | 1 | the slot is used; 0 while it is written for another key |
    /// | 0 | the line is locked (first slot only) |
    tag: AtomicU64,
    /// The TAT, in the quota's units; on the other side with its highest bit flipped.
    tat: AtomicU64,
}

/// What a TAT is combined with to stand on the side that a tag tells.
#[inline]
fn side(tag: u64) -> u64 {
    (tag & SIDE) << (u64::BITS - 1 - SIDE_SHIFT)
}

/// A key's hash, cut to the bits that a tag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) u64);

impl Fingerprint {
    pub(super) fn of(hash: u64) -> Self {
        Self(hash & FINGERPRINT)
    }
}

/// Whether a tag, locked or not, tells a bucket of `key`.
#[inline]
fn is_of(tag: u64, key: Fingerprint) -> bool {
    tag & (FINGERPRINT | USED) == key.0 | USED
}

/// What a slot holds, read as one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    tag: u64,
    tat: u64,
}

impl Entry {
    pub(super) fn new(key: Fingerprint, era: u64, tat: u64) -> Self {
        Self {
            tag: key.0 | ((era << ERA_SHIFT) & ERA) | USED,
            tat,
        }
    }

    pub(super) fn key(self) -> Option<Fingerprint> {
        (self.tag & USED != 0).then_some(Fingerprint(self.tag & FINGERPRINT))
    }

    /// Whether the bucket was last touched in this era, so that its TAT alone may move on.
    #[inline]
    pub(super) fn is_of_era(self, now: Moment) -> bool {
        self.tag & ERA == (now.era << ERA_SHIFT) & ERA
    }

    /// The TAT, which means what it says in the era of the last touch.
    #[inline]
    pub(super) fn tat(self) -> u64 {
        self.tat
    }

    /// How far the bucket is from full; 0 is as good as absent.
    pub(super) fn ahead(self, now: Moment) -> u64 {
        let age = now.era.wrapping_sub(self.tag >> ERA_SHIFT) & 0xff;
        match age {
            // This era, the last, or (two threads at the turn of an era) the next.
            0 | 1 | 255 => Gcra::ahead(self.tat, now.units),
            // Up to 34 years ago.
            2..240 => 0,
            // The clock went back by more than an era: nothing until it is there again.
            _ => u64::MAX,
        }
    }

    /// How long ago the bucket was full, in units; `None` if eras ago.
    pub(super) fn full_since(self, now: Moment) -> Option<u64> {
        let age = now.era.wrapping_sub(self.tag >> ERA_SHIFT) & 0xff;
        (age < 2).then(|| now.units.wrapping_sub(self.tat))
    }

    fn idle(self, now: Moment) -> u64 {
        match self.key() {
            None => u64::MAX,
            Some(_) => self.full_since(now).unwrap_or(u64::MAX - 1),
        }
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

    /// The place of the bucket of `key`; looks at all four, since where it stands is not to be
    /// guessed by the processor.
    #[inline]
    fn place_of(&self, key: Fingerprint) -> Option<usize> {
        let found = |place: usize| {
            let tag = self.slots[place].tag.load(Ordering::Relaxed);
            usize::from(is_of(tag, key)) << place
        };
        let places = found(0) | found(1) | found(2) | found(3);
        (places != 0).then(|| places.trailing_zeros() as usize % SLOTS)
    }

    /// The bucket of `key` and its place, without the lock; `None` if it is not here, or is just
    /// being written.
    #[inline]
    pub(super) fn find(&self, key: Fingerprint) -> Option<(usize, Entry)> {
        let place = self.place_of(key)?;
        let slot = &self.slots[place];
        // Acquire pairs with the Release of the last write: the TAT is this key's, or a later one.
        let before = slot.tag.load(Ordering::Acquire);
        let tat = slot.tat.load(Ordering::Relaxed);
        // Pairs with the Release in `seize`, `take_out` and `put`: had the TAT been flipped or
        // another key's, the load below would see the tag gone.
        fence(Ordering::Acquire);
        let tag = slot.tag.load(Ordering::Relaxed);
        let same = (before ^ tag) & !LOCKED == 0;
        if !same || !is_of(tag, key) {
            return None;
        }
        let (tag, tat) = (tag & !LOCKED, tat ^ side(tag));
        Some((place, Entry { tag, tat }))
    }

    /// Moves the bucket at `place` on from `entry`; fails if it was moved, or given to another
    /// key, since it was read.
    #[inline]
    pub(super) fn swap(&self, place: usize, entry: Entry, tat: u64) -> bool {
        let side = side(entry.tag);
        // Relaxed: the TAT is all there is; nothing else is published through it.
        self.slots[place]
            .tat
            .compare_exchange(
                entry.tat ^ side,
                tat ^ side,
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
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
        // Not `then_some`: a guard that is made in vain unlocks the line under its holder.
        locked.then(|| Locked { line: self })
    }
}

/// A slot that another key may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vacant {
    pub(super) place: usize,
    /// What the slot still holds.
    pub(super) entry: Entry,
    /// How long its bucket has been full, in units; most for a slot that was never used.
    pub(super) idle: u64,
}

/// The right to write a line; ends on drop.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    line: &'a Line,
}

impl Locked<'_> {
    /// Where the bucket of `key` is, and what it holds.
    pub(super) fn find(&self, key: Fingerprint) -> Option<(usize, Entry)> {
        self.line
            .place_of(key)
            .map(|place| (place, self.entry(place)))
    }

    #[inline]
    fn entry(&self, place: usize) -> Entry {
        // Relaxed: the lock orders the tag after its last write. The TAT may be swapped any time.
        let slot = &self.line.slots[place];
        let tag = slot.tag.load(Ordering::Relaxed) & !LOCKED;
        let tat = slot.tat.load(Ordering::Relaxed) ^ side(tag);
        Entry { tag, tat }
    }

    /// The slot that another key may have, with how long its bucket has been full: one that was
    /// never used, else the one that was full the longest. Its owner is the least likely to come
    /// back and need a new place.
    pub(super) fn vacant(&self, now: Moment) -> Option<Vacant> {
        let free = self.entries().filter(|(_, entry)| entry.ahead(now) == 0);
        let vacant = free.map(|(place, entry)| Vacant {
            place,
            entry,
            idle: entry.idle(now),
        });
        vacant.max_by_key(|vacant| vacant.idle)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, Entry)> {
        (0..SLOTS).map(|place| (place, self.entry(place)))
    }

    /// Takes the slot at `place` from its key, if it is as full as when it was looked at. Until
    /// it is written again, nobody finds it.
    pub(super) fn seize(&self, place: usize, entry: Entry) -> bool {
        let slot = &self.line.slots[place];
        self.clear_tag(place, entry.tag);
        let tat = entry.tat ^ side(entry.tag);
        // Release pairs with the Acquire fence in `Line::find`: who reads the flipped TAT sees the
        // tag gone.
        let seized = slot
            .tat
            .compare_exchange(tat, tat ^ FLIP, Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if !seized {
            slot.tag
                .store(entry.tag | self.lock_bit(place), Ordering::Release);
        }
        seized
    }

    /// Takes the slot at `place` from its key, with what the bucket holds by then.
    pub(super) fn take_out(&self, place: usize) -> Entry {
        let slot = &self.line.slots[place];
        let tag = slot.tag.load(Ordering::Relaxed) & !LOCKED;
        self.clear_tag(place, tag);
        // Release: as in `seize`.
        let tat = slot.tat.fetch_xor(FLIP, Ordering::Release) ^ side(tag);
        Entry { tag, tat }
    }

    /// Writes a bucket to the slot at `place`, which was seized or taken out.
    pub(super) fn put(&self, place: usize, entry: Entry) {
        let slot = &self.line.slots[place];
        // Relaxed: only who holds the lock writes tags.
        let left = slot.tag.load(Ordering::Relaxed) & SIDE;
        let tag = (entry.tag & !SIDE) | (left ^ SIDE);
        // Release, as the flip before it: whoever reads this TAT next to the old tag, and then the
        // tag again, sees it gone. A relaxed store would end the flip's release sequence.
        slot.tat.store(entry.tat ^ side(tag), Ordering::Release);
        // Release pairs with the Acquire in `Line::find`: who sees the tag sees its TAT.
        slot.tag
            .store(tag | self.lock_bit(place), Ordering::Release);
    }

    /// Leaves the side of the TAT, and nothing to be found.
    fn clear_tag(&self, place: usize, tag: u64) {
        let cleared = (tag & SIDE) | self.lock_bit(place);
        self.line.slots[place].tag.store(cleared, Ordering::Relaxed);
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

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    const KEY: Fingerprint = Fingerprint(7 << 20);

    #[test]
    fn a_bucket_that_nobody_touched_for_thirty_years_is_full() {
        for (age, ahead) in [(0, 5), (1, 5), (2, 0), (211, 0), (239, 0)] {
            let entry = Entry::new(KEY, 300, 5);
            let now = Moment {
                units: 0,
                era: 300 + age,
            };
            assert_eq!(entry.ahead(now), ahead, "{age} eras on");
        }
    }

    #[test]
    fn a_clock_that_went_back_by_eras_finds_nothing_to_take() {
        for (back, ahead) in [(1, 5), (2, u64::MAX), (15, u64::MAX)] {
            let entry = Entry::new(KEY, 300, 5);
            let now = Moment {
                units: 0,
                era: 300 - back,
            };
            assert_eq!(entry.ahead(now), ahead, "{back} eras back");
        }
    }

    /// Each time that a slot is given away its TAT changes sides: a swap that was read before
    /// fails, even where the new bucket has the very TAT of the old one.
    #[test]
    fn a_swap_fails_once_its_slot_was_given_away() {
        let line = Line::new();
        line.lock().put(2, Entry::new(KEY, 0, 5));
        let (place, read) = line.find(KEY).unwrap();
        assert_eq!((place, read.tat), (2, 5));
        let other = Fingerprint(8 << 20);
        let locked = line.lock();
        assert_eq!(locked.take_out(2).tat, 5);
        locked.put(2, Entry::new(other, 0, 5));
        drop(locked);
        assert!(!line.swap(2, read, 6));
        let (_, read) = line.find(other).unwrap();
        assert_eq!(read.tat, 5);
        assert!(line.swap(2, read, 6));
        assert!(line.find(KEY).is_none());
    }

    /// A failed attempt made a guard and dropped it, and so unlocked the line under its holder: two
    /// threads then gave one new key two buckets.
    #[test]
    fn a_failed_attempt_leaves_the_line_locked() {
        let line = Line::new();
        let holder = line.lock();
        assert!(line.try_lock().is_none());
        assert!(line.try_lock().is_none());
        drop(holder);
        assert!(line.try_lock().is_some());
        assert!(line.try_lock().is_some());
    }
}
