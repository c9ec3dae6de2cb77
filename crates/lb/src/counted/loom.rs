use std::sync::atomic::{AtomicUsize, Ordering};

use ::loom::cell::UnsafeCell;
use ::loom::model;
use ::loom::thread;

use super::*;

/// Told and dropped so often, of all that there are in one model. Loom's cell finds a drop that is
/// not ordered after each look at the value.
struct Watched {
    cell: UnsafeCell<u32>,
    seen: &'static [AtomicUsize; 2],
}

impl Watched {
    fn look(&self) {
        // SAFETY: nobody writes but the drop; loom checks that.
        assert_eq!(self.cell.with(|value| unsafe { *value }), 7);
    }
}

impl Waited for Watched {
    fn tell_idle(&self) {
        self.look();
        self.seen[0].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: it is being dropped, so nobody else has it; loom checks that.
        self.cell.with_mut(|value| unsafe { *value = 0 });
        self.seen[1].fetch_add(1, Ordering::Relaxed);
    }
}

fn watched(seen: &'static [AtomicUsize; 2]) -> Kept<Watched> {
    for count in seen {
        count.store(0, Ordering::Relaxed);
    }
    let cell = UnsafeCell::new(7);
    Kept::new(Watched { cell, seen })
}

fn counts(seen: &[AtomicUsize; 2]) -> [usize; 2] {
    seen.each_ref().map(|count| count.load(Ordering::Relaxed))
}

#[test]
fn whoever_is_the_last_frees_the_value_once() {
    static SEEN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    model(|| {
        let kept = watched(&SEEN);
        let call = kept.begin(u32::MAX).expect("any number");
        let there = thread::spawn(move || {
            call.look();
            drop(call);
        });
        let other = kept.begin(u32::MAX).expect("any number");
        drop(kept);
        other.look();
        drop(other);
        there.join().unwrap();
        assert_eq!(counts(&SEEN), [0, 1]);
    });
}

#[test]
fn who_keeps_it_and_a_call_do_not_both_free_it() {
    static SEEN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    model(|| {
        let kept = watched(&SEEN);
        let call = kept.begin(u32::MAX).expect("any number");
        let there = thread::spawn(move || drop(call.keep()));
        kept.look();
        drop(kept);
        there.join().unwrap();
        assert_eq!(counts(&SEEN), [0, 1]);
    });
}

#[test]
fn two_that_want_the_last_place_do_not_both_get_it() {
    static SEEN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    model(|| {
        let kept = watched(&SEEN);
        let there = thread::spawn({
            let kept = kept.clone();
            move || kept.begin(1)
        });
        let here = kept.begin(1);
        let there = there.join().unwrap();
        assert!(here.is_some() != there.is_some());
        drop((here, there));
        assert_eq!(kept.calls(), 0);
    });
}

#[test]
fn a_place_that_is_given_back_can_be_had() {
    static SEEN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    model(|| {
        let kept = watched(&SEEN);
        let call = kept.begin(1).expect("the first");
        let there = thread::spawn(move || drop(call));
        drop(kept.begin(1));
        there.join().unwrap();
        assert_eq!(kept.calls(), 0);
        assert!(kept.begin(1).is_some());
    });
}

#[test]
fn the_last_call_and_who_waits_for_it_do_not_miss_each_other() {
    static SEEN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    model(|| {
        let kept = watched(&SEEN);
        let calls = [kept.begin(u32::MAX), kept.begin(2)].map(|call| call.expect("two"));
        let [there, here] = calls;
        let there = thread::spawn(move || drop(there));
        let idle = kept.is_idle_or_tells();
        assert!(!idle, "this call was not over");
        drop(here);
        there.join().unwrap();
        // Whichever was the last tells, since the flag was set before this one ended.
        assert_eq!(counts(&SEEN), [1, 0]);
        assert_eq!(kept.calls(), 0);
    });
}

/// He that waits may give up, and let go of the value, before the last call tells.
#[test]
fn who_tells_does_not_meet_a_value_that_is_gone() {
    static SEEN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    model(|| {
        let kept = watched(&SEEN);
        let call = kept.begin(u32::MAX).expect("any number");
        let there = thread::spawn(move || drop(call));
        let idle = kept.is_idle_or_tells();
        drop(kept);
        there.join().unwrap();
        assert_eq!(counts(&SEEN), [usize::from(!idle), 1]);
    });
}
