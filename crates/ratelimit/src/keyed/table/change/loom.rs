//! Every interleaving of what is done to a bucket, with checks that take no lock.

use ::loom::sync::Arc;

use super::super::loom::{NOW, STEP, World, check, gcra, model, taken};
use super::*;
use crate::gcra::DEBT_MAX;

/// Takes the next slot of `key` for one, however late; tells how many steps late it is.
fn reserve(table: &Table, key: Fingerprint) -> (u64, Claim) {
    let patience = Patience {
        wait_max: DEBT_MAX,
        when_full: WhenFull::Share,
    };
    let (reserved, place) = table.reserve(&gcra(), key.0, NOW, 1, patience);
    assert_eq!(place, Place::Own);
    let (slot, claim) = reserved.unwrap();
    ((slot.as_nanos() - NOW.as_nanos()) / STEP, claim)
}

/// A table with one bucket of which so much is taken (none at all where that is 0), on two threads;
/// returns what they did, and what is taken then.
fn race<A, B: Send + 'static>(
    before: u64,
    one: impl FnOnce(&Table, Fingerprint) -> A,
    other: impl FnOnce(&Table, Fingerprint) -> B + Send + 'static,
) -> (A, B, u64) {
    let mut world = World::new(2);
    let key = world.key((0, 1));
    if before > 0 {
        world.put(0, 2, key, (before * STEP).cast_signed());
    }
    let table = Arc::new(world.table);
    let thread = ::loom::thread::spawn({
        let table = table.clone();
        move || other(&table, key)
    });
    let here = one(&table, key);
    let there = thread.join().unwrap();
    let taken = taken(&table, key).unwrap_or(0);
    (here, there, taken)
}

fn admitted(table: &Table, key: Fingerprint) -> u64 {
    check(table, key, 1).0
}

/// Two are let in at once, one was: the last goes to one of them, and who reserves may come later.
#[test]
fn a_slot_and_a_check_are_never_the_same_one() {
    model(|_| {
        let slot = |table: &Table, key| reserve(table, key).0;
        let (late, admitted, taken) = race(1, slot, admitted);
        assert_eq!((late, taken), (admitted, 2 + admitted));
    });
}

#[test]
fn a_new_key_gets_one_bucket_from_who_reserves_and_who_checks() {
    model(|_| {
        let slot = |table: &Table, key| reserve(table, key).0;
        let (late, admitted, taken) = race(0, slot, admitted);
        assert_eq!((late, admitted, taken), (0, 1, 2));
    });
}

#[test]
fn two_who_reserve_get_a_slot_each() {
    model(|_| {
        let slot = |table: &Table, key| reserve(table, key).0;
        let (one, other, taken) = race(2, slot, slot);
        assert_eq!((one.min(other), one.max(other), taken), (1, 2, 4));
    });
}

/// Who came behind in the meantime keeps what he has, and then the slot stays used.
#[test]
fn a_slot_is_given_back_or_someone_stands_behind_it() {
    model(|_| {
        let give_back = |table: &Table, key: Fingerprint| {
            let (_, claim) = reserve(table, key);
            table.cancel(&gcra(), key.0, NOW, &claim)
        };
        let (back, admitted, taken) = race(0, give_back, admitted);
        assert_eq!((admitted, taken), (1, 2 - u64::from(back)));
    });
}

#[test]
fn what_is_refunded_is_taken_once() {
    model(|_| {
        let refund = |table: &Table, key: Fingerprint| table.refund(&gcra(), key.0, NOW, 1);
        let (back, admitted, taken) = race(2, refund, admitted);
        assert_eq!((back, taken), (1, 1 + admitted));
    });
}

#[test]
fn what_is_forced_adds_to_what_is_taken() {
    model(|_| {
        let force = |table: &Table, key: Fingerprint| {
            table.force(&gcra(), key.0, NOW, 3, WhenFull::Share);
        };
        let ((), admitted, taken) = race(1, force, admitted);
        assert_eq!(taken, 4 + admitted);
    });
}
