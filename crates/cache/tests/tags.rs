//! Entries leave by their tags: all of them, at once, and whatever is on its way in.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use stanchion_cache::{Cache, Cause, Refresh, Removed};
use stanchion_core::Clock;
use testkit::Gate;

const SECOND: Duration = Duration::from_secs(1);

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn at_once<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

/// Tagged by their own numbers.
fn tagged() -> Cache<char, u64> {
    let builder = Cache::builder(100);
    let builder = builder.with_tagger(|_: &char, value: &u64| [format!("number:{value}")]);
    builder.build().unwrap()
}

/// Waits at the gate, and then is `value`.
fn load(gate: &Gate, value: u64) -> impl FnOnce() -> Loading + Send + 'static + use<> {
    let gate = gate.clone();
    move || {
        Box::pin(async move {
            gate.pass().await;
            value
        })
    }
}

type Loading = Pin<Box<dyn Future<Output = u64> + Send>>;

#[test]
fn what_bears_a_tag_leaves_with_it_and_nothing_else() {
    let cache = Cache::new(100);
    cache.insert_tagged('a', 1, ["x", "y"]);
    cache.insert_tagged('b', 2, ["y", "y", "z"]);
    cache.insert('c', 3);
    assert_eq!(cache.invalidate_tag("none"), 0);
    assert_eq!(cache.invalidate_tag("x"), 1);
    assert_eq!(
        (cache.get(&'a'), cache.get(&'b'), cache.get(&'c')),
        (None, Some(2), Some(3))
    );
    assert_eq!(cache.invalidate_tags(["x", "y", "z"]), 1);
    assert_eq!(cache.len(), 1);
    assert_eq!(cache.snapshot().removed(Cause::Explicit), 2);
}

#[test]
fn a_value_that_is_replaced_takes_its_tags_along() {
    let cache = tagged();
    cache.insert_tagged('a', 1, ["x"]);
    cache.insert('a', 2);
    assert_eq!(cache.invalidate_tags(["x", "number:1"]), 0);
    assert_eq!(
        cache.compute(&'a', |value| value.map(|value| value + 1)),
        Some(3)
    );
    assert_eq!(cache.invalidate_tag("number:2"), 0);
    assert_eq!(cache.invalidate_tag("number:3"), 1);
    cache.insert_tagged_for('a', 4, ["x"], SECOND);
    assert_eq!(cache.invalidate_tag("x"), 1);
}

#[test]
fn more_tags_than_an_entry_may_bear_are_refused_and_the_old_value_goes() {
    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    let refused = move |removed: &Removed<u32, u32>| {
        if removed.cause == Cause::Refused {
            count.fetch_add(1, Ordering::SeqCst);
        }
    };
    let cache = Cache::builder(10).with_observer(refused).build().unwrap();
    let tags = |count: u32| (0..count).map(|tag| tag.to_string());
    cache.insert_tagged(1, 1, tags(16));
    assert_eq!(cache.get(&1), Some(1));
    cache.insert_tagged(1, 2, tags(17));
    assert_eq!(cache.get(&1), None);
    assert_eq!(told.load(Ordering::SeqCst), 1);
    // Twice the same is one.
    cache.insert_tagged(1, 3, tags(16).chain(tags(16)));
    assert_eq!(cache.invalidate_tag("15"), 1);
}

#[test]
fn a_purge_wins_over_a_load_that_is_under_way_and_spares_others() {
    let (cache, gate) = (tagged(), Gate::new());
    let mut one = pin!(cache.get_or_load(&'a', load(&gate, 1)));
    let mut two = pin!(cache.get_or_load(&'b', load(&gate, 2)));
    assert!(poll(one.as_mut()).is_pending());
    assert!(poll(two.as_mut()).is_pending());
    assert_eq!(cache.invalidate_tag("number:1"), 0);
    // Who asks from now on is not served by a load from before.
    let mut late = pin!(cache.get_or_load(&'a', load(&Gate::new(), 1)));
    assert!(poll(late.as_mut()).is_pending());
    assert_eq!(cache.snapshot().joined_loads, 0);
    gate.open_all();
    assert_eq!((at_once(one).unwrap(), at_once(two).unwrap()), (1, 2));
    assert_eq!((cache.get(&'a'), cache.get(&'b')), (None, Some(2)));
}

#[test]
fn a_load_that_began_after_the_purge_is_kept() {
    let (cache, gate) = (tagged(), Gate::new());
    let mut before = pin!(cache.get_or_load(&'a', load(&Gate::new(), 1)));
    assert!(poll(before.as_mut()).is_pending());
    cache.invalidate_tag("number:1");
    let mut after = pin!(cache.get_or_load(&'b', load(&gate, 1)));
    assert!(poll(after.as_mut()).is_pending());
    gate.open_all();
    assert_eq!(at_once(after).unwrap(), 1);
    assert_eq!(cache.get(&'b'), Some(1));
}

#[test]
fn more_purges_than_are_remembered_outdate_every_load() {
    let builder = Cache::builder(100).with_shards(1);
    let cache = builder
        .with_tagger(|_: &char, value: &u64| [value.to_string()])
        .build()
        .unwrap();
    for (purges, kept) in [(64, Some(1_000_000)), (65, None)] {
        let gate = Gate::new();
        cache.remove(&'a');
        let mut waits = pin!(cache.get_or_load(&'a', load(&gate, 1_000_000)));
        assert!(poll(waits.as_mut()).is_pending());
        (0..purges).for_each(|tag| assert_eq!(cache.invalidate_tag(&tag.to_string()), 0));
        gate.open_all();
        assert_eq!(at_once(waits).unwrap(), 1_000_000);
        assert_eq!(cache.get(&'a'), kept, "{purges} purges");
    }
}

#[test]
fn a_purge_wins_over_a_refresh_and_forgets_errors() {
    let (clock, time) = Clock::manual();
    let gate = Gate::new();
    let loader = {
        let gate = gate.clone();
        move |key: u64| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                if key == 13 {
                    Err("no such number")
                } else {
                    Ok(key)
                }
            }
        }
    };
    let (cache, mut refresher) = Cache::builder(100)
        .with_clock(clock)
        .with_time_to_live(10 * SECOND)
        .with_error_time(|_: &&str| Some(SECOND))
        .with_tagger(|_: &u64, value: &u64| [value.to_string()])
        .loading(loader)
        .with_refresh(Refresh::after(0.5).unwrap())
        .build()
        .unwrap();
    cache.cache().insert(7, 7);
    time.advance(6 * SECOND);
    assert_eq!(at_once(cache.get_or_load(&7)).unwrap(), 7);
    assert!(poll(Pin::new(&mut refresher)).is_pending());
    assert_eq!(cache.cache().invalidate_tag("7"), 1);
    gate.open_all();
    assert!(poll(Pin::new(&mut refresher)).is_pending());
    assert_eq!(cache.cache().get(&7), None);

    gate.stay_open();
    assert!(at_once(cache.get_or_load(&13)).is_err());
    gate.close();
    assert!(at_once(cache.get_or_load(&13)).is_err(), "it is kept");
    cache.cache().invalidate_tag("anything");
    assert!(poll(pin!(cache.get_or_load(&13))).is_pending());
}

#[test]
fn no_entry_outlives_a_purge_that_came_after_it() {
    let cache = Cache::<u64, u64>::builder(256)
        .with_shards(4)
        .with_tagger(|_: &u64, value: &u64| [format!("round:{value}")])
        .build()
        .unwrap();
    let round = AtomicU64::new(0);
    thread::scope(|scope| {
        for start in 0..2 {
            let (cache, round) = (&cache, &round);
            scope.spawn(move || {
                for key in 0..20_000 {
                    let load = || round.load(Ordering::SeqCst);
                    cache
                        .get_or_load_blocking(&((key * 7 + start) % 512), load)
                        .unwrap();
                }
            });
        }
        for old in 0..200 {
            // What is loaded from here on is of the next round.
            round.store(old + 1, Ordering::SeqCst);
            cache.invalidate_tag(&format!("round:{old}"));
            let left = cache.iter().find(|(_, value)| *value <= old);
            assert_eq!(left, None);
        }
    });
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, BTreeSet<u32>),
    Remove(u32),
    Purge(u32),
    Resize(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let tags = proptest::collection::btree_set(0..6_u32, 0..4);
    prop_oneof![
        6 => (0..40_u32, tags).prop_map(|(key, tags)| Op::Insert(key, tags)),
        2 => (0..40_u32).prop_map(Op::Remove),
        2 => (0..6_u32).prop_map(Op::Purge),
        1 => (1..30_u64).prop_map(Op::Resize),
    ]
}

proptest! {
    #[test]
    fn a_purge_takes_what_a_naive_list_of_tags_says(
        ops in proptest::collection::vec(op(), 1..200),
        shards in prop_oneof![Just(1_usize), Just(4)],
    ) {
        let cache = Cache::<u32, u32>::builder(20).with_shards(shards).build().unwrap();
        let mut tags: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Insert(key, own) => {
                    cache.insert_tagged(key, key, own.iter().map(u32::to_string));
                    tags.insert(key, own);
                }
                Op::Remove(key) => {
                    cache.remove(&key);
                    tags.remove(&key);
                }
                Op::Purge(tag) => {
                    let bearers: Vec<_> = tags
                        .iter()
                        .filter(|(_, own)| own.contains(&tag))
                        .map(|(key, _)| *key)
                        .collect();
                    let purged = cache.invalidate_tag(&tag.to_string());
                    prop_assert_eq!(purged, bearers.len() as u64);
                    bearers.iter().for_each(|key| drop(tags.remove(key)));
                }
                Op::Resize(capacity) => cache.resize(capacity),
            }
            // The policy chooses who else leaves.
            tags.retain(|key, _| cache.contains(key));
            prop_assert_eq!(tags.len() as u64, cache.len());
        }
    }
}
