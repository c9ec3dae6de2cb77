//! Totals under contention: exact, whatever the threads' order.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use stanchion_cache::{Cache, Cause, Policy, Removed};

const THREADS: u32 = 4;
const ROUNDS: u64 = 20_000;

/// Numbers that look drawn at random.
fn draw(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn hammer(cache: &Cache<u64, u64>, capacity: u64) {
    let barrier = Barrier::new(usize::try_from(THREADS).expect("four") + 1);
    let done = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (barrier, reads) = (&barrier, &reads);
                scope.spawn(move || {
                    let mut seed = u64::from(thread);
                    barrier.wait();
                    for _ in 0..ROUNDS {
                        let key = draw(&mut seed) % 3000;
                        match draw(&mut seed) % 8 {
                            0 => drop(cache.remove(&key)),
                            1 | 2 => drop(cache.insert(key, key % 7)),
                            _ => {
                                reads.fetch_add(1, Ordering::Relaxed);
                                let value = cache.get(&key);
                                assert!(value.is_none_or(|value| value == key % 7));
                            }
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            barrier.wait();
            while !done.load(Ordering::Relaxed) {
                assert!(cache.snapshot().weight <= capacity);
            }
        });
        let joined: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        // Before anything is asserted, or whoever watches would never end.
        done.store(true, Ordering::Relaxed);
        for result in joined {
            result.expect("no thread fails");
        }
    });
    let snapshot = cache.snapshot();
    assert_eq!(snapshot.hits + snapshot.misses, reads.into_inner());
}

#[test]
fn what_came_in_is_in_or_has_left_and_the_bound_holds_at_every_moment() {
    for policy in [Policy::Adaptive, Policy::Lru, Policy::Lfu, Policy::S3Fifo] {
        let told = std::sync::Arc::new(AtomicU64::new(0));
        let counts = std::sync::Arc::clone(&told);
        let cache = Cache::builder(1000)
            .with_policy(policy)
            .with_shards(8)
            .with_observer(move |_: &Removed<u64, u64>| {
                counts.fetch_add(1, Ordering::Relaxed);
            })
            .build()
            .expect("valid");
        hammer(&cache, 1000);
        let snapshot = cache.snapshot();
        assert_eq!(snapshot.entries, cache.iter().count() as u64);
        let causes = [Cause::Explicit, Cause::Replaced, Cause::Size];
        let left: u64 = causes.iter().map(|cause| snapshot.removed(*cause)).sum();
        assert_eq!(told.load(Ordering::Relaxed), left, "{policy:?}");
    }
}

#[test]
fn entries_of_half_the_capacity_do_not_wait_for_each_other() {
    let cache = Cache::builder(100)
        .with_shards(8)
        .with_weigher(|_: &u64, value: &u64| if *value == 6 { 90 } else { 3 })
        .build()
        .expect("valid");
    hammer(&cache, 100);
    let weight: u64 = cache
        .iter()
        .map(|(_, value)| if value == 6 { 90 } else { 3 })
        .sum();
    assert_eq!(cache.snapshot().weight, weight);
}

#[test]
fn every_value_is_dropped_once() {
    struct Counted(std::sync::Arc<AtomicU64>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = std::sync::Arc::new(AtomicU64::new(0));
    let cache = Cache::builder(100).with_shards(4).build().expect("valid");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, dropped) = (&cache, &dropped);
            scope.spawn(move || {
                for key in 0..1000 {
                    let value = Counted(std::sync::Arc::clone(dropped));
                    cache.insert(key * THREADS + thread, value);
                }
            });
        }
    });
    assert_eq!(dropped.load(Ordering::Relaxed) + cache.len(), 4000);
    drop(cache);
    assert_eq!(dropped.load(Ordering::Relaxed), 4000);
}
