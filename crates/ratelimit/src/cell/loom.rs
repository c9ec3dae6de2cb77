//! Every interleaving of a few checks.

use std::time::Duration;

use ::loom::sync::Arc;
use stanchion_core::Instant;

use super::*;
use crate::Quota;
use crate::gcra::Kind;

/// The finest units, hence the shortest eras.
fn gcra(burst: u64) -> Gcra {
    let quota = Quota::new(1021, Duration::from_secs(1)).unwrap();
    Gcra::new(&quota.with_burst(burst).unwrap())
}

/// Makes `before` the cell's history, then runs the two lists of checks, each a moment and a cost,
/// on a thread each; returns what all of the costs that were admitted add up to.
fn admitted(gcra: Gcra, before: &[Check], one: &'static [Check], other: &'static [Check]) -> u64 {
    let cell = Arc::new(Cell::new());
    let sum = move |cell: &Cell, checks: &[Check]| {
        let admits = |(now, cost): &&Check| cell.check(&gcra, *now, *cost).kind == Kind::Admitted;
        checks.iter().filter(admits).map(|(_, cost)| cost).sum()
    };
    let _: u64 = sum(&cell, before);
    let thread = ::loom::thread::spawn({
        let cell = cell.clone();
        move || sum(&cell, other)
    });
    let here: u64 = sum(&cell, one);
    let there: u64 = thread.join().unwrap();
    // Nothing was lost: the word tells what was taken.
    let latest = one.iter().chain(other).map(|(now, _)| *now).max().unwrap();
    assert!(gcra.remaining(cell.peek(&gcra, latest)) <= gcra.burst() - here - there);
    here + there
}

type Check = (Instant, u64);

const fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

const START: Instant = at(1_000);
/// The first moment of the second era, the last of the first, and one four eras on, when the units
/// have wrapped and what was taken at [`START`] reads as if it had just been.
const TURN: Instant = at(1 << 52);
const BEFORE_TURN: Instant = at((1 << 52) - 1);
const LATER: Instant = at(START.as_nanos() + u64::MAX / 1021);

#[test]
fn one_of_two_threads_gets_the_last_one() {
    ::loom::model(|| {
        let sum = admitted(gcra(1), &[], &[(START, 1)], &[(START, 1)]);
        assert_eq!(sum, 1);
    });
}

#[test]
fn two_of_four_checks_get_the_last_two() {
    ::loom::model(|| {
        let twice = &[(START, 1), (START, 1)];
        assert_eq!(admitted(gcra(2), &[], twice, twice), 2);
    });
}

#[test]
fn a_cost_is_taken_whole_or_not_at_all() {
    ::loom::model(|| {
        let sum = admitted(gcra(3), &[], &[(START, 2)], &[(START, 2), (START, 1)]);
        assert_eq!(sum, 3);
    });
}

#[test]
fn two_threads_that_find_a_forgotten_bucket_share_one_burst() {
    ::loom::model(|| {
        let twice = &[(LATER, 1), (LATER, 1)];
        assert_eq!(admitted(gcra(2), &[(START, 2)], twice, twice), 2);
    });
}

/// Who sees the new era sees the word emptied for it.
#[test]
fn nobody_is_refused_for_what_was_taken_eras_ago() {
    ::loom::model(|| {
        let sum = admitted(gcra(2), &[(START, 2)], &[(LATER, 1)], &[(LATER, 1)]);
        assert_eq!(sum, 2);
    });
}

#[test]
fn the_turn_of_an_era_keeps_what_was_taken_just_before() {
    ::loom::model(|| {
        let before = &[(BEFORE_TURN, 1)];
        let sum = admitted(gcra(2), before, &[(TURN, 1)], &[(TURN, 1)]);
        assert_eq!(sum, 1);
    });
}

#[test]
fn two_threads_on_both_sides_of_the_turn_of_an_era_share_one_burst() {
    ::loom::model(|| {
        let sum = admitted(
            gcra(2),
            &[(BEFORE_TURN, 1)],
            &[(BEFORE_TURN, 1)],
            &[(TURN, 1)],
        );
        assert_eq!(sum, 1);
    });
}

/// The TAT has passed long ago, and both threads raise it to now.
#[test]
fn an_idle_bucket_at_the_turn_of_an_era_admits_one_burst() {
    ::loom::model(|| {
        let twice = &[(TURN, 1), (TURN, 1)];
        assert_eq!(admitted(gcra(2), &[(START, 2)], twice, twice), 2);
    });
}
