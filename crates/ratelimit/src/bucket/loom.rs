//! Every interleaving of checks and slots with a change of the quota.

use std::time::Duration;

use ::loom::sync::Arc;

use super::*;

const START: Instant = Instant::from_nanos(1_000);

/// `burst` at once and next to nothing afterwards, in units of 1/`scale` ns.
fn quota(scale: u64, burst: u64) -> Quota {
    let quota = Quota::new(scale, Duration::from_secs(3_600)).unwrap();
    quota.with_burst(burst).unwrap()
}

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(test);
}

/// A check is decided before the change or after it, and what it took is neither lost nor taken
/// twice: with as much used as before, the burst grows from 2 to 4, and all is admitted that is.
#[test]
fn a_check_during_a_change_is_taken_once() {
    model(|| {
        let bucket = Arc::new(Bucket::of_tokens(quota(7, 2)));
        let thread = ::loom::thread::spawn({
            let bucket = bucket.clone();
            move || {
                let first = bucket.check(START, 1).is_ok();
                (
                    u64::from(first) + u64::from(bucket.check(START, 1).is_ok()),
                    (),
                )
            }
        });
        assert!(bucket.set_policy(quota(11, 4).into(), START, Inherit::Additive));
        let (there, ()) = thread.join().unwrap();
        assert_eq!(there, 2);
        assert_eq!(bucket.peek(START).limit(), 4);
        assert_eq!(bucket.peek(START).remaining(), 2);
    });
}

/// A reset forgives what was taken before it; a check that comes after is counted.
#[test]
fn a_check_during_a_reset_is_forgiven_or_counted() {
    model(|| {
        let bucket = Arc::new(Bucket::of_tokens(quota(7, 1)));
        assert!(bucket.check(START, 1).is_ok());
        let thread = ::loom::thread::spawn({
            let bucket = bucket.clone();
            move || u64::from(bucket.check(START, 1).is_ok())
        });
        assert!(bucket.set_policy(quota(11, 1).into(), START, Inherit::Reset));
        let there = thread.join().unwrap();
        assert_eq!(bucket.peek(START).remaining(), 1 - there);
    });
}

/// Two threads take slots, and one gives its own back: whoever is behind keeps its moment.
#[test]
fn a_slot_that_is_given_back_is_never_held_twice() {
    model(|| {
        let bucket = Arc::new(Bucket::of_tokens(quota(1, 1)));
        assert!(bucket.check(START, 1).is_ok());
        let thread = ::loom::thread::spawn({
            let bucket = bucket.clone();
            move || {
                let claim = bucket.reserve(START, 1, u64::MAX).unwrap().unwrap();
                claim.ready_after
            }
        });
        let claim = bucket.reserve(START, 1, u64::MAX).unwrap().unwrap();
        let given_back = bucket.cancel(START, &claim);
        let there = thread.join().unwrap();
        let next = bucket.reserve(START, 1, u64::MAX).unwrap().unwrap();
        assert_ne!(next.ready_after, there);
        if !given_back {
            assert_ne!(next.ready_after, claim.ready_after);
        }
    });
}

/// A refund gives nothing back behind which someone was promised a slot, however they meet.
#[test]
fn a_refund_leaves_a_promised_slot() {
    model(|| {
        let bucket = Arc::new(Bucket::of_tokens(quota(1, 1)));
        assert!(bucket.check(START, 1).is_ok());
        let thread = ::loom::thread::spawn({
            let bucket = bucket.clone();
            move || {
                let claim = bucket.reserve(START, 1, u64::MAX).unwrap().unwrap();
                claim.ready_after
            }
        });
        bucket.refund(START, 1);
        let there = thread.join().unwrap();
        let next = bucket.reserve(START, 1, u64::MAX).unwrap().unwrap();
        assert!(next.ready_after > there, "{} {there}", next.ready_after);
    });
}

/// Who gives his slot back takes his promise with him, and nobody else's.
#[test]
fn a_slot_given_back_leaves_what_another_was_promised() {
    model(|| {
        let bucket = Arc::new(Bucket::of_tokens(quota(1, 1)));
        assert!(bucket.check(START, 1).is_ok());
        let thread = ::loom::thread::spawn({
            let bucket = bucket.clone();
            move || {
                let claim = bucket.reserve(START, 1, u64::MAX).unwrap().unwrap();
                bucket.cancel(START, &claim)
            }
        });
        let here = bucket.reserve(START, 1, u64::MAX).unwrap().unwrap();
        thread.join().unwrap();
        bucket.refund(START, 5);
        let next = bucket.reserve(START, 1, u64::MAX).unwrap().unwrap();
        assert!(next.ready_after > here.ready_after);
    });
}
