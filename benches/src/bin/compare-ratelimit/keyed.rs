//! One admission of one of many keys, and the memory that a key takes.
//!
//! All contestants are asked about the same keys in the same random order, drawn beforehand. The
//! quota is one per second with a burst of a hundred million: nothing is refused, and no bucket
//! ever refills, so every key stays in use and nobody may forget one.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::QuantaClock;
use governor::state::keyed::DashMapStateStore;
use stanchion_benches::{
    Batch, Case, Contestant, Measure, Random, Target, Unit, contended, held, single, wait_for_all,
};
use stanchion_ratelimit::{KeyedRateLimiter, Quota};

use crate::bare_word::{BareWords, TaggedWords};

const BURST: u32 = 100_000_000;
/// Long enough that the table of a million keys is back in the caches, as far as it fits, after
/// another contestant's turn.
const TURN: Duration = Duration::from_millis(100);
const SEED: u64 = 0x6B65_7973;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        alone("keyed u64, 1 k keys, 1 thread", 1_000, 1.2),
        alone("keyed u64, 1 M keys, 1 thread", 1_000_000, 2.5),
        one_at_a_time("keyed u64, 1 k keys, one at a time", 1_000),
        one_at_a_time("keyed u64, 1 M keys, one at a time", 1_000_000),
        together("keyed u64, 1 k keys, 2 threads", 1_000),
        together("keyed u64, 1 M keys, 2 threads", 1_000_000),
        memory("memory, 1 M u64 keys"),
    ]
}

/// Checks every client of a slice by its number, and says how many were admitted.
type CheckAll = Arc<dyn Fn(&[u32]) -> u64 + Send + Sync>;

fn alone(name: &'static str, keys: usize, ratio: f64) -> Case {
    let batch = move |build: fn(usize) -> CheckAll| {
        single(move || {
            let check = build(keys);
            preload(&check, keys);
            walk(check, draws(keys), 0)
        })
    };
    Case::new(name, Unit::NS)
        .burst(TURN)
        .with(
            Contestant::ours("stanchion", batch(stanchion)).must(Target::AtLeast {
                ratio,
                versus: "governor",
            }),
        )
        .with(Contestant::peer("governor", batch(governor)))
        .with(floor(batch(bare_words)))
        .with(tagged_floor(batch(tagged_words)))
}

/// The same, but no check begins before the last one is done: as in a service, where other work
/// lies between two checks, and unlike a tight loop, where the processor overlaps them. The fence
/// between them is paid by all.
fn one_at_a_time(name: &'static str, keys: usize) -> Case {
    let batch = move |build: fn(usize) -> CheckAll| {
        single(move || {
            let check = build(keys);
            preload(&check, keys);
            walk(check, draws(keys), 0)
        })
    };
    Case::new(name, Unit::NS)
        .burst(TURN)
        .with(Contestant::ours(
            "stanchion",
            batch(|keys| {
                let limiter = stanchion_limiter(keys);
                fenced(move |key| limiter.check(key).is_ok())
            }),
        ))
        .with(Contestant::peer(
            "governor",
            batch(|_| {
                let limiter = governor_limiter();
                fenced(move |key| limiter.check_key(key).is_ok())
            }),
        ))
        .with(Contestant::peer("fence alone", batch(|_| fenced(|_| true))))
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
        .burst(TURN)
        .with(
            Contestant::ours("stanchion", threads(stanchion)).must(Target::AtLeast {
                ratio: 4.0,
                versus: "governor",
            }),
        )
        .with(Contestant::peer("governor", threads(governor)))
        .with(floor(threads(bare_words)))
        .with(tagged_floor(threads(tagged_words)))
}

/// What no limiter by key goes below. Its row tells how many times better than governor it is,
/// which bounds what can be asked of ours.
const fn floor(measure: Measure) -> Contestant {
    Contestant::ours("floor: a word for each key", measure)
}

/// What no limiter goes below that is told its keys by who comes.
const fn tagged_floor(measure: Measure) -> Contestant {
    Contestant::ours("floor: a hash, a tag and a word", measure)
}

/// The heap of a limiter that was asked about a million keys, over the keys that it then holds.
fn memory(name: &'static str) -> Case {
    const KEYS: usize = 1_000_000;
    let ours = held(|| {
        let limiter = stanchion_limiter(KEYS);
        (0..KEYS as u64).for_each(|key| assert!(limiter.check(&key).is_ok()));
        let count = limiter.count_keys();
        (limiter, count)
    });
    let governor = held(|| {
        let limiter = governor_limiter();
        (0..KEYS as u64).for_each(|key| assert!(limiter.check_key(&key).is_ok()));
        let count = limiter.len();
        (limiter, count)
    });
    Case::new(name, Unit::BYTES_PER_KEY)
        .rounds(1)
        .with(Contestant::ours("stanchion", ours).must(Target::Reach(24.0)))
        .with(Contestant::peer("governor", governor))
}

fn stanchion(keys: usize) -> CheckAll {
    let limiter = stanchion_limiter(keys);
    counted(move |key| limiter.check(key).is_ok())
}

fn governor(_keys: usize) -> CheckAll {
    let limiter = governor_limiter();
    counted(move |key| limiter.check_key(key).is_ok())
}

fn bare_words(keys: usize) -> CheckAll {
    let words = BareWords::new(keys, 1_000_000_000, u64::from(BURST));
    counted(move |key| words.check(*key))
}

fn tagged_words(keys: usize) -> CheckAll {
    let words = TaggedWords::new(keys, 1_000_000_000, u64::from(BURST));
    counted(move |key| words.check(*key))
}

fn stanchion_limiter(keys: usize) -> KeyedRateLimiter<u64> {
    let quota = Quota::new(1, Duration::from_secs(1))
        .and_then(|quota| quota.with_burst(u64::from(BURST)))
        .expect("a valid quota");
    KeyedRateLimiter::new(quota, keys).expect("a valid number of keys")
}

/// Its own default store and hasher, with the clock that costs least.
fn governor_limiter() -> governor::RateLimiter<u64, DashMapStateStore<u64>, QuantaClock> {
    let quota = governor::Quota::per_second(NonZeroU32::MIN)
        .allow_burst(NonZeroU32::new(BURST).expect("not 0"));
    governor::RateLimiter::dashmap_with_clock(quota, QuantaClock::default())
}

/// Makes a batch of `check`: the loop is compiled together with each contestant's own code.
fn counted(check: impl Fn(&u64) -> bool + Send + Sync + 'static) -> CheckAll {
    Arc::new(move |clients| {
        let mut admitted = 0;
        for client in clients {
            admitted += u64::from(check(&u64::from(*client)));
        }
        admitted
    })
}

/// The same with a fence after each.
fn fenced(check: impl Fn(&u64) -> bool + Send + Sync + 'static) -> CheckAll {
    counted(move |key| {
        let admitted = check(key);
        wait_for_all();
        admitted
    })
}

/// Runs through `draws` from `start` on, round and round.
fn walk(check: CheckAll, draws: Arc<[u32]>, start: usize) -> Batch {
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

/// Clients in a random order, each as likely as any other: two draws for each of a million, and
/// many more for each of a thousand. Their numbers take half the room of the keys, which leaves
/// the caches to the contestants; everybody hashes, so numbers in a row are as good as any keys.
fn draws(keys: usize) -> Arc<[u32]> {
    let mut random = Random::new(SEED);
    let count = (2 * keys).max(1 << 16);
    (0..count).map(|_| client(random.below(keys))).collect()
}

/// Brings every key in, so that what is measured is not insertion.
fn preload(check: &CheckAll, keys: usize) {
    let all: Vec<u32> = (0..keys).map(client).collect();
    assert_eq!(check(&all), keys as u64, "every key is admitted");
}

fn client(index: usize) -> u32 {
    u32::try_from(index).expect("at most a million clients")
}
