//! One good call of one of many keys, each of which has its breaker; and the memory that a key takes.
//!
//! All contestants are asked about the same keys in the same random order, drawn beforehand. No peer
//! has breakers by key, so what one would write is taken: a map of recloser's behind a lock that
//! readers share. It forgets no key and has no bound, so it need not know when one was
//! called; its hasher and lock are ours.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use recloser::Recloser;
use stanchion_benches::{Batch, Case, Contestant, Measure, Random, Unit, contended, held, single};
use stanchion_breaker::{Config, KeyedBreaker, Window};
use stanchion_core::Outcome;

use crate::peers;

/// Long enough that the table of a million keys is back in the caches, as far as it fits, after
/// another contestant's turn.
const TURN: Duration = Duration::from_millis(100);
const SEED: u64 = 0x6B65_7973;
const MAP: &str = "a map of recloser's";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        alone("keyed u64, success, 1 k keys, 1 thread", 1_000),
        alone("keyed u64, success, 1 M keys, 1 thread", 1_000_000),
        together("keyed u64, success, 1 k keys, 2 threads", 1_000),
        together("keyed u64, success, 1 M keys, 2 threads", 1_000_000),
        memory("memory, 100 k u64 keys"),
    ]
}

/// Makes a good call of each key of a slice, and says how many passed.
type CallAll = Arc<dyn Fn(&[u32]) -> u64 + Send + Sync>;

fn alone(name: &'static str, keys: usize) -> Case {
    let batch = move |build: fn(usize) -> CallAll| {
        single(move || {
            let calls = build(keys);
            walk(calls, draws(keys), 0)
        })
    };
    contest(name, batch(stanchion), batch(map))
}

fn together(name: &'static str, keys: usize) -> Case {
    let threads = move |build: fn(usize) -> CallAll| {
        contended(2, move || {
            let calls = build(keys);
            let draws = draws(keys);
            let half = draws.len() / 2;
            vec![
                walk(calls.clone(), draws.clone(), 0),
                walk(calls, draws, half),
            ]
        })
    };
    contest(name, threads(stanchion), threads(map))
}

fn contest(name: &'static str, ours: Measure, map: Measure) -> Case {
    Case::new(name, Unit::NS)
        .burst(TURN)
        .with(Contestant::ours("stanchion", ours))
        .with(Contestant::peer(MAP, map))
}

/// The heap of all breakers once each was called, over their number.
fn memory(name: &'static str) -> Case {
    const KEYS: usize = 100_000;
    let of = |config: fn() -> Config| {
        held(move || {
            let keyed = keyed(config(), KEYS);
            (0..KEYS as u64).for_each(|key| assert!(succeeds(&keyed, key)));
            assert_eq!(keyed.snapshot().keys, KEYS);
            (keyed, KEYS)
        })
    };
    let map = held(|| {
        let map = full_map(KEYS);
        (map, KEYS)
    });
    Case::new(name, Unit::BYTES_PER_KEY)
        .rounds(1)
        .with(Contestant::ours("window of 100 calls", of(calls)))
        .with(Contestant::ours("window of 10 s", of(time)))
        .with(Contestant::ours("failures in a row", of(streak)))
        .with(Contestant::peer(MAP, map))
}

fn calls() -> Config {
    Config::new(Window::calls(100).expect("a valid window"))
}

fn time() -> Config {
    Config::new(Window::time(Duration::from_secs(10)).expect("a valid window"))
}

fn streak() -> Config {
    Config::consecutive_failures(std::num::NonZeroU32::MIN)
}

fn keyed(config: Config, keys: usize) -> KeyedBreaker<u64> {
    KeyedBreaker::new(config, keys).expect("a valid number of keys")
}

fn succeeds(keyed: &KeyedBreaker<u64>, key: u64) -> bool {
    match keyed.try_acquire(&key) {
        Ok(permit) => {
            permit.record(Outcome::Success);
            true
        }
        Err(_) => false,
    }
}

/// Every key is in, so that what is measured is not insertion.
fn stanchion(keys: usize) -> CallAll {
    let keyed = keyed(calls(), keys);
    (0..keys as u64).for_each(|key| assert!(succeeds(&keyed, key)));
    assert_eq!(keyed.snapshot().keys, keys);
    counted(move |key| succeeds(&keyed, key))
}

type Map = RwLock<HashMap<u64, Arc<Recloser>, RandomState>>;

/// The lock is held for the look-up only, as for a call that takes its time.
fn map(keys: usize) -> CallAll {
    let map = full_map(keys);
    counted(move |key| {
        let recloser = map.read().get(&key).cloned();
        recloser.is_some_and(|recloser| peers::call_recloser(&recloser, true))
    })
}

fn full_map(keys: usize) -> Map {
    let all = (0..keys as u64).map(|key| {
        let recloser = peers::recloser();
        assert!(peers::call_recloser(&recloser, true), "it is closed");
        (key, Arc::new(recloser))
    });
    RwLock::new(all.collect())
}

/// Makes a batch of `call`: the loop is compiled together with each contestant's own code.
fn counted(call: impl Fn(u64) -> bool + Send + Sync + 'static) -> CallAll {
    Arc::new(move |keys| {
        let mut passed = 0;
        for key in keys {
            passed += u64::from(call(u64::from(*key)));
        }
        passed
    })
}

/// Runs through `draws` from `start` on, round and round.
fn walk(calls: CallAll, draws: Arc<[u32]>, start: usize) -> Batch {
    let mut place = start;
    Box::new(move |iterations| {
        let mut left = iterations;
        while left > 0 {
            let rest = &draws[place..];
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let passed = calls(&rest[..count]);
            assert_eq!(passed, count as u64, "every call passes");
            left -= passed;
            place = (place + count) % draws.len();
        }
    })
}

/// Keys in a random order, each as likely as any other.
fn draws(keys: usize) -> Arc<[u32]> {
    let mut random = Random::new(SEED);
    let count = (2 * keys).max(1 << 16);
    let key = |index| u32::try_from(index).expect("at most a million keys");
    (0..count).map(|_| key(random.below(keys))).collect()
}
