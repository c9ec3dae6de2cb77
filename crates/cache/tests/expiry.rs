//! Entries expire by a clock that is moved by hand.

use std::time::Duration;

use stanchion_cache::{Cache, CacheBuilder, Cause, InvalidCache};
use stanchion_core::{Clock, ManualClock};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than the step in which deadlines are kept.
const MILLI: Duration = Duration::from_millis(1);

fn builder(capacity: u64) -> (CacheBuilder<u32, u32>, ManualClock) {
    let (clock, time) = Clock::manual();
    time.advance(Duration::from_secs(1000));
    (Cache::builder(capacity).with_clock(clock), time)
}

#[test]
fn an_entry_is_found_until_its_time_to_live_is_over() {
    let (builder, time) = builder(10);
    let cache = builder.with_time_to_live(SECOND).build().expect("valid");
    cache.insert(1, 10);
    time.advance(SECOND - MILLI);
    assert_eq!(cache.get(&1), Some(10));
    assert!(cache.contains(&1));
    time.advance(MILLI);
    assert!(!cache.contains(&1));
    assert_eq!(cache.iter().count(), 0);
    assert_eq!(cache.get(&1), None);
    assert_eq!(cache.len(), 0, "the read took it out");
    let snapshot = cache.snapshot();
    assert_eq!(snapshot.removed(Cause::Expired), 1);
    assert_eq!((snapshot.hits, snapshot.misses), (1, 1));
}

#[test]
fn an_insertion_starts_the_time_anew_and_a_read_does_not() {
    let (builder, time) = builder(10);
    let cache = builder.with_time_to_live(SECOND).build().expect("valid");
    cache.insert(1, 10);
    time.advance(SECOND / 2);
    assert_eq!(cache.insert(1, 11), Some(10));
    time.advance(SECOND / 2);
    assert_eq!(cache.get(&1), Some(11));
    time.advance(SECOND / 2);
    assert_eq!(cache.get(&1), None);
}

#[test]
fn time_to_idle_runs_from_the_last_read() {
    let (builder, time) = builder(10);
    let cache = builder.with_time_to_idle(SECOND).build().expect("valid");
    cache.insert(1, 10);
    cache.insert(2, 20);
    for _ in 0..5 {
        time.advance(SECOND - MILLI);
        assert_eq!(cache.get(&1), Some(10));
    }
    assert_eq!(cache.get(&2), None);
    time.advance(SECOND);
    assert_eq!(cache.get(&1), None);
}

#[test]
fn looking_whether_it_is_there_is_no_use() {
    let (builder, time) = builder(10);
    let cache = builder.with_time_to_idle(SECOND).build().expect("valid");
    cache.insert(1, 10);
    time.advance(SECOND - MILLI);
    assert!(cache.contains(&1));
    time.advance(MILLI);
    assert_eq!(cache.get(&1), None);
}

#[test]
fn an_entry_may_have_a_time_of_its_own() {
    let (builder, time) = builder(10);
    let cache = builder
        .with_time_to_live(SECOND)
        .with_expire_after(|key: &u32, _: &u32| (*key == 2).then_some(2 * SECOND))
        .build()
        .expect("valid");
    cache.insert(1, 10);
    cache.insert(2, 20);
    cache.insert_for(3, 30, 3 * SECOND);
    cache.insert_for(4, 40, Duration::MAX);
    cache.insert_for(5, 50, Duration::ZERO);
    let there = || {
        (1..=5)
            .filter(|key| cache.contains(key))
            .collect::<Vec<_>>()
    };
    assert_eq!(there(), [1, 2, 3, 4]);
    time.advance(SECOND);
    assert_eq!(there(), [2, 3, 4]);
    time.advance(SECOND);
    assert_eq!(there(), [3, 4]);
    time.advance(SECOND);
    assert_eq!(there(), [4]);
    time.advance(Duration::from_secs(100 * 365 * 86_400));
    assert_eq!(there(), [4]);
}

#[test]
fn an_expired_value_that_is_replaced_or_removed_is_not_given_out() {
    let (builder, time) = builder(10);
    let cache = builder.with_time_to_live(SECOND).build().expect("valid");
    cache.insert(1, 10);
    cache.insert(2, 20);
    time.advance(SECOND);
    assert_eq!(cache.remove(&1), None);
    assert_eq!(cache.insert(2, 21), None);
    assert_eq!(cache.snapshot().removed(Cause::Expired), 2);
    assert_eq!(cache.get(&2), Some(21));
}

#[test]
fn insertions_reclaim_what_expired_and_so_does_who_asks() {
    let (builder, time) = builder(1000);
    let cache = builder.with_time_to_live(SECOND).build().expect("valid");
    for key in 0..400 {
        cache.insert(key, 0);
    }
    time.advance(SECOND);
    for key in 1000..1100 {
        cache.insert(key, 0);
    }
    assert!(cache.len() <= 101, "four places for each insertion");
    time.advance(SECOND);
    let count: u64 = (0..50).map(|_| cache.reclaim(10)).sum();
    assert_eq!(cache.len(), 0);
    assert_eq!(cache.snapshot().removed(Cause::Expired), 500);
    assert!(count >= 100);
}

#[test]
fn jitter_shortens_by_its_part_at_most_and_spreads() {
    let (builder, time) = builder(1000);
    let cache = builder
        .with_time_to_live(10 * SECOND)
        .with_jitter(0.5)
        .build()
        .expect("valid");
    for key in 0..1000 {
        cache.insert(key, 0);
    }
    time.advance(5 * SECOND - MILLI);
    assert_eq!(cache.iter().count(), 1000);
    time.advance(5 * SECOND / 2);
    let half = cache.iter().count();
    assert!((400..600).contains(&half), "{half} of 1000");
    time.advance(5 * SECOND / 2 + MILLI);
    assert_eq!(cache.iter().count(), 0);
}

#[test]
fn what_cannot_be_is_refused_and_named() {
    let refused = |builder: CacheBuilder<u32, u32>| builder.build().map(drop).unwrap_err();
    let (builder, _) = builder(10);
    let cases = [
        (
            builder.clone().with_time_to_live(Duration::ZERO),
            "time_to_live is 0, and must be more",
        ),
        (
            builder.clone().with_time_to_idle(Duration::ZERO),
            "time_to_idle is 0, and must be more",
        ),
        (
            builder.clone().with_jitter(f64::NAN),
            "jitter is NaN, and must be at least 0 and below 1",
        ),
        (
            builder.clone().with_jitter(1.0),
            "jitter is 1, and must be at least 0 and below 1",
        ),
        (
            builder.clone().with_shards(3),
            "shards is 3, and must be a power of two from 1 to 64",
        ),
    ];
    for (builder, message) in cases {
        assert_eq!(refused(builder).to_string(), message);
    }
    assert_eq!(
        refused(builder.with_shards(0)),
        InvalidCache::Shards { shards: 0 }
    );
}
