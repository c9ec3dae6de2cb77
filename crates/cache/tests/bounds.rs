//! What is in never exceeds the capacity, in entries or in weight, whatever is done.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;
use stanchion_cache::{Cache, Cause, Policy, Removed};

const POLICIES: [Policy; 7] = [
    Policy::Adaptive,
    Policy::Lru,
    Policy::Lfu,
    Policy::Fifo,
    Policy::Sieve,
    Policy::S3Fifo,
    Policy::WTinyLfu,
];

/// Gathers what leaves.
type Gone = Arc<Mutex<Vec<Removed<u32, u32>>>>;

fn gather() -> (Gone, impl Fn(&Removed<u32, u32>) + Send + Sync + 'static) {
    let gone = Gone::default();
    let into = Arc::clone(&gone);
    (gone, move |removed: &Removed<u32, u32>| {
        into.lock().push(removed.clone());
    })
}

#[derive(Clone, Debug)]
enum Step {
    Get(u32),
    Insert(u32, u32),
    Remove(u32),
    InvalidateBelow(u32),
    Resize(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..60_u32;
    let step = prop_oneof![
        10 => key.clone().prop_map(Step::Get),
        20 => (key.clone(), 0..9_u32).prop_map(|(key, weight)| Step::Insert(key, weight)),
        1 => (key.clone(), 9..90_u32).prop_map(|(key, weight)| Step::Insert(key, weight)),
        4 => key.clone().prop_map(Step::Remove),
        1 => key.prop_map(Step::InvalidateBelow),
        1 => (0..60_u64).prop_map(Step::Resize),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// The value is the weight. A map that is told what left knows what is in.
    #[test]
    fn weight_is_bounded_after_every_step_and_every_entry_is_accounted_for(
        steps in steps(),
        capacity in 0..60_u64,
        policy in prop::sample::select(&POLICIES[..]),
        shards in prop::sample::select(vec![1, 2, 8]),
    ) {
        let (gone, observer) = gather();
        let cache = Cache::builder(capacity)
            .with_policy(policy)
            .with_shards(shards)
            .with_weigher(|_: &u32, value: &u32| *value)
            .with_observer(observer)
            .build()
            .expect("valid");
        let mut capacity = capacity;
        let mut entries = HashMap::new();
        for step in steps {
            match step {
                Step::Get(key) => {
                    prop_assert_eq!(cache.get(&key), entries.get(&key).copied());
                }
                Step::Insert(key, value) => {
                    let before = entries.remove(&key);
                    let replaced = cache.insert(key, value);
                    for removed in gone.lock().drain(..) {
                        match removed.cause {
                            Cause::Refused => {
                                prop_assert!(u64::from(value.max(1)) > capacity);
                                prop_assert_eq!((removed.key, removed.value), (key, value));
                            }
                            Cause::Replaced => prop_assert_eq!(before, Some(removed.value)),
                            Cause::Size => {
                                // The old value of the key may have had to leave before the rest.
                                let was = entries.remove(&removed.key).or(before);
                                prop_assert_eq!(was, Some(removed.value));
                            }
                            other => prop_assert!(false, "left for {:?}", other),
                        }
                    }
                    prop_assert!(replaced.is_none() || replaced == before);
                    if u64::from(value.max(1)) <= capacity {
                        // As heavy as the whole cache is not too heavy, and what came last is there.
                        prop_assert_eq!(cache.get(&key), Some(value));
                        entries.insert(key, value);
                    }
                }
                Step::Remove(key) => {
                    prop_assert_eq!(cache.remove(&key), entries.remove(&key));
                    gone.lock().clear();
                }
                Step::InvalidateBelow(limit) => {
                    let count = cache.invalidate_if(|key, _| *key < limit);
                    let before = entries.len();
                    entries.retain(|key, _| *key >= limit);
                    prop_assert_eq!(count, (before - entries.len()) as u64);
                    gone.lock().clear();
                }
                Step::Resize(to) => {
                    cache.resize(to);
                    capacity = to;
                    for removed in gone.lock().drain(..) {
                        prop_assert_eq!(removed.cause, Cause::Size);
                        prop_assert_eq!(entries.remove(&removed.key), Some(removed.value));
                    }
                }
            }
            let weight = entries.values().map(|value| u64::from((*value).max(1))).sum::<u64>();
            let snapshot = cache.snapshot();
            prop_assert_eq!(snapshot.weight, weight);
            prop_assert_eq!(snapshot.entries, entries.len() as u64);
            prop_assert!(weight <= capacity);
            let listed: HashMap<u32, u32> = cache.iter().collect();
            prop_assert_eq!(&listed, &entries);
        }
    }
}

#[test]
fn a_full_cache_has_exactly_its_capacity_for_any_capacity_and_number_of_shards() {
    for policy in POLICIES {
        for (capacity, shards) in [(1, 1), (100, 1), (137, 8), (1000, 64), (65, 64)] {
            let cache = Cache::builder(capacity)
                .with_policy(policy)
                .with_shards(shards)
                .build()
                .expect("valid");
            for key in 0..5 * capacity {
                cache.insert(key, ());
                assert!(cache.len() <= capacity);
            }
            assert_eq!(cache.len(), capacity, "{policy:?}, {shards} shards");
            assert_eq!(cache.iter().count() as u64, capacity);
        }
    }
}

#[test]
fn capacity_zero_is_off() {
    let cache = Cache::new(0);
    assert_eq!(cache.insert("key", 1), None);
    assert_eq!(cache.get("key"), None);
    assert_eq!(cache.len(), 0);
    assert_eq!(cache.snapshot().removed(Cause::Refused), 1);
}

#[test]
fn an_entry_too_heavy_takes_the_old_value_with_it() {
    let cache = Cache::builder(10)
        .with_weigher(|_: &u8, value: &u32| *value)
        .build()
        .expect("valid");
    cache.insert(1, 4);
    assert_eq!(cache.insert(1, 11), Some(4));
    assert_eq!(cache.get(&1), None);
    assert_eq!(cache.snapshot().removed(Cause::Refused), 1);
    assert_eq!(cache.snapshot().weight, 0);
}

#[test]
fn an_entry_as_heavy_as_the_whole_cache_takes_the_place_of_all_shards() {
    let cache = Cache::builder(1000)
        .with_shards(8)
        .with_weigher(|_: &u32, value: &u32| *value)
        .build()
        .expect("valid");
    for key in 0..1000 {
        cache.insert(key, 1);
    }
    cache.insert(5000, 1000);
    assert_eq!(cache.len(), 1);
    assert_eq!(cache.get(&5000), Some(1000));
    // And it leaves when others need the room, though their shards are empty.
    cache.insert(1, 1);
    assert_eq!(cache.get(&1), Some(1));
    assert_eq!(cache.get(&5000), None);
}

#[test]
fn keys_that_hash_alike_are_told_apart() {
    #[derive(Clone, Copy, Default)]
    struct Same;
    impl std::hash::Hasher for Same {
        fn finish(&self) -> u64 {
            7
        }
        fn write(&mut self, _bytes: &[u8]) {}
    }
    let cache = Cache::builder(50)
        .with_hasher(std::hash::BuildHasherDefault::<Same>::default())
        .build()
        .expect("valid");
    for key in 0..200_u32 {
        cache.insert(key, key * 2);
        assert_eq!(cache.get(&key), Some(key * 2));
        assert!(cache.len() <= 50);
    }
    for (key, value) in cache.iter() {
        assert_eq!(value, key * 2);
    }
}
