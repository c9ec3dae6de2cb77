//! One admission of one of many keys, and the memory that a key takes.
//!
//! All contestants are asked about the same keys in the same random order, drawn beforehand. The
//! quota is one per second with a burst of a hundred million: nothing is refused, and no bucket
//! ever refills, so every key stays in use and nobody may forget one.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::QuantaClock;
use stanchion_benches::{Batch, Case, Contestant, Random, Target, Unit, contended, held, single};
use stanchion_ratelimit::{KeyedRateLimiter, Quota};

const BURST: u32 = 100_000_000;
const SEED: u64 = 0x6B65_7973;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        alone("keyed u64, 1 k keys, 1 thread", 1_000, 1.2),
        alone("keyed u64, 1 M keys, 1 thread", 1_000_000, 2.5),
        together("keyed u64, 1 k keys, 2 threads", 1_000),
        together("keyed u64, 1 M keys, 2 threads", 1_000_000),
        memory("memory, 1 M u64 keys"),
    ]
}

/// Checks every key of a slice, and says how many were admitted.
type CheckAll = Arc<dyn Fn(&[u64]) -> u64 + Send + Sync>;

fn alone(name: &'static str, keys: usize, ratio: f64) -> Case {
    let batch = move |build: fn(usize) -> CheckAll| {
        single(move || {
            let check = build(keys);
            preload(&check, keys);
            walk(check, draws(keys), 0)
        })
    };
    Case::new(name, Unit::NS)
        .with(
            Contestant::ours("stanchion", batch(stanchion)).must(Target::AtLeast {
                ratio,
                versus: "governor",
            }),
        )
        .with(Contestant::peer("governor", batch(governor)))
}

fn together(name: &'static str, keys: usize) -> Case {
    let threads = move |build: fn(usize) -> CheckAll| {
        contended(2, move || {
            let check = build(keys);
            preload(&check, keys);
            let draws = draws(keys);
            let half = draws.len() / 2;
            vec![
                walk(check.clone(), draws.clone(), 0),
                walk(check, draws, half),
            ]
        })
    };
    Case::new(name, Unit::NS)
        .with(
            Contestant::ours("stanchion", threads(stanchion)).must(Target::AtLeast {
                ratio: 4.0,
                versus: "governor",
            }),
        )
        .with(Contestant::peer("governor", threads(governor)))
}

fn memory(name: &'static str) -> Case {
    const KEYS: usize = 1_000_000;
    let bytes = |build: fn(usize) -> CheckAll| {
        held(move || {
            let check = build(KEYS);
            preload(&check, KEYS);
            (check, KEYS)
        })
    };
    Case::new(name, Unit::BYTES_PER_KEY)
        .rounds(1)
        .with(Contestant::ours("stanchion", bytes(stanchion)).must(Target::Reach(24.0)))
        .with(Contestant::peer("governor", bytes(governor)))
}

fn stanchion(keys: usize) -> CheckAll {
    let quota = Quota::new(1, Duration::from_secs(1))
        .and_then(|quota| quota.with_burst(u64::from(BURST)))
        .expect("a valid quota");
    let limiter = KeyedRateLimiter::<u64>::new(quota, keys).expect("a valid number of keys");
    counted(move |key| limiter.check(key).is_ok())
}

fn governor(_keys: usize) -> CheckAll {
    let quota = governor::Quota::per_second(NonZeroU32::MIN)
        .allow_burst(NonZeroU32::new(BURST).expect("not 0"));
    let limiter =
        governor::RateLimiter::<u64, _, _>::dashmap_with_clock(quota, QuantaClock::default());
    counted(move |key| limiter.check_key(key).is_ok())
}

/// Makes a batch of `check`: the loop is compiled together with each contestant's own code.
fn counted(check: impl Fn(&u64) -> bool + Send + Sync + 'static) -> CheckAll {
    Arc::new(move |keys| {
        let mut admitted = 0;
        for key in keys {
            admitted += u64::from(black_box(check(key)));
        }
        admitted
    })
}

/// Runs through `draws` from `start` on, round and round.
fn walk(check: CheckAll, draws: Arc<[u64]>, start: usize) -> Batch {
    let mut place = start;
    Box::new(move |iterations| {
        let mut left = iterations;
        while left > 0 {
            let rest = &draws[place..];
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let admitted = check(&rest[..count]);
            assert_eq!(admitted, count as u64, "every key is admitted");
            left -= admitted;
            place = (place + count) % draws.len();
        }
    })
}

/// Keys in a random order, each as likely as any other: some four draws for each of a million
/// keys, and many more for each of a thousand.
fn draws(keys: usize) -> Arc<[u64]> {
    let mut random = Random::new(SEED);
    let count = (4 * keys).max(1 << 16);
    (0..count).map(|_| key(random.below(keys))).collect()
}

/// Brings every key in, so that what is measured is not insertion.
fn preload(check: &CheckAll, keys: usize) {
    let all: Vec<u64> = (0..keys).map(key).collect();
    assert_eq!(check(&all), keys as u64, "every key is admitted");
}

/// Client numbers as they come: not in a row.
fn key(index: usize) -> u64 {
    Random::new(index as u64).next_u64()
}
