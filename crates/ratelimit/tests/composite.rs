//! Several limits at once: a request passes all, or takes nothing from any.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashMap;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use stanchion_core::{Clock, ManualClock};
use stanchion_ratelimit::{
    CompositeLimit, CompositeRateLimiter, Event, Inherit, Policy, RateLimiter, Reason, WhenFull,
};

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

/// Limits for all requests, named by their policies.
fn shared(policies: &[&str]) -> (CompositeRateLimiter<u64>, ManualClock) {
    let limits = policies
        .iter()
        .map(|text| CompositeLimit::shared(text, policy(text)));
    let (clock, time) = Clock::manual();
    let limits = CompositeRateLimiter::new(limits).unwrap();
    (limits.with_clock(clock), time)
}

fn remaining(limits: &CompositeRateLimiter<u64>) -> Vec<u64> {
    let admitted = limits.check_n(&0, 0).unwrap();
    admitted
        .statuses()
        .map(|(_, status)| status.remaining())
        .collect()
}

#[test]
fn what_one_limit_refuses_no_limit_counts() {
    // A quota per day was eaten by refusals per second.
    for policies in [
        ["2/s", "1000/d"],
        ["fixed-window 2/s", "sliding-window-counter 1000/d"],
        ["1000/d", "2/s"],
    ] {
        let (limits, _time) = shared(&policies);
        let admitted = (0..500).filter(|_| limits.check(&0).is_ok()).count();
        assert_eq!(admitted, 2);
        let mut left = remaining(&limits);
        left.sort_unstable();
        assert_eq!(left, [0, 998]);
    }
}

#[test]
fn a_refusal_names_every_limit_violated_and_the_longest_wait() {
    let (limits, time) = shared(&["1/s", "2/m", "100/h"]);
    assert!(limits.check(&0).is_ok());
    let refused = limits.check(&0).unwrap_err();
    assert!(refused.violated().eq(["1/s"]));
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
    time.advance(Duration::from_secs(1));
    assert!(limits.check(&0).is_ok());
    let refused = limits.check(&0).unwrap_err();
    assert!(refused.violated().eq(["1/s", "2/m"]));
    // The second of two per minute is back 30 s after the first was taken.
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(29)));
    assert_eq!(refused.to_string(), r#"refused by limit "1/s", "2/m""#);
    let never = limits.check_n(&0, 3).unwrap_err();
    assert_eq!(never.retry_after(), None);
    assert_eq!(never.rejected().reason(), Reason::CostAboveBurst);
    assert!(never.violated().eq(["1/s", "2/m"]));
    assert_eq!(remaining(&limits), [0, 0, 98]);
}

#[test]
fn bucket4j_two_limits_wait_for_the_slower_in_either_order() {
    for order in [["10/100ns", "5/10ns"], ["5/10ns", "10/100ns"]] {
        let (limits, _time) = shared(&order);
        // Leaves 1 of ten and 2 of five, as far as one cost can: 9 are never admitted by both.
        assert!(limits.check_n(&0, 3).is_ok());
        let refused = limits.check_n(&0, 5).unwrap_err();
        assert!(refused.violated().eq(["5/10ns"]));
        assert_eq!(refused.retry_after(), Some(Duration::from_nanos(6)));
    }
    let ten = CompositeLimit::shared("ten", policy("10/100ns"));
    let five = CompositeLimit::shared("five", policy("5/10ns")).with_cost(|five: &u64| *five);
    let (clock, _time) = Clock::manual();
    let limits = CompositeRateLimiter::new([ten, five])
        .unwrap()
        .with_clock(clock);
    assert!(limits.check_n(&3, 9).is_ok());
    let refused = limits.check_n(&3, 3).unwrap_err();
    assert!(refused.violated().eq(["ten", "five"]));
    assert_eq!(refused.retry_after(), Some(Duration::from_nanos(20)));
}

/// There intervals bring tokens into buckets that hold more than one of them; a window is not saved
/// for the next one, so only the first turn of each is as there.
#[test]
fn bucket4j_two_intervals_refill_at_their_own_turns() {
    let (limits, time) = shared(&["fixed-window 5/6ns", "fixed-window 4/5ns"]);
    assert!(limits.check_n(&0, 4).is_ok());
    let left = || limits.check_n(&0, 0).unwrap().remaining();
    let mut told = Vec::new();
    for at in [4, 5, 6] {
        time.set(stanchion_core::Instant::from_nanos(at));
        told.push(left());
    }
    assert_eq!(told, [0, 1, 4], "1 of 5 was left before the turn");
}

#[test]
fn each_limit_has_a_key_and_a_cost_of_its_own() {
    struct Call {
        user: u64,
        address: u8,
        tokens: u64,
    }
    let (clock, _time) = Clock::manual();
    let limits = CompositeRateLimiter::new([
        CompositeLimit::shared("service", policy("100/s")),
        CompositeLimit::keyed("address", policy("3/m"), 100, |call: &Call| {
            Some(call.address)
        }),
        CompositeLimit::keyed("tokens", policy("1000/m"), 100, |call: &Call| {
            (call.user != 0).then_some(call.user)
        })
        .with_cost(|call: &Call| call.tokens),
    ])
    .unwrap()
    .with_clock(clock);
    let call = |user, address, tokens| {
        let result = limits.check(&Call {
            user,
            address,
            tokens,
        });
        result
            .map(|admitted| admitted.remaining())
            .map_err(|refused| refused.violated().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(call(1, 1, 900), Ok(2));
    assert_eq!(call(1, 2, 200), Err(vec!["tokens".to_owned()]));
    assert_eq!(call(1, 2, 100), Ok(0));
    assert_eq!(call(2, 1, 1), Ok(1));
    assert_eq!(call(3, 1, 1), Ok(0));
    assert_eq!(call(4, 1, 1), Err(vec!["address".to_owned()]));
    assert_eq!(
        call(4, 1, 5_000),
        Err(vec!["address".to_owned(), "tokens".to_owned()])
    );
    // No user, no key: refused, and nothing taken.
    assert_eq!(call(0, 3, 1), Err(vec!["tokens".to_owned()]));
    assert_eq!(call(5, 3, 0), Ok(2));
}

#[test]
fn a_request_without_a_key_is_told_so() {
    let limit = CompositeLimit::keyed("key", policy("1/s"), 10, |_: &u64| None::<u64>);
    let limits = CompositeRateLimiter::new([limit]).unwrap();
    let refused = limits.check(&1).unwrap_err();
    assert_eq!(refused.rejected().reason(), Reason::NoKey);
    assert_eq!(refused.retry_after(), None);
}

#[test]
fn invented_keys_share_one_more_state_once_a_table_is_full() {
    let (clock, _time) = Clock::manual();
    let limit = CompositeLimit::keyed("key", policy("1/d"), 4, |key: &u64| Some(*key));
    let limits = CompositeRateLimiter::new([limit])
        .unwrap()
        .with_clock(clock);
    let admitted = (0..1_000).filter(|key| limits.check(key).is_ok()).count();
    assert!((5..=17).contains(&admitted), "{admitted}");
    let snapshot = limits.limits()[0].snapshot();
    assert_eq!((snapshot.denied, snapshot.evicted), (0, 0));
    assert!(snapshot.overflowed > 900);
}

#[test]
fn sets_that_make_no_sense_are_refused_by_name() {
    let limit = |name: &str| CompositeLimit::<u64>::shared(name, policy("1/s"));
    let message = |limits: Vec<_>| CompositeRateLimiter::new(limits).unwrap_err().to_string();
    assert_eq!(message(vec![]), "limits are 0, must be from 1 to 8");
    let many = (0..9).map(|index| limit(&index.to_string())).collect();
    assert_eq!(message(many), "limits are 9, must be from 1 to 8");
    let twice = message(vec![limit("a"), limit("b"), limit("a")]);
    assert_eq!(twice, "name is \"a\" twice, names must differ");
    for name in ["", "a\"b", "a\\b", "ä", "a\n"] {
        assert!(message(vec![limit(name)]).starts_with(&format!("name is {name:?}")));
    }
    let keyless = CompositeLimit::keyed("k", policy("1/s"), 0, |key: &u64| Some(*key));
    assert!(message(vec![keyless]).contains("\"k\""));
}

#[test]
fn observers_hear_of_the_longest_wait() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let (limits, _time) = shared(&["1/s", "1/m"]);
    let limits = limits.with_observer(move |event: &Event| {
        if let Event::Rejected(rejected) = event {
            ears.lock().unwrap().push(rejected.retry_after());
        }
    });
    let _ = (limits.check(&0), limits.check(&0));
    assert_eq!(*heard.lock().unwrap(), [Some(Duration::from_secs(60))]);
}

#[test]
fn threads_never_make_one_limit_count_what_another_refuses() {
    let (clock, _time) = Clock::manual();
    let limits = CompositeRateLimiter::new([
        CompositeLimit::shared("all", policy("5000/d")),
        CompositeLimit::keyed("key", policy("fixed-window 100/d"), 1_000, |key: &u64| {
            Some(*key)
        }),
    ])
    .unwrap()
    .with_clock(clock);
    let barrier = Barrier::new(4);
    let admitted: Vec<HashMap<u64, u64>> = std::thread::scope(|scope| {
        let work = || {
            barrier.wait();
            let mut admitted = HashMap::new();
            for turn in 0..20_000 {
                // 80 keys of 100 want 8,000; 5,000 are there.
                if limits.check(&(turn % 80)).is_ok() {
                    *admitted.entry(turn % 80).or_default() += 1;
                }
            }
            admitted
        };
        let running: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let sum: u64 = admitted.iter().flat_map(HashMap::values).sum();
    assert_eq!(sum, 5_000);
    for key in 0..80 {
        let of_key: u64 = admitted.iter().filter_map(|thread| thread.get(&key)).sum();
        let statuses = limits.check_n(&key, 0).unwrap();
        let left = statuses.statuses().last().unwrap().1.remaining();
        assert_eq!(of_key + left, 100, "key {key}");
    }
}

proptest! {
    /// All or nothing, as limiters of their own that are all asked first would have it.
    #[test]
    fn all_limits_decide_as_each_would_alone(
        steps in prop::collection::vec((0_u64..40_000, 0_u64..6, 0_u64..5), 1..250),
    ) {
        let policies = ["3/s burst 5", "fixed-window 20/m", "sliding-window-counter 15/30s"];
        let (clock, time) = Clock::manual();
        let limits = policies.iter().enumerate().map(|(index, text)| match index {
            0 => CompositeLimit::shared(text, policy(text)),
            _ => CompositeLimit::keyed(text, policy(text), 100, |key: &u64| Some(*key)),
        });
        let limits = CompositeRateLimiter::new(limits).unwrap().with_clock(clock.clone());
        let mut alone: HashMap<(usize, u64), RateLimiter> = HashMap::new();
        for (millis, key, cost) in steps {
            time.advance(Duration::from_millis(millis / 10));
            let of_key: Vec<_> = policies.iter().enumerate().map(|(index, text)| {
                let key = if index == 0 { 0 } else { key };
                let new = || RateLimiter::new(policy(text)).with_clock(clock.clone());
                alone.entry((index, key)).or_insert_with(new).clone()
            }).collect();
            let waits = of_key.iter().map(|one| one.peek().available_after(cost));
            let violated = waits.clone().zip(policies);
            let violated = violated.filter(|(wait, _)| *wait != Some(Duration::ZERO));
            let violated: Vec<_> = violated.map(|(_, name)| name).collect();
            match limits.check_n(&key, cost) {
                Ok(admitted) => {
                    prop_assert!(violated.is_empty(), "{violated:?}");
                    let mut statuses = admitted.statuses();
                    for one in &of_key {
                        prop_assert_eq!(one.check_n(cost).unwrap(), statuses.next().unwrap().1);
                    }
                }
                Err(refused) => {
                    prop_assert_eq!(refused.violated().collect::<Vec<_>>(), violated);
                    let longest = waits.map(|wait| wait.unwrap_or(Duration::MAX)).max().unwrap();
                    prop_assert_eq!(refused.retry_after().unwrap_or(Duration::MAX), longest);
                }
            }
        }
    }
}

/// A quota per second of all, and one per minute of each client.
fn two() -> (CompositeRateLimiter<u64>, ManualClock) {
    let (clock, time) = Clock::manual();
    let limits = CompositeRateLimiter::new([
        CompositeLimit::shared("second", policy("10/s")),
        CompositeLimit::keyed("client", policy("fixed-window 4/m"), 100, |key: &u64| {
            (*key > 0).then_some(*key)
        }),
    ]);
    (limits.unwrap().with_clock(clock), time)
}

fn left(limits: &CompositeRateLimiter<u64>, client: u64) -> Vec<Option<u64>> {
    let statuses = limits.peek(&client);
    statuses
        .map(|(_, status)| status.map(|status| status.remaining()))
        .collect()
}

#[test]
fn a_look_takes_nothing_and_one_key_is_reset_in_one_limit() {
    let (limits, _time) = two();
    limits.check_n(&1, 3).unwrap();
    limits.check_n(&2, 2).unwrap();
    assert_eq!(left(&limits, 1), [Some(5), Some(1)]);
    assert_eq!(left(&limits, 1), [Some(5), Some(1)]);
    assert_eq!(left(&limits, 0), [Some(5), None]);
    let peeked = limits.peek_key("client", &2_u64).unwrap();
    assert_eq!(peeked.remaining(), 2);
    limits.reset_key("client", &1_u64).unwrap();
    assert_eq!(left(&limits, 1), [Some(5), Some(4)]);
    assert_eq!(left(&limits, 2), [Some(5), Some(2)]);
    let wrong = limits.reset_key("clients", &1_u64).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "limit is \"clients\", must be the name of one"
    );
    // A key of another type would be another key.
    let wrong = limits.reset_key("client", &1_u32).unwrap_err();
    assert!(wrong.to_string().starts_with("key is a u32, must be"));
    assert!(limits.peek_key("second", &1_u64).is_err());
}

#[test]
fn one_limit_changes_live_and_each_key_keeps_what_it_used() {
    for (inherit, shared, keyed) in [
        (Inherit::Keep, 6, 1),
        (Inherit::Proportional, 12, 2),
        (Inherit::Additive, 16, 5),
        (Inherit::Reset, 20, 8),
    ] {
        let (limits, time) = two();
        limits.check_n(&1, 3).unwrap();
        limits.check_n(&2, 1).unwrap();
        let clone = limits.clone();
        clone.set_policy("second", policy("20/s"), inherit).unwrap();
        let longer = policy("fixed-window 8/m");
        clone.set_policy("client", longer, inherit).unwrap();
        assert_eq!(left(&limits, 1), [Some(shared), Some(keyed)], "{inherit:?}");
        assert_eq!(limits.limits()[1].policy(), longer);
        assert_eq!(left(&limits, 3)[1], Some(8), "{inherit:?}: a new key");
        time.advance(Duration::from_secs(60));
        assert_eq!(left(&limits, 1), [Some(20), Some(8)], "{inherit:?}");
    }
}

/// What an hour ago said nothing any more would say something in windows of a day.
#[test]
fn a_key_that_was_idle_stays_so_under_longer_windows() {
    let (limits, time) = two();
    limits.check_n(&1, 4).unwrap();
    time.advance(Duration::from_secs(61));
    let longer = policy("fixed-window 4/d");
    limits.set_policy("client", longer, Inherit::Keep).unwrap();
    assert_eq!(left(&limits, 1)[1], Some(4));
}

#[test]
fn a_change_that_makes_no_sense_is_refused_and_changes_nothing() {
    let (limits, _time) = two();
    let other = limits.set_policy("client", policy("4/m"), Inherit::Keep);
    assert_eq!(
        other.unwrap_err().to_string(),
        "policy is a token-bucket, must be a fixed-window as before"
    );
    let leaky = policy("leaky-bucket 10/s");
    assert!(limits.set_policy("second", leaky, Inherit::Keep).is_err());
    assert!(
        limits
            .set_policy("x", policy("4/m"), Inherit::Keep)
            .is_err()
    );
    assert_eq!(limits.limits()[0].policy(), policy("10/s"));
}

#[test]
fn a_full_table_denies_or_evicts_where_it_is_to() {
    for when_full in [WhenFull::Deny, WhenFull::Evict] {
        let (clock, _time) = Clock::manual();
        let limits = CompositeRateLimiter::new([
            CompositeLimit::shared("all", policy("1000000/d")),
            CompositeLimit::keyed("key", policy("5/d"), 1, |key: &u64| Some(*key))
                .with_when_full(when_full),
        ]);
        let limits = limits.unwrap().with_clock(clock);
        let admitted = (0..100).filter(|key| limits.check(key).is_ok()).count();
        let snapshot = limits.limits()[1].snapshot();
        assert_eq!(snapshot.overflowed, 0);
        assert_eq!(left(&limits, 0)[0], Some(1_000_000 - admitted as u64));
        if when_full == WhenFull::Deny {
            assert_eq!((admitted, snapshot.denied), (16, 84));
            let refused = limits.check(&1_000).unwrap_err();
            assert_eq!(refused.rejected().reason(), Reason::NoRoom);
            assert!(refused.retry_after().is_some());
        } else {
            assert_eq!((admitted, snapshot.evicted), (100, 84));
        }
    }
}

/// Each check is decided by the old numbers or the new ones, and what was taken stays taken.
#[test]
fn sums_hold_while_a_limit_changes_under_threads() {
    let limits = CompositeRateLimiter::new([CompositeLimit::keyed(
        "key",
        policy("fixed-window 1000/d"),
        100,
        |key: &u64| Some(*key),
    )]);
    let limits = limits.unwrap().with_clock(Clock::manual().0);
    let barrier = Arc::new(Barrier::new(3));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (limits, barrier) = (limits.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                (0..700).filter(|_| limits.check(&7).is_ok()).count()
            })
        })
        .collect();
    barrier.wait();
    for _ in 0..50 {
        for limit in ["fixed-window 900/d", "fixed-window 1000/d"] {
            let change = limits.set_policy("key", policy(limit), Inherit::Additive);
            change.unwrap();
        }
    }
    let admitted: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert!((900..=1_000).contains(&admitted), "{admitted}");
    let left = limits.peek_key("key", &7_u64).unwrap().remaining();
    assert_eq!(left, 1_000 - admitted as u64);
}

#[test]
fn a_refund_goes_to_every_limit_and_no_further_than_what_was_used() {
    let key = |key: &u64| Some(*key);
    let limits = CompositeRateLimiter::new([
        CompositeLimit::shared("all", policy("fixed-window 9/d")),
        CompositeLimit::keyed("key", policy("5/d"), 100, key),
        CompositeLimit::keyed("twice", policy("strict-window 8/d"), 100, key).with_cost(|_| 2),
    ]);
    let limits = limits.unwrap().with_clock(Clock::manual().0);
    let left = |key| {
        let standings = limits.peek(key);
        let left: Vec<_> = standings
            .map(|(_, status)| status.unwrap().remaining())
            .collect();
        left
    };
    limits.check_n(&7, 3).unwrap();
    limits.check_n(&8, 3).unwrap();
    assert_eq!(left(&7), [3, 2, 6]);
    limits.refund(&7, 2);
    assert_eq!(left(&7), [5, 4, 8]);
    assert_eq!(left(&8), [5, 2, 6]);
    limits.refund(&7, 99);
    assert_eq!(left(&7), [9, 5, 8]);
}
