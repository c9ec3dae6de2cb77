//! Several limits at once: a request passes all, or takes nothing from any.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashMap;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use stanchion_core::{Clock, ManualClock};
use stanchion_ratelimit::{
    CompositeLimit, CompositeRateLimiter, Event, Policy, RateLimiter, Reason,
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
    assert!(
        limits
            .overflowed()
            .all(|(name, count)| name == "key" && count > 900)
    );
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
