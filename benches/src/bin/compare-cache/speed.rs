//! What a read costs, and what a mix of reads and insertions costs.

use std::sync::Arc;
use std::time::Duration;

use stanchion_benches::{
    Batch, Case, Contestant as Entry, Measure, Target, Unit, contended, single,
};
use stanchion_cache::Cache;

use crate::peers::{Contestant, Floor, Quick};
use crate::zipf::draws;

/// Entries of every cache.
const CAPACITY: usize = 100_000;
/// Keys of which the mixed work draws.
const KEYS: usize = 1_000_000;
/// Long enough that a hundred thousand entries are back in the processor's caches.
const TURN: Duration = Duration::from_millis(50);
const QUICK: &str = "quick_cache";
const MOKA: &str = "moka";
const FLOOR: &str = "16 RwLock maps, no bound";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        hits("get, all hits, 1 thread", 1),
        hits("get, all hits, 2 threads", 2),
        hits_same_hasher("get, all hits, aHash for all, 1 thread"),
        mixed("95 % get, 5 % insert, 1 thread", 1, 1.0),
        mixed("95 % get, 5 % insert, 2 threads", 2, 1.2),
    ]
}

fn stanchion() -> Cache<u64, u64> {
    Cache::new(CAPACITY as u64)
}

fn moka_cache() -> moka::sync::Cache<u64, u64> {
    moka::sync::Cache::new(CAPACITY as u64)
}

fn hits(name: &'static str, threads: usize) -> Case {
    let ours = Entry::ours("stanchion", all_hits(threads, stanchion))
        .must(at_least(1.3, QUICK))
        .must(at_least(10.0, MOKA))
        .must(Target::AtMost {
            ratio: 2.0,
            versus: FLOOR,
        });
    Case::new(name, Unit::NS)
        .burst(TURN)
        .with(ours)
        .with(Entry::peer(
            QUICK,
            all_hits(threads, || Quick::new(CAPACITY)),
        ))
        .with(Entry::peer(MOKA, all_hits(threads, moka_cache)))
        .with(Entry::peer(FLOOR, all_hits(threads, Floor::new)))
}

fn hits_same_hasher(name: &'static str) -> Case {
    let ours = Entry::ours("stanchion", all_hits(1, stanchion))
        .must(at_least(1.3, QUICK))
        .must(at_least(10.0, MOKA));
    Case::new(name, Unit::NS)
        .burst(TURN)
        .with(ours)
        .with(Entry::peer(
            QUICK,
            all_hits(1, || Quick::same_hasher(CAPACITY)),
        ))
        .with(Entry::peer(
            MOKA,
            all_hits(1, || {
                moka::sync::Cache::builder()
                    .max_capacity(CAPACITY as u64)
                    .build_with_hasher(ahash::RandomState::new())
            }),
        ))
}

fn mixed(name: &'static str, threads: usize, times: f64) -> Case {
    let ours = Entry::ours("stanchion", mixture(threads, stanchion))
        .must(at_least(times, QUICK))
        .must(at_least(8.0, MOKA));
    Case::new(name, Unit::NS)
        .burst(TURN)
        .with(ours)
        .with(Entry::peer(
            QUICK,
            mixture(threads, || Quick::new(CAPACITY)),
        ))
        .with(Entry::peer(MOKA, mixture(threads, moka_cache)))
}

const fn at_least(ratio: f64, versus: &'static str) -> Target {
    Target::AtLeast { ratio, versus }
}

/// Reads of keys that are all there: three quarters of the capacity, so that none of those whose
/// bound is divided among shards has evicted one.
fn all_hits<C: Contestant>(threads: usize, build: impl Fn() -> C + 'static) -> Measure {
    measure(threads, move || {
        let cache = build();
        let keys = CAPACITY / 4 * 3;
        for key in 0..keys as u64 {
            cache.insert(key, key);
        }
        (cache, draws(keys), |cache: &C, key: u64, _| {
            cache.get(key).is_some()
        })
    })
}

/// One operation in twenty is an insertion, whether or not the key is there.
fn mixture<C: Contestant>(threads: usize, build: impl Fn() -> C + 'static) -> Measure {
    measure(threads, move || {
        let cache = build();
        let draws = draws(KEYS);
        for key in draws.iter() {
            if cache.get(*key).is_none() {
                cache.insert(*key, *key);
            }
        }
        (cache, draws, |cache: &C, key: u64, at: usize| {
            if at.is_multiple_of(20) {
                cache.insert(key, key);
            } else {
                std::hint::black_box(cache.get(key));
            }
            true
        })
    })
}

/// One operation on a cache: its key, and the number of the draw. Whether it went as it must.
type Operation<C> = fn(&C, u64, usize) -> bool;

fn measure<C: Contestant>(
    threads: usize,
    build: impl Fn() -> (C, Arc<[u64]>, Operation<C>) + 'static,
) -> Measure {
    if threads == 1 {
        return single(move || {
            let (cache, draws, operation) = build();
            let mut run = walk(cache, draws, 0, operation);
            move |iterations| run(iterations)
        });
    }
    contended(threads, move || {
        let (cache, draws, operation) = build();
        let part = draws.len() / threads;
        (0..threads)
            .map(|thread| walk(cache.clone(), draws.clone(), thread * part, operation))
            .collect()
    })
}

fn walk<C: Contestant>(
    cache: C,
    draws: Arc<[u64]>,
    mut at: usize,
    operation: Operation<C>,
) -> Batch {
    Box::new(move |iterations| {
        let mut good = 0;
        for _ in 0..iterations {
            at = (at + 1) % draws.len();
            good += u64::from(operation(&cache, draws[at], at));
        }
        assert_eq!(good, iterations, "a key was not there");
    })
}
