//! Slots for later, debts and refunds of one key among others.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stanchion_core::{Clock, ManualClock};
use stanchion_ratelimit::{Event, KeyedRateLimiter, Policy, Quota, Reason, WhenFull};

const FOREVER: Duration = Duration::MAX;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// With the waits of three slots once all is used.
const WAITING: [(&str, [u64; 3]); 5] = [
    ("10/s burst 10", [100, 200, 300]),
    ("leaky-bucket 10/s queue 20", [100, 200, 300]),
    ("fixed-window 10/s", [1_000, 1_000, 1_000]),
    ("sliding-window-log 10/s", [1_000, 1_000, 1_000]),
    ("by key", [100, 200, 300]),
];

fn limiter(policy: &str, max_keys: usize) -> (KeyedRateLimiter<u64>, ManualClock) {
    let (clock, time) = Clock::manual();
    let limiter = match policy {
        "by key" => {
            let quota: Quota = "10/s burst 10".parse().unwrap();
            let quota_of = move |_: &u64| Some(quota);
            KeyedRateLimiter::per_key("1/d".parse().unwrap(), quota_of, max_keys)
        }
        policy => KeyedRateLimiter::new(policy.parse::<Policy>().unwrap(), max_keys),
    };
    (limiter.unwrap().with_clock(clock), time)
}

fn drain(limiter: &KeyedRateLimiter<u64>, key: u64) {
    while limiter.check(&key).is_ok() {}
}

#[test]
fn each_key_has_slots_of_its_own_in_the_order_of_the_calls() {
    for (policy, millis) in WAITING {
        let (limiter, time) = limiter(policy, 100);
        for key in [1, 2] {
            drain(&limiter, key);
            let slots = millis.map(|_| limiter.reserve(&key, 1, FOREVER).unwrap());
            let waits = slots.each_ref().map(|slot| slot.ready_in());
            assert_eq!(waits, millis.map(ms), "{policy}");
            assert!(limiter.check(&key).is_err(), "{policy}: nobody overtakes");
            slots.into_iter().for_each(|slot| slot.commit());
        }
        assert!(limiter.check(&3).is_ok(), "{policy}");
        time.advance(ms(millis[2] - 1));
        assert!(limiter.check(&1).is_err(), "{policy}");
    }
}

#[test]
fn a_slot_that_lies_too_late_is_refused_at_once_and_takes_nothing() {
    for (policy, millis) in WAITING {
        let (limiter, _time) = limiter(policy, 100);
        drain(&limiter, 1);
        let refused = limiter.reserve(&1, 1, ms(millis[0] - 1)).unwrap_err();
        assert_eq!(refused.reason(), Reason::Exceeded, "{policy}");
        assert_eq!(refused.retry_after(), Some(ms(millis[0])), "{policy}");
        let slot = limiter.reserve(&1, 1, ms(millis[0])).unwrap();
        assert_eq!(slot.ready_in(), ms(millis[0]), "{policy}");
    }
}

#[test]
fn what_is_dropped_last_is_given_back_and_what_others_stand_behind_is_not() {
    for (policy, [_, second, third]) in WAITING {
        let (limiter, _time) = limiter(policy, 100);
        drain(&limiter, 1);
        let one = limiter.reserve(&1, 1, FOREVER).unwrap();
        let two = limiter.reserve(&1, 1, FOREVER).unwrap();
        // Another key is nobody behind it.
        limiter.reserve(&2, 1, FOREVER).unwrap().commit();
        assert!(!one.cancel(), "{policy}: someone stands behind it");
        let three = limiter.reserve(&1, 1, FOREVER).unwrap();
        assert_eq!(three.ready_in(), ms(third), "{policy}");
        drop(three);
        assert!(two.cancel(), "{policy}");
        let again = limiter.reserve(&1, 1, FOREVER).unwrap();
        assert_eq!(again.ready_in(), ms(second), "{policy}");
    }
}

#[test]
fn slots_given_back_from_the_last_to_the_first_leave_no_key() {
    for (policy, _) in WAITING {
        let (limiter, _time) = limiter(policy, 100);
        let reserve = |_| limiter.reserve(&1, 1, FOREVER).unwrap();
        let mut slots: Vec<_> = (0..12).map(reserve).collect();
        assert_eq!(limiter.count_keys(), 1, "{policy}");
        while let Some(slot) = slots.pop() {
            assert!(slot.cancel(), "{policy}");
        }
        let status = limiter.peek(&1);
        assert_eq!(status.remaining(), status.limit(), "{policy}");
        assert_eq!(limiter.count_keys(), 0, "{policy}");
    }
}

/// A new key in the old place knows nothing of a slot that the old one held.
#[test]
fn a_slot_of_a_key_that_was_forgotten_gives_nothing_back() {
    for (policy, _) in WAITING {
        let (limiter, time) = limiter(policy, 100);
        let slot = limiter.reserve(&1, 1, FOREVER).unwrap();
        limiter.reset(&1);
        time.advance(ms(1));
        limiter.check(&1).unwrap();
        let remaining = limiter.peek(&1).remaining();
        assert!(!slot.cancel(), "{policy}");
        assert_eq!(limiter.peek(&1).remaining(), remaining, "{policy}");
    }
}

#[test]
fn what_is_given_back_is_no_more_than_was_used() {
    for (policy, _) in WAITING {
        let (limiter, _time) = limiter(policy, 100);
        assert_eq!(limiter.refund(&1, 5), 0, "{policy}");
        assert_eq!(limiter.count_keys(), 0, "{policy}");
        let used = limiter.peek(&1).limit().min(4);
        limiter.check_n(&1, used).unwrap();
        assert_eq!(limiter.refund(&1, used - 1), used - 1, "{policy}");
        assert_eq!(limiter.peek(&1).remaining(), limiter.peek(&1).limit() - 1);
        assert_eq!(limiter.refund(&1, 100), 1, "{policy}");
        assert_eq!(limiter.count_keys(), 0, "{policy}");
        assert_eq!(limiter.peek(&2).remaining(), limiter.peek(&2).limit());
    }
}

/// Two would meet in the slot that is given back.
#[test]
fn nothing_is_given_back_behind_which_someone_waits() {
    for (policy, millis) in WAITING {
        let (limiter, _time) = limiter(policy, 100);
        drain(&limiter, 1);
        limiter.reserve(&1, 1, FOREVER).unwrap().commit();
        assert_eq!(limiter.refund(&1, 5), 0, "{policy}");
        let next = limiter.reserve(&1, 1, FOREVER).unwrap();
        assert_eq!(next.ready_in(), ms(millis[1]), "{policy}");
    }
}

#[test]
fn what_is_forced_is_owed_by_its_key_alone() {
    for (policy, _) in WAITING {
        let (limiter, time) = limiter(policy, 100);
        let limit = limiter.peek(&1).limit();
        assert_eq!(limiter.force(&1, 2 * limit).remaining(), 0, "{policy}");
        assert!(limiter.check(&1).is_err(), "{policy}");
        assert!(limiter.check(&2).is_ok(), "{policy}");
        time.advance(ms(10_000));
        assert!(limiter.check(&1).is_ok(), "{policy}: paid off by time");
    }
}

#[test]
fn a_cost_of_nothing_is_ready_and_takes_nothing() {
    for (policy, _) in WAITING {
        let (limiter, _time) = limiter(policy, 100);
        drain(&limiter, 1);
        let slot = limiter.reserve(&1, 0, Duration::ZERO).unwrap();
        assert!(slot.ready_in().is_zero(), "{policy}");
        limiter.force(&2, 0);
        assert_eq!(limiter.count_keys(), 1, "{policy}");
    }
}

#[test]
fn a_cost_that_never_fits_is_told_apart() {
    for (policy, _) in WAITING {
        let (limiter, _time) = limiter(policy, 100);
        let never = limiter.reserve(&1, 22, FOREVER).unwrap_err();
        assert_eq!(never.reason(), Reason::CostAboveBurst, "{policy}");
    }
    let (limiter, _time) = limiter("strict-window 2/s", 100);
    drain(&limiter, 1);
    let refused = limiter.reserve(&1, 1, FOREVER).unwrap_err();
    assert_eq!(refused.reason(), Reason::NoWaiting);
}

/// Room for one key is sixteen places: far more keys than that leave newcomers without any.
#[test]
fn a_full_table_treats_who_waits_as_it_treats_who_asks() {
    let names = ["10/s burst 10", "fixed-window 10/s", "by key"];
    for policy in names {
        for when_full in [WhenFull::Share, WhenFull::Deny, WhenFull::Evict] {
            let events = Arc::new(Mutex::new(Vec::new()));
            let heard = events.clone();
            let (limiter, _time) = limiter(policy, 1);
            let limiter = limiter
                .with_when_full(when_full)
                .with_observer(move |event: &Event| heard.lock().push(format!("{event:?}")));
            for key in 0..100 {
                limiter.check_n(&key, 1).ok();
            }
            events.lock().clear();
            let before = limiter.snapshot();
            let newcomer = limiter.reserve(&1_000, 1, Duration::ZERO);
            let after = limiter.snapshot();
            let heard = events.lock().concat();
            match when_full {
                WhenFull::Deny => {
                    assert_eq!(newcomer.unwrap_err().reason(), Reason::NoRoom, "{policy}");
                    assert_eq!(after.denied, before.denied + 1, "{policy}");
                    assert!(heard.contains("NoRoom"), "{policy}: {heard}");
                }
                WhenFull::Evict => {
                    newcomer.unwrap().commit();
                    assert_eq!(after.evicted, before.evicted + 1, "{policy}");
                    assert_eq!(heard, "Evicted", "{policy}");
                }
                _ => {
                    assert_eq!(after.overflowed, before.overflowed + 1, "{policy}");
                    assert!(heard.starts_with("Overflowed"), "{policy}: {heard}");
                }
            }
            // Forced work is refused by nobody, wherever it is counted.
            let places = (after.overflowed, after.evicted);
            limiter.force(&2_000, 1);
            let last = limiter.snapshot();
            assert_eq!(
                last.overflowed + last.evicted,
                places.0 + places.1 + 1,
                "{policy} {when_full:?}"
            );
        }
    }
}

#[test]
fn who_shares_a_state_waits_in_one_line_and_gives_back_to_it() {
    for policy in ["1/s burst 1", "fixed-window 1/s"] {
        let (limiter, _time) = limiter(policy, 1);
        for key in 0..100 {
            limiter.check(&key).ok();
        }
        let overflowing = |key: u64| limiter.reserve(&key, 1, FOREVER).unwrap();
        let (one, two) = (overflowing(1_000), overflowing(2_000));
        assert_eq!(one.ready_in(), ms(1_000), "{policy}");
        assert_eq!(two.ready_in(), ms(2_000), "{policy}");
        assert!(two.cancel(), "{policy}");
        assert!(one.cancel(), "{policy}");
        assert_eq!(overflowing(3_000).ready_in(), ms(1_000), "{policy}");
    }
}
