//! Keys under every policy: what they share, what a full table does, and what can be done to one.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use stanchion_core::{Clock, ManualClock};
use stanchion_ratelimit::{Event, KeyedRateLimiter, Policy, Quota, RateLimiter, Reason, WhenFull};

const SECOND: Duration = Duration::from_secs(1);

/// One of each algorithm.
const POLICIES: [&str; 3] = ["5/m", "fixed-window 5/m", "sliding-window-counter 5/m"];

fn keyed(policy: &str, max_keys: usize) -> (KeyedRateLimiter<u64>, ManualClock) {
    let policy: Policy = policy.parse().unwrap();
    let (clock, time) = Clock::manual();
    let limiter = KeyedRateLimiter::new(policy, max_keys).unwrap();
    (limiter.with_clock(clock), time)
}

/// The same quota for every key, told key by key.
fn per_key(quota: &str, max_keys: usize) -> (KeyedRateLimiter<u64>, ManualClock) {
    let quota: Quota = quota.parse().unwrap();
    let (clock, time) = Clock::manual();
    let limiter = KeyedRateLimiter::per_key(quota, move |_: &u64| Some(quota), max_keys).unwrap();
    (limiter.with_clock(clock), time)
}

/// Every kind of table.
fn kinds(max_keys: usize) -> Vec<(KeyedRateLimiter<u64>, ManualClock)> {
    let mut kinds: Vec<_> = POLICIES
        .iter()
        .map(|policy| keyed(policy, max_keys))
        .collect();
    kinds.push(per_key("5/m", max_keys));
    kinds
}

fn admitted(limiter: &KeyedRateLimiter<u64>, key: u64, checks: usize) -> usize {
    (0..checks).filter(|_| limiter.check(&key).is_ok()).count()
}

#[test]
fn every_key_that_a_table_was_built_for_finds_a_place() {
    const KEYS: u64 = 50_000;
    for (limiter, _time) in kinds(50_000) {
        for key in 0..KEYS {
            assert_eq!(limiter.check_n(&key, 5).unwrap().remaining(), 0);
        }
        assert_eq!(limiter.snapshot().overflowed, 0, "{limiter:?}");
        assert_eq!(limiter.count_keys() as u64, KEYS);
        assert!((0..KEYS).all(|key| limiter.check(&key).is_err()));
    }
}

#[test]
fn a_key_that_is_idle_makes_room_without_a_sweep() {
    for (limiter, time) in kinds(1_000) {
        let bytes = limiter.snapshot().bytes;
        for generation in 0..20 {
            for key in 0..1_000 {
                assert!(limiter.check(&(generation * 1_000 + key)).is_ok());
            }
            // Beyond the window after the one that was used.
            time.advance(SECOND * 121);
            assert_eq!(limiter.count_keys(), 0);
        }
        assert_eq!(limiter.snapshot().overflowed, 0, "{limiter:?}");
        assert_eq!(limiter.snapshot().bytes, bytes);
    }
}

#[test]
fn all_memory_is_told_and_taken_at_the_start() {
    let of = |limiter: KeyedRateLimiter<u64>| limiter.snapshot().bytes as f64 / 100_000.0;
    assert!(of(keyed("5/m", 100_000).0) < 22.5);
    assert!(of(per_key("5/m", 100_000).0) < 56.1);
    // A state of three words, and 24 bytes beside it.
    assert!(of(keyed("fixed-window 5/m", 100_000).0) < 67.3);
}

#[test]
fn one_key_is_reset_and_no_other() {
    for (limiter, _time) in kinds(100) {
        assert_eq!((admitted(&limiter, 1, 9), admitted(&limiter, 2, 9)), (5, 5));
        limiter.reset(&1);
        limiter.reset(&3);
        assert_eq!(limiter.peek(&1).remaining(), 5);
        assert_eq!(limiter.peek(&2).remaining(), 0);
        assert_eq!((admitted(&limiter, 1, 9), admitted(&limiter, 2, 9)), (5, 0));
        assert_eq!(limiter.count_keys(), 2, "{limiter:?}");
    }
}

/// A table of few places, full of an attacker's keys that stay in use.
fn attacked(max_keys: usize, when_full: WhenFull) -> Vec<(KeyedRateLimiter<u64>, ManualClock)> {
    let kinds = kinds(max_keys).into_iter();
    let kinds = kinds.map(|(limiter, time)| (limiter.with_when_full(when_full), time));
    let kinds: Vec<_> = kinds.collect();
    for (limiter, _) in &kinds {
        // Somebody who was there before, and the attacker, who takes all of each.
        assert_eq!(admitted(limiter, 0, 5), 5);
        let _ = (1_000..3_000)
            .filter(|key| limiter.check_n(key, 5).is_ok())
            .count();
    }
    kinds
}

#[test]
fn shared_newcomers_get_one_quota_together_and_others_keep_theirs() {
    for (limiter, time) in attacked(50, WhenFull::Share) {
        assert!(limiter.snapshot().overflowed > 1_500);
        assert_eq!(admitted(&limiter, 0, 9), 0, "has a place, and nothing left");
        time.advance(SECOND * 121);
        // One quota for each that finds a place (fewer than slots), and one for all others.
        let sum: usize = (5_000..7_000).map(|key| admitted(&limiter, key, 9)).sum();
        assert!(sum <= 5 * (96 + 1), "{sum} of {limiter:?}");
        assert!(sum >= 5 * 50);
        assert_eq!(limiter.snapshot().denied + limiter.snapshot().evicted, 0);
    }
}

#[test]
fn denied_newcomers_come_in_when_they_were_told() {
    for (limiter, time) in attacked(50, WhenFull::Deny) {
        let rejected = limiter.check(&9).unwrap_err();
        assert_eq!(rejected.reason(), Reason::NoRoom);
        let wait = rejected.retry_after().unwrap();
        assert!(rejected.to_string().contains("too many keys"), "{rejected}");
        assert!(limiter.snapshot().denied > 1_500);
        time.advance(wait - Duration::from_nanos(1));
        assert!(limiter.check(&9).is_err());
        time.advance(Duration::from_nanos(1));
        assert_eq!(admitted(&limiter, 9, 9), 5, "{limiter:?}");
        assert_eq!(
            limiter.snapshot().overflowed + limiter.snapshot().evicted,
            0
        );
    }
}

#[test]
fn a_newcomer_evicts_the_soonest_to_be_idle() {
    for (limiter, _time) in attacked(50, WhenFull::Evict) {
        assert!(limiter.snapshot().evicted > 1_500);
        assert_eq!(admitted(&limiter, 9, 9), 5, "a newcomer always comes in");
        assert_eq!(limiter.snapshot().overflowed + limiter.snapshot().denied, 0);
    }
    // Of a whole small table, it is the very soonest.
    for (limiter, time) in [keyed("5/m", 4), per_key("5/m", 4)] {
        let limiter = limiter.with_when_full(WhenFull::Evict);
        let mut costs = HashMap::new();
        let mut key = 0;
        while limiter.snapshot().evicted == 0 {
            // Each uses more than the one before, so the first is idle the soonest.
            let _ = limiter.check_n(&key, 2 + u64::from(key > 0)).unwrap();
            costs.insert(key, 2 + u64::from(key > 0));
            key += 1;
            time.advance(Duration::from_millis(1));
        }
        assert_eq!(limiter.peek(&0).remaining(), 5, "the first was driven out");
        for other in 1..key {
            assert_eq!(limiter.peek(&other).remaining(), 2, "key {other}");
        }
    }
}

#[test]
fn observers_hear_what_a_full_table_does() {
    for (when_full, name) in [
        (WhenFull::Share, "Overflowed"),
        (WhenFull::Deny, "Rejected"),
        (WhenFull::Evict, "Evicted"),
    ] {
        for (limiter, _time) in attacked(10, when_full) {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let ears = heard.clone();
            let observer = move |event: &Event| ears.lock().unwrap().push(format!("{event:?}"));
            let limiter = limiter.with_observer(observer);
            let _ = limiter.check(&9);
            let heard = heard.lock().unwrap();
            assert!(heard[0].starts_with(name), "{heard:?}");
        }
    }
}

#[test]
fn each_key_has_the_quota_that_is_told_for_it_and_a_change_is_live() {
    let (clock, time) = Clock::manual();
    let burst = Arc::new(AtomicU64::new(10));
    let told = burst.clone();
    let quota_of = move |key: &str| {
        let quota = Quota::new(10, SECOND).unwrap();
        let burst = told.load(Ordering::Relaxed);
        (key == "premium").then(|| quota.with_burst(burst).unwrap())
    };
    let common: Quota = "3/s".parse().unwrap();
    let limiter = KeyedRateLimiter::<str>::per_key(common, quota_of, 100).unwrap();
    let limiter = limiter.with_clock(clock);
    assert_eq!(limiter.policy(), common.into());
    let take = |key: &str| (0..99).filter(|_| limiter.check(key).is_ok()).count();
    assert_eq!((take("premium"), take("other")), (10, 3));
    // Twice the burst: what was used stays used.
    burst.store(20, Ordering::Relaxed);
    assert_eq!((take("premium"), take("other")), (10, 0));
    // Half of it: a second of refill is owed first.
    burst.store(10, Ordering::Relaxed);
    time.advance(SECOND);
    assert_eq!((take("premium"), take("other")), (0, 3));
    time.advance(SECOND / 2);
    assert_eq!((take("premium"), take("other")), (5, 1));
    limiter.reset("premium");
    assert_eq!(take("premium"), 10);
}

/// Units of 1/3 ns, then of 1/1021 ns, then of 1 ns: a bucket keeps its time.
#[test]
fn a_change_of_units_keeps_the_time_that_a_key_owes() {
    let (clock, time) = Clock::manual();
    let count = Arc::new(AtomicU64::new(3));
    let told = count.clone();
    let quota_of = move |_: &u64| Quota::new(told.load(Ordering::Relaxed), SECOND).ok();
    let limiter = KeyedRateLimiter::per_key("1/s".parse().unwrap(), quota_of, 10).unwrap();
    let limiter = limiter.with_clock(clock);
    time.advance(SECOND);
    let _ = limiter.check_n(&1, 2).unwrap();
    let owed = limiter.peek(&1).reset_after();
    for scale in [1021, 3, 1, 7, 1000] {
        count.store(scale, Ordering::Relaxed);
        let now = limiter.peek(&1).reset_after();
        assert!(owed.abs_diff(now) <= Duration::from_nanos(1), "{now:?}");
    }
}

#[test]
fn a_clock_that_goes_back_behind_a_forgotten_key_brings_no_new_burst() {
    for (limiter, time) in kinds(4) {
        let mut total = HashMap::<u64, usize>::new();
        // Keys push each other out as time goes on, and come back as it goes back.
        for round in 0_u32..40 {
            for key in 0..12 {
                *total.entry(key).or_default() += admitted(&limiter, key, 2);
            }
            let step = SECOND * (round % 5);
            time.set(if round % 3 == 2 {
                time.now() - step
            } else {
                time.now() + step
            });
        }
        // Time went on by at most 2 minutes: two windows, or five and two for each minute; and
        // each key may have had all of the overflow state too.
        let most = 2 * 4 * 5;
        assert!(
            total.values().all(|sum| *sum <= most),
            "{limiter:?} {total:?}"
        );
    }
}

#[test]
fn threads_share_what_a_key_has_exactly() {
    for (limiter, _time) in kinds(1_000) {
        let barrier = Barrier::new(4);
        let sums: Vec<u64> = std::thread::scope(|scope| {
            let work = || {
                barrier.wait();
                (0..20_000_u64)
                    .map(|turn| u64::from(limiter.check(&(turn % 200)).is_ok()))
                    .sum()
            };
            let running: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(sums.iter().sum::<u64>(), 200 * 5, "{limiter:?}");
    }
}

#[test]
fn numbers_of_keys_that_make_no_sense_are_refused() {
    let quota: Quota = "1/s".parse().unwrap();
    for max_keys in [0, usize::MAX] {
        let error = KeyedRateLimiter::<u64>::per_key(quota, |_| None, max_keys).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("max_keys is {max_keys}"))
        );
    }
}

proptest! {
    /// A key of any table stands where a limiter of its own would.
    #[test]
    fn each_key_is_limited_as_if_it_were_alone(
        policy in prop::sample::select(&POLICIES[..]),
        by_key in any::<bool>(),
        steps in prop::collection::vec((0_u64..30_000, 0_u64..30, 0_u64..7), 1..300),
    ) {
        let (limiter, time) = if by_key { per_key("5/m", 100) } else { keyed(policy, 100) };
        let policy = limiter.policy();
        let mut alone: HashMap<u64, RateLimiter> = HashMap::new();
        for (millis, key, cost) in steps {
            time.advance(Duration::from_millis(millis));
            let of_key = alone
                .entry(key)
                .or_insert_with(|| RateLimiter::new(policy).with_clock(time.clock()));
            prop_assert_eq!(limiter.peek(&key), of_key.peek());
            match (limiter.check_n(&key, cost), of_key.check_n(cost)) {
                (Ok(ours), Ok(alone)) => prop_assert_eq!(ours, alone),
                (Err(ours), Err(alone)) => prop_assert_eq!(ours.retry_after(), alone.retry_after()),
                (ours, alone) => prop_assert!(false, "{ours:?}, alone {alone:?}"),
            }
        }
    }

    /// Whatever keys come: those with a place get their quota and no more; all others one more, or
    /// nothing.
    #[test]
    fn invented_keys_never_get_more_than_is_stated(
        kind in 0_usize..4,
        deny in any::<bool>(),
        steps in prop::collection::vec((0_u64..200, 1_u64..6), 1..400),
    ) {
        let when_full = if deny { WhenFull::Deny } else { WhenFull::Share };
        let (limiter, _time) = kinds(4).swap_remove(kind);
        let limiter = limiter.with_when_full(when_full);
        let mut sum = 0;
        let mut placed = HashSet::new();
        for (key, cost) in steps {
            let before = limiter.snapshot().overflowed;
            if limiter.check_n(&key, cost).is_ok() {
                sum += cost;
                if limiter.snapshot().overflowed == before {
                    placed.insert(key);
                }
            }
        }
        let quotas = placed.len() as u64 + u64::from(!deny);
        prop_assert!(sum <= 5 * quotas, "{sum} by {quotas}");
        prop_assert_eq!(limiter.count_keys(), placed.len());
    }
}
