use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

/// Counts how often it was told, and how often dropped.
struct Watched(Arc<[AtomicUsize; 2]>);

impl Waited for Watched {
    fn tell_idle(&self) {
        self.0[0].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0[1].fetch_add(1, Ordering::Relaxed);
    }
}

fn watched() -> (Kept<Watched>, impl Fn() -> [usize; 2]) {
    let seen: Arc<[AtomicUsize; 2]> = Arc::default();
    let kept = Kept::new(Watched(seen.clone()));
    (kept, move || {
        seen.each_ref().map(|count| count.load(Ordering::Relaxed))
    })
}

#[test]
fn a_call_keeps_the_value_and_the_last_one_frees_it() {
    let (kept, seen) = watched();
    let call = kept.begin(u32::MAX).expect("any number");
    drop(kept);
    assert_eq!(seen(), [0, 0]);
    let kept = call.keep();
    drop(call);
    assert_eq!((kept.calls(), seen()), (0, [0, 0]));
    drop(kept);
    assert_eq!(seen(), [0, 1]);
}

#[test]
fn there_are_no_more_calls_than_the_most() {
    let (kept, _) = watched();
    let _two = [kept.begin(2), kept.begin(2)].map(|call| call.expect("two"));
    assert!(kept.begin(2).is_none());
    assert!(kept.begin(3).is_some(), "and it is over at once");
    assert_eq!(kept.calls(), 2);
}

#[test]
fn calls_that_are_forgotten_run_into_no_other_count() {
    let (kept, _) = watched();
    kept.inner()
        .word
        .fetch_add(CALLS_MAX - 1, Ordering::Relaxed);
    std::mem::forget(kept.begin(u32::MAX).expect("the last one"));
    assert!(kept.begin(u32::MAX).is_none());
    assert!(kept.begin(u32::MAX - 1).is_none());
    assert_eq!(u64::from(kept.calls()), CALLS_MAX);
}

#[cfg(feature = "tokio")]
#[test]
fn the_last_call_tells_and_only_once() {
    let (kept, seen) = watched();
    assert!(kept.is_idle_or_tells());
    let calls = [kept.begin(u32::MAX), kept.begin(u32::MAX)];
    assert!(!kept.is_idle_or_tells());
    for call in calls {
        assert_eq!(seen(), [0, 0]);
        drop(call);
    }
    assert_eq!(seen(), [1, 0]);
    drop(kept.begin(u32::MAX));
    assert_eq!(seen(), [1, 0]);
}

/// Who waited may be gone when the last call ends, and all else with him.
#[cfg(feature = "tokio")]
#[test]
fn who_tells_keeps_the_value_that_long() {
    let (kept, seen) = watched();
    let call = kept.begin(u32::MAX);
    assert!(!kept.is_idle_or_tells());
    drop(kept);
    drop(call);
    assert_eq!(seen(), [1, 1]);
}

#[derive(Clone, Debug)]
enum Step {
    Keep,
    Begin(u32),
    Let(usize),
    End(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Keep),
        prop_oneof![Just(u32::MAX), 0..6u32].prop_map(Step::Begin),
        any::<usize>().prop_map(Step::Let),
        any::<usize>().prop_map(Step::End),
    ]
}

proptest! {
    /// An `Arc` and a count beside it do the same.
    #[test]
    fn the_two_counts_are_those_of_an_arc_and_a_number(steps in proptest::collection::vec(step(), 0..60)) {
        let (first, seen) = watched();
        let (mut kept, mut calls) = (vec![first], Vec::new());
        let oracle = Arc::new(());
        let mut owners = vec![oracle.clone()];
        let oracle = Arc::downgrade(&{ oracle });
        let mut ends = Vec::new();
        for step in steps {
            match step {
                Step::Keep => {
                    if let Some(one) = kept.first() {
                        kept.push(one.clone());
                        owners.push(owners[0].clone());
                    }
                }
                Step::Begin(max) => {
                    if let Some(one) = kept.first() {
                        let call = one.begin(max);
                        prop_assert_eq!(call.is_some(), calls.len() < max as usize);
                        ends.extend(call.is_some().then(|| owners[0].clone()));
                        calls.extend(call);
                    }
                }
                Step::Let(any) if !kept.is_empty() => {
                    kept.swap_remove(any % kept.len());
                    owners.pop();
                }
                Step::End(any) if !calls.is_empty() => {
                    calls.swap_remove(any % calls.len());
                    ends.pop();
                }
                Step::Let(_) | Step::End(_) => {}
            }
            if let Some(one) = kept.first() {
                prop_assert_eq!(one.calls() as usize, ends.len());
            }
            prop_assert_eq!(seen()[1] == 0, oracle.strong_count() > 0);
        }
    }
}
