//! Every interleaving of a few checks on a tiny table with hashes of our choice.

use std::time::Duration;

use ::loom::sync::Arc;

use super::*;
use crate::Quota;
use crate::gcra::Kind;

pub(super) const NOW: Instant = Instant::from_nanos(1_000_000_000_000);
pub(super) const STEP: u64 = 1_000;

/// Two at once, one every [`STEP`] nanoseconds.
pub(super) fn gcra() -> Gcra {
    let quota = Quota::new(1, Duration::from_nanos(STEP)).unwrap();
    Gcra::new(&quota.with_burst(2).unwrap())
}

/// A table of two or three lines that holds buckets from the start.
pub(super) struct World {
    pub(super) table: Table,
    used: Vec<Fingerprint>,
}

impl World {
    pub(super) fn new(lines: usize) -> Self {
        let table = Table::new(lines * 5 / 2);
        assert_eq!(table.lines.len(), lines);
        Self {
            table,
            used: Vec::new(),
        }
    }

    /// A key with these two homes, in this order, that no call before returned.
    pub(super) fn key(&mut self, homes: (usize, usize)) -> Fingerprint {
        let candidates = (1_u64..).map(|n| Fingerprint::of(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let unused = |key: &Fingerprint| !self.used.contains(key);
        let mut fitting = candidates
            .filter(unused)
            .filter(|key| self.table.homes(*key) == homes);
        let key = fitting.next().unwrap();
        self.used.push(key);
        key
    }

    /// Puts a bucket of `key` that is `ahead` (or behind) of [`NOW`] to a place.
    pub(super) fn put(&self, line: usize, place: usize, key: Fingerprint, ahead: i64) {
        let now = gcra().moment(NOW);
        let tat = now.units.wrapping_add_signed(ahead);
        let locked = self.table.lines[line].lock();
        locked.put(place, Entry::new(key, now.era, tat));
    }

    /// Fills a line from `place` on with drained buckets of keys that live there and in line 0 or
    /// 1, so that none can move while a new key holds those two.
    fn fill(&mut self, line: usize, place: usize) {
        for place in place..SLOTS {
            let key = self.key((line, usize::from(line == 0)));
            self.put(line, place, key, 2 * i64::try_from(STEP).unwrap());
        }
    }
}

/// Checks `key` so often, and says how many of its own bucket and of the overflow cell were
/// admitted.
pub(super) fn check(table: &Table, key: Fingerprint, times: usize) -> (u64, u64) {
    let mut admitted = (0, 0);
    for _ in 0..times {
        let decision = table.check(&gcra(), key.0, || NOW, 1, WhenFull::Share);
        match (decision.kind, decision.place) {
            (Kind::Admitted, Place::Own) => admitted.0 += 1,
            (Kind::Admitted, _) => admitted.1 += 1,
            _ => {}
        }
    }
    admitted
}

/// What was taken from the bucket of `key`, wherever it stands; `None` if it has none.
pub(super) fn taken(table: &Table, key: Fingerprint) -> Option<u64> {
    let now = gcra().moment(NOW);
    let all = table.lines.iter();
    let mut found: Vec<_> = all
        .filter_map(|line| line.lock().find(key))
        .map(|(_, entry)| entry.ahead(now))
        .collect();
    assert!(found.len() <= 1, "a key has two buckets");
    found.pop().map(|ahead| ahead / STEP)
}

/// Runs `check` with both keys on a thread each; returns what they got.
fn race(
    table: &Arc<Table>,
    one: (Fingerprint, usize),
    other: (Fingerprint, usize),
    first: First,
) -> [(u64, u64); 2] {
    let (here, there) = match first {
        First::One => (one, other),
        First::Other => (other, one),
    };
    let thread = ::loom::thread::spawn({
        let table = table.clone();
        move || check(&table, there.0, there.1)
    });
    let here = check(table, here.0, here.1);
    let there = thread.join().unwrap();
    match first {
        First::One => [here, there],
        First::Other => [there, here],
    }
}

/// Which of two threads loom lets run first. It then looks hardest at what the other one may see.
#[derive(Clone, Copy)]
pub(super) enum First {
    One,
    Other,
}

pub(super) fn model(model: impl Fn(First) + Send + Sync + Copy + 'static) {
    for first in [First::One, First::Other] {
        ::loom::model(move || model(first));
    }
}

#[test]
fn a_new_key_gets_one_bucket_from_two_threads() {
    model(|first| {
        let mut world = World::new(2);
        let key = world.key((0, 1));
        let table = Arc::new(world.table);
        let got = race(&table, (key, 2), (key, 1), first);
        assert_eq!(got[0].0 + got[1].0, 2);
        assert_eq!(taken(&table, key), Some(2));
    });
}

#[test]
fn two_threads_share_what_a_bucket_has_left() {
    model(|first| {
        let mut world = World::new(2);
        let key = world.key((1, 0));
        world.put(0, 2, key, 1_000);
        let table = Arc::new(world.table);
        let got = race(&table, (key, 1), (key, 1), first);
        assert_eq!(got[0].0 + got[1].0, 1);
        assert_eq!(taken(&table, key), Some(2));
    });
}

/// Two new keys that meet in both lines, from either end.
#[test]
fn two_new_keys_get_a_bucket_each() {
    model(|first| {
        let mut world = World::new(2);
        let (one, other) = (world.key((0, 1)), world.key((1, 0)));
        world.fill(0, 2);
        world.fill(1, 0);
        let table = Arc::new(world.table);
        let got = race(&table, (one, 1), (other, 1), first);
        assert_eq!(got, [(1, 0), (1, 0)]);
        assert_eq!(
            (taken(&table, one), taken(&table, other)),
            (Some(1), Some(1))
        );
    });
}

/// The only place is one whose bucket is full again. Its owner comes back just as a new key takes
/// it: one of them has it in the end, with what it was admitted and nothing else.
fn swap_against_replace(place: usize) {
    model(move |first| {
        let mut world = World::new(2);
        let (old, new) = (world.key((0, 1)), world.key((0, 1)));
        world.fill(0, 0);
        world.fill(1, 0);
        world.put(0, place, old, -1);
        let table = Arc::new(world.table);
        let got = race(&table, (old, 1), (new, 1), first);
        for (key, (own, overflow)) in [(old, got[0]), (new, got[1])] {
            assert_eq!(own + overflow, 1);
            let taken = taken(&table, key).unwrap_or(0);
            assert_eq!(taken, own, "{key:?} of {old:?} and {new:?}: {got:?}");
        }
        assert_eq!(got[0].0 + got[1].0, 1);
    });
}

#[test]
fn a_place_goes_to_its_owner_or_to_a_new_key() {
    swap_against_replace(3);
}

/// The first tag of a line is also its lock.
#[test]
fn a_first_place_goes_to_its_owner_or_to_a_new_key() {
    swap_against_replace(0);
}

/// A new key moves a bucket to its other line while its owner takes from it. The new bucket gets
/// the very TAT that the moved one had.
fn move_against_swap(place: usize) {
    model(move |first| {
        let mut world = World::new(3);
        let (moved, new) = (world.key((0, 2)), world.key((0, 1)));
        world.fill(0, 0);
        world.fill(1, 0);
        world.put(0, place, moved, i64::try_from(STEP).unwrap());
        let table = Arc::new(world.table);
        let got = race(&table, (moved, 1), (new, 1), first);
        assert_eq!(got, [(1, 0), (1, 0)]);
        assert_eq!(taken(&table, moved), Some(2));
        assert_eq!(taken(&table, new), Some(1));
        assert_eq!(check(&table, moved, 1), (0, 0));
    });
}

#[test]
fn a_bucket_that_moves_keeps_what_is_taken_from_it() {
    move_against_swap(2);
}

#[test]
fn a_bucket_that_moves_from_the_first_place_keeps_what_is_taken_from_it() {
    move_against_swap(0);
}

/// The same for one that moves so that another one can move.
#[test]
fn a_bucket_that_moves_behind_another_keeps_what_is_taken_from_it() {
    model(|first| {
        let mut world = World::new(4);
        let (behind, moved) = (world.key((2, 3)), world.key((0, 2)));
        let new = world.key((0, 1));
        world.fill(0, 1);
        world.fill(1, 0);
        world.fill(2, 1);
        world.put(0, 0, moved, i64::try_from(STEP).unwrap());
        world.put(2, 0, behind, i64::try_from(STEP).unwrap());
        let table = Arc::new(world.table);
        let got = race(&table, (behind, 1), (new, 1), first);
        assert_eq!(got, [(1, 0), (1, 0)]);
        let taken = [behind, moved, new].map(|key| taken(&table, key));
        assert_eq!(taken, [Some(2), Some(1), Some(1)]);
    });
}

/// A drained bucket is moved away for a new key, which another thread finds at once: it never reads
/// its own tag with what the drained bucket left.
#[test]
fn a_new_key_is_not_refused_for_what_stood_in_its_place() {
    model(|first| {
        let mut world = World::new(3);
        let (drained, new) = (world.key((0, 2)), world.key((0, 1)));
        world.fill(0, 1);
        world.fill(1, 0);
        world.put(0, 0, drained, 2 * i64::try_from(STEP).unwrap());
        let table = Arc::new(world.table);
        let got = race(&table, (new, 1), (new, 1), first);
        assert_eq!(got, [(1, 0), (1, 0)]);
        assert_eq!(taken(&table, drained), Some(2));
    });
}

/// One place for two new keys: the other one shares the overflow cell.
#[test]
fn the_last_place_goes_to_one_of_two_new_keys() {
    model(|first| {
        let mut world = World::new(2);
        let (one, other) = (world.key((0, 1)), world.key((1, 0)));
        world.fill(0, 1);
        world.fill(1, 0);
        let table = Arc::new(world.table);
        let got = race(&table, (one, 1), (other, 1), first);
        assert_eq!(got[0].0 + got[1].0, 1);
        assert_eq!(got[0].1 + got[1].1, 1);
        for (key, (own, _)) in [(one, got[0]), (other, got[1])] {
            assert_eq!(taken(&table, key).unwrap_or(0), own);
        }
    });
}

/// A bucket that was last touched in the era before is written with both lines locked.
#[test]
fn two_threads_at_the_turn_of_an_era_share_what_a_bucket_has_left() {
    ::loom::model(|| {
        let quota = Quota::new(1021, Duration::from_secs(1)).unwrap();
        let gcra = Gcra::new(&quota.with_burst(2).unwrap());
        let turn = gcra.start_of(1);
        let before = turn - Duration::from_nanos(1);
        let table = Arc::new(Table::new(1));
        let admits = move |table: &Table, now: Instant| {
            let decision = table.check(&gcra, 0x1234_5678_9abc_def0, || now, 1, WhenFull::Share);
            u64::from(decision.kind == Kind::Admitted)
        };
        assert_eq!(admits(&table, before), 1);
        let thread = ::loom::thread::spawn({
            let table = table.clone();
            move || admits(&table, turn) + admits(&table, turn)
        });
        let here = admits(&table, before);
        assert_eq!(here + thread.join().unwrap(), 1);
        assert_eq!(admits(&table, turn), 0);
    });
}

/// Who looks while a place changes hands sees the old bucket or the new one, never one's tag with
/// the other's TAT.
#[test]
fn a_peek_sees_one_bucket_whole() {
    model(|first| {
        let mut world = World::new(2);
        let (old, new) = (world.key((0, 1)), world.key((0, 1)));
        world.fill(0, 0);
        world.fill(1, 0);
        world.put(0, 1, old, -5_000);
        let table = Arc::new(world.table);
        let peeker = table.clone();
        let peek = move || assert_eq!(peeker.peek(&gcra(), old.0, NOW), 0);
        let taker = table.clone();
        let take = move || assert_eq!(check(&taker, new, 2), (2, 0));
        match first {
            First::One => {
                let taking = ::loom::thread::spawn(take);
                peek();
                taking.join().unwrap();
            }
            First::Other => {
                let peeking = ::loom::thread::spawn(peek);
                take();
                peeking.join().unwrap();
            }
        }
        assert_eq!(table.peek(&gcra(), new.0, NOW), 2 * STEP);
    });
}
