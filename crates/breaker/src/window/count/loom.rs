//! Every interleaving of a few calls.

use ::loom::sync::Arc;
use ::loom::thread;

use super::*;

const GOOD: Kind = Kind {
    failed: false,
    slow: false,
};
const FAILED: Kind = Kind {
    failed: true,
    slow: false,
};

/// What the slots of `generation` add up to.
fn in_slots(window: &CountWindow, generation: u64) -> u64 {
    let slots = window.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
    let of_it = slots.filter(|slot| slot >> TAG_SHIFT == tag(generation));
    of_it.map(|slot| u64::from(slot & FAILED.bits())).sum()
}

impl Kind {
    fn bits(self) -> u32 {
        u32::from(self.failed) * super::FAILED
    }
}

/// Records `before`, then one call on a thread each; returns what each was told.
fn race(
    window: CountWindow,
    before: &[Kind],
    (one, other): (Kind, Kind),
) -> (Arc<CountWindow>, [Option<Counts>; 2]) {
    window.begin(1);
    for kind in before {
        window.record(1, *kind);
    }
    let window = Arc::new(window);
    let there = thread::spawn({
        let window = window.clone();
        move || window.record(1, other)
    });
    let here = window.record(1, one);
    let told = [here, there.join().unwrap()];
    (window, told)
}

#[test]
fn the_failure_is_seen_by_whoever_makes_the_calls_enough() {
    for calls in [(FAILED, GOOD), (GOOD, FAILED), (FAILED, FAILED)] {
        ::loom::model(move || {
            let (window, told) = race(CountWindow::new(3, 2), &[], calls);
            let all = window.counts(1);
            assert_eq!(all.total, 2);
            let seen = |counts: &Counts| counts.total == 2 && counts.failed == all.failed;
            assert!(told.iter().flatten().any(seen), "{told:?}");
        });
    }
}

#[test]
fn two_failures_are_not_both_missed_in_a_full_window() {
    ::loom::model(|| {
        let (window, told) = race(CountWindow::new(3, 1), &[GOOD; 3], (FAILED, FAILED));
        assert_eq!(window.counts(1).failed, 2);
        assert!(
            told.iter().flatten().any(|counts| counts.failed == 2),
            "{told:?}"
        );
    });
}

/// Both take the only slot, in either order; the sums are those of the one that stays.
#[test]
fn the_sums_follow_the_slots_when_a_call_is_overtaken_by_a_round() {
    for before in [GOOD, FAILED] {
        ::loom::model(move || {
            let (window, _) = race(CountWindow::new(1, 1), &[before], (FAILED, GOOD));
            let counts = window.counts(1);
            assert_eq!((counts.total, counts.failed), (1, in_slots(&window, 1)));
        });
    }
}

#[test]
fn the_sums_follow_the_slots_when_a_call_comes_a_generation_late() {
    ::loom::model(|| {
        let window = Arc::new(CountWindow::new(1, 1));
        window.begin(1);
        let late = thread::spawn({
            let window = window.clone();
            move || window.record(1, FAILED)
        });
        window.begin(2);
        window.record(2, FAILED);
        late.join().unwrap();
        let counts = window.counts(2);
        assert_eq!((counts.total, counts.failed), (1, in_slots(&window, 2)));
    });
}
