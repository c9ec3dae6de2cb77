//! A hash table of buckets that never grows and is never swept.
//!
//! A bucket that is full again says nothing that an absent one does not, so its slot is free for
//! the next key that needs one; that is all the collection there is. Each key has two lines where
//! its bucket may stand. If eight other keys fill both, one of them is moved to *its* other line,
//! and if that is full too, one there first to its own; if none can move, the
//! table is full for this key, and [`WhenFull`] says what becomes of it.

mod change;

use stanchion_core::Instant;

use super::line::{Entry, Fingerprint, Line, Locked, SLOTS, Vacant};
use super::scale_down;
use super::when_full::{Place, WhenFull};
use crate::cell::Cell;
use crate::gcra::{Decision, Gcra, Moment, Verdict};
use crate::sync::{AtomicU64, Ordering};
pub(crate) use change::Claim;
pub(super) use change::Patience;

/// Slots for every ten keys: at 70 % almost every new key finds a place in one of its two lines.
const SLOTS_PER_TEN_KEYS: usize = 14;
/// Buckets that may have to move before the one that makes room: a key that finds all full looks
/// at 2 + 8 + 32 lines, and no more.
const MOVES_BEHIND_MAX: usize = 1;
const FLOORS: usize = if cfg!(stanchion_loom) { 1 } else { 64 };

#[derive(Debug)]
pub(super) struct Table {
    lines: Box<[Line]>,
    /// The latest nanosecond at which a bucket that lost its slot had been full, by its
    /// fingerprint. A new bucket starts no earlier, so a clock that goes back finds nothing
    /// forgotten.
    floors: Box<[Floor]>,
    overflow: Cell,
}

#[derive(Debug)]
#[repr(align(64))]
struct Floor(AtomicU64);

impl Table {
    pub(super) fn new(max_keys: usize) -> Self {
        let slots = max_keys.saturating_mul(SLOTS_PER_TEN_KEYS).div_ceil(10);
        let lines = slots.div_ceil(SLOTS).max(2);
        Self {
            lines: (0..lines).map(|_| Line::new()).collect(),
            floors: (0..FLOORS).map(|_| Floor(AtomicU64::new(0))).collect(),
            overflow: Cell::new(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.lines) + size_of_val(&*self.floors)
    }

    /// Buckets that are not full, by reading every line.
    pub(super) fn live(&self, gcra: &Gcra, now: Instant) -> usize {
        let now = gcra.moment(now);
        let live_in = |line: &Line| {
            let locked = line.lock();
            locked
                .entries()
                .filter(|(_, entry)| entry.ahead(now) > 0)
                .count()
        };
        self.lines.iter().map(live_in).sum()
    }

    /// How far the bucket of `hash` is from full.
    pub(super) fn peek(&self, gcra: &Gcra, hash: u64, now: Instant) -> u64 {
        let key = Fingerprint::of(hash);
        let moment = gcra.moment(now);
        let (first, second) = self.homes(key);
        let found = self.lines[first]
            .find(key)
            .or_else(|| self.lines[second].find(key));
        found.map_or_else(
            || {
                let (first, second) = self.lock_both(first, second);
                let found = first.find(key).or_else(|| second.find(key));
                found.map_or_else(
                    || self.floor(gcra, key, now),
                    |(_, entry)| entry.ahead(moment),
                )
            },
            |(_, entry)| entry.ahead(moment),
        )
    }

    /// Tries to check once, where the bucket is found without a lock and was touched in this era; else
    /// `None`, and nothing was done.
    ///
    /// Tells whether it was admitted, and how far the bucket is from full then. The clock is read
    /// after the bucket, as in [`check`](Self::check).
    #[inline(always)]
    pub(super) fn check_once(
        &self,
        gcra: &Gcra,
        hash: u64,
        now: impl FnOnce() -> Instant,
        cost: u64,
    ) -> Option<(bool, u64)> {
        let key = Fingerprint::of(hash);
        let first = self.first_home(key);
        let mut line = &self.lines[first];
        let mut found = line.find(key);
        if found.is_none() {
            line = &self.lines[self.second_home(key, first)];
            found = line.find(key);
        }
        let (place, entry) = found?;
        let moment = gcra.moment(now());
        if !entry.is_of_era(moment) || !gcra.decides(cost) {
            return None;
        }
        let ahead = Gcra::ahead(entry.tat(), moment.units);
        match gcra.fitting(ahead, cost) {
            None => Some((false, ahead)),
            Some(next) => line
                .swap(place, entry, moment.units.wrapping_add(next))
                .then_some((true, next)),
        }
    }

    /// Takes `cost` from the bucket of `hash`, or refuses and writes nothing.
    ///
    /// The clock is read after the bucket: reading it waits for what the processor did before, and
    /// a bucket may be far away in memory.
    #[inline]
    pub(super) fn check(
        &self,
        gcra: &Gcra,
        hash: u64,
        now: impl FnOnce() -> Instant,
        cost: u64,
        when_full: WhenFull,
    ) -> Decision {
        if !gcra.decides(cost) {
            return Decision::beyond(cost, self.peek(gcra, hash, now()));
        }
        let key = Fingerprint::of(hash);
        let (first, second) = self.homes(key);
        let mut line = &self.lines[first];
        let mut found = line.find(key);
        if found.is_none() {
            line = &self.lines[second];
            found = line.find(key);
        }
        let now = now();
        let moment = gcra.moment(now);
        while let Some((place, entry)) = found {
            let ahead = entry.ahead(moment);
            let tat = match gcra.decide(ahead, moment.units, cost) {
                Verdict::Admit(tat) => tat,
                Verdict::Refuse => return Decision::exceeded(ahead),
            };
            if !entry.is_of_era(moment) {
                break;
            }
            if line.swap(place, entry, tat) {
                return Decision::admitted(tat.wrapping_sub(moment.units));
            }
            found = line.find(key);
        }
        self.check_slowly(gcra, key, now, cost, when_full)
    }

    /// The same with both lines locked: the key has no bucket yet, or was not seen this era, or is
    /// just being moved.
    #[cold]
    #[inline(never)]
    fn check_slowly(
        &self,
        gcra: &Gcra,
        key: Fingerprint,
        now: Instant,
        cost: u64,
        when_full: WhenFull,
    ) -> Decision {
        let moment = gcra.moment(now);
        let homes = self.homes(key);
        let both = self.lock_both(homes.0, homes.1);
        for line in [&both.0, &both.1] {
            if let Some((place, _)) = line.find(key) {
                let entry = line.take_out(place);
                let ahead = entry.ahead(moment);
                let verdict = gcra.decide(ahead, moment.units, cost);
                return match verdict {
                    Verdict::Admit(tat) => {
                        line.put(place, Entry::new(key, moment.era, tat));
                        Decision::admitted(tat.wrapping_sub(moment.units))
                    }
                    Verdict::Refuse => {
                        line.put(place, entry);
                        Decision::exceeded(ahead)
                    }
                };
            }
        }
        let ahead = self.floor(gcra, key, now);
        let tat = match gcra.decide(ahead, moment.units, cost) {
            Verdict::Admit(tat) => tat,
            Verdict::Refuse => return Decision::exceeded(ahead),
        };
        let admitted = Decision::admitted(tat.wrapping_sub(moment.units));
        let new = Entry::new(key, moment.era, tat);
        if let Some((line, place)) = self.seize(gcra, &both, homes, now) {
            line.put(place, new);
            return admitted;
        }
        let (line, place, ahead) = Self::soonest(&both, moment);
        match when_full {
            WhenFull::Share => {
                drop(both);
                let decision = self.overflow.check(gcra, now, cost);
                decision.with_place(Place::Shared)
            }
            WhenFull::Deny => Decision::exceeded(ahead).with_place(Place::Denied),
            WhenFull::Evict => {
                line.take_out(place);
                line.put(place, new);
                admitted.with_place(Place::Evicted)
            }
        }
    }

    /// The bucket of two locked lines that will be full the soonest, and how far it is from that.
    fn soonest<'a, 'b>(
        both: &'b (Locked<'a>, Locked<'a>),
        now: Moment,
    ) -> (&'b Locked<'a>, usize, u64) {
        let all = [&both.0, &both.1].into_iter();
        let all = all.flat_map(|line| {
            let ahead = move |(place, entry): (usize, Entry)| (line, place, entry.ahead(now));
            line.entries().map(ahead)
        });
        let soonest = all.min_by_key(|(_, _, ahead)| *ahead);
        soonest.unwrap_or((&both.0, 0, 0))
    }

    /// Fills the bucket of `hash`.
    pub(super) fn reset(&self, gcra: &Gcra, hash: u64, now: Instant) {
        let key = Fingerprint::of(hash);
        let moment = gcra.moment(now);
        let (first, second) = self.homes(key);
        let both = self.lock_both(first, second);
        for line in [&both.0, &both.1] {
            if let Some((place, _)) = line.find(key) {
                line.take_out(place);
                line.put(place, Entry::new(key, moment.era, moment.units));
            }
        }
    }

    /// Finds a slot for a new bucket in one of two locked lines: one that is free, or one whose
    /// bucket can stand elsewhere.
    fn seize<'a, 'b>(
        &self,
        gcra: &Gcra,
        both: &'b (Locked<'a>, Locked<'a>),
        homes: (usize, usize),
        now: Instant,
    ) -> Option<(&'b Locked<'a>, usize)> {
        let moment = gcra.moment(now);
        // Someone may swap a TAT between the look and the seizure; then that slot is free no more.
        // So each round leaves fewer.
        for _ in 0..2 * SLOTS {
            let (one, two) = (both.0.vacant(moment), both.1.vacant(moment));
            let idle = |vacant: Option<Vacant>| vacant.map(|vacant| vacant.idle);
            let (line, vacant) = if idle(one) >= idle(two) {
                (&both.0, one)
            } else {
                (&both.1, two)
            };
            let Some(vacant) = vacant else { break };
            if line.seize(vacant.place, vacant.entry) {
                self.forget(gcra, vacant.entry, now);
                return Some((line, vacant.place));
            }
        }
        (0..=MOVES_BEHIND_MAX).find_map(|behind| {
            [(&both.0, homes.0), (&both.1, homes.1)]
                .into_iter()
                .find_map(|(line, index)| {
                    let place = self.make_room(gcra, line, index, now, behind)?;
                    Some((line, place))
                })
        })
    }

    /// Moves one bucket of a full line to its other home, where up to `behind` others may have to
    /// move first; returns the place that it left.
    fn make_room(
        &self,
        gcra: &Gcra,
        line: &Locked<'_>,
        index: usize,
        now: Instant,
        behind: usize,
    ) -> Option<usize> {
        let moment = gcra.moment(now);
        line.entries().find_map(|(place, entry)| {
            let (one, two) = self.homes(entry.key()?);
            let other_index = if one == index { two } else { one };
            // Never waits: two threads that hold lines of each other would wait for ever. A line
            // that this thread holds itself is passed over too.
            let other = self.lines[other_index].try_lock()?;
            let free = match other.vacant(moment) {
                Some(vacant) => {
                    let seized = other.seize(vacant.place, vacant.entry);
                    seized.then(|| self.forget(gcra, vacant.entry, now))?;
                    vacant.place
                }
                None => {
                    let behind = behind.checked_sub(1)?;
                    self.make_room(gcra, &other, other_index, now, behind)?
                }
            };
            other.put(free, line.take_out(place));
            Some(place)
        })
    }

    /// Remembers, for all keys of its stripe, until when a bucket that loses its slot was not full.
    fn forget(&self, gcra: &Gcra, old: Entry, now: Instant) {
        let Some(key) = old.key() else { return };
        let full_at = match old.full_since(gcra.moment(now)) {
            Some(units) => now - gcra.duration_down(units),
            None => gcra.start_of(gcra.era(now)),
        };
        let floor = &self.floors[stripe(key)].0;
        if full_at.as_nanos() > floor.load(Ordering::Relaxed) {
            floor.fetch_max(full_at.as_nanos(), Ordering::Relaxed);
        }
    }

    /// How far from full a bucket without a slot is taken to be: not at all, unless the clock went
    /// back behind what was forgotten.
    fn floor(&self, gcra: &Gcra, key: Fingerprint, now: Instant) -> u64 {
        let floor = self.floors[stripe(key)].0.load(Ordering::Relaxed);
        gcra.units(floor.saturating_sub(now.as_nanos()))
    }

    /// Locks two lines in the order of their places, so that nobody waits in a circle.
    fn lock_both(&self, first: usize, second: usize) -> (Locked<'_>, Locked<'_>) {
        if first < second {
            let first = self.lines[first].lock();
            (first, self.lines[second].lock())
        } else {
            let second = self.lines[second].lock();
            (self.lines[first].lock(), second)
        }
    }

    /// The two lines in which the bucket of `key` may stand.
    #[inline]
    fn homes(&self, key: Fingerprint) -> (usize, usize) {
        let first = self.first_home(key);
        (first, self.second_home(key, first))
    }

    #[inline]
    fn first_home(&self, key: Fingerprint) -> usize {
        scale_down(key.0, self.lines.len())
    }

    #[inline]
    fn second_home(&self, key: Fingerprint, first: usize) -> usize {
        // Another hash of the same bits (Fibonacci hashing of the folded word).
        let mixed = (key.0 ^ (key.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let second = scale_down(mixed, self.lines.len() - 1);
        second + usize::from(second >= first)
    }
}

fn stripe(key: Fingerprint) -> usize {
    ((key.0 >> 11) % FLOORS as u64) as usize
}

#[cfg(all(test, stanchion_loom))]
mod loom;

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Quota;
    use crate::gcra::Kind;

    /// Buckets that never refill during the test, as many as the table was built for.
    #[test]
    fn every_key_that_the_table_was_built_for_finds_a_place() {
        let gcra = Gcra::new(&Quota::new(1, Duration::from_secs(3600)).unwrap());
        let now = || Instant::ZERO + Duration::from_secs(1);
        let keys = 100_000_u64;
        let table = Table::new(100_000);
        // An odd multiplier scatters the numbers, and none twice.
        let hash = |key: u64| (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for key in 0..keys {
            let decision = table.check(&gcra, hash(key), now, 1, WhenFull::Share);
            assert_eq!(decision.kind, Kind::Admitted);
            assert_eq!(decision.place, Place::Own, "key {key} of {keys}");
        }
        assert_eq!(table.live(&gcra, now()), 100_000);
        for key in 0..keys {
            let decision = table.check(&gcra, hash(key), now, 1, WhenFull::Share);
            assert_eq!(decision.kind, Kind::Exceeded);
        }
    }
}
