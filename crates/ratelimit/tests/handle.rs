//! Slots for later, debts, refunds and live changes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use stanchion_core::{Clock, ManualClock};
use stanchion_ratelimit::{Inherit, Policy, RateLimiter, Reason};

const FOREVER: Duration = Duration::MAX;

fn limiter(policy: &str) -> (RateLimiter, ManualClock) {
    let (clock, time) = Clock::manual();
    let policy: Policy = policy.parse().unwrap();
    (RateLimiter::new(policy).with_clock(clock), time)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

/// Those on which a slot can be promised for later: one every 100 ms, or ten at each full second.
const WAITING: [(&str, [u64; 3]); 4] = [
    ("10/s burst 10", [100, 200, 300]),
    ("leaky-bucket 10/s queue 20", [100, 200, 300]),
    ("fixed-window 10/s", [1_000, 1_000, 1_000]),
    ("sliding-window-log 10/s", [1_000, 1_000, 1_000]),
];

/// Uses all that there is now.
fn drain(limiter: &RateLimiter) {
    while limiter.check().is_ok() {}
}

#[test]
fn slots_are_granted_in_the_order_of_the_calls() {
    for (policy, millis) in WAITING {
        let (limiter, time) = limiter(policy);
        drain(&limiter);
        let slots = millis.map(|_| limiter.reserve(1, FOREVER).unwrap());
        assert_eq!(
            slots.each_ref().map(|slot| slot.ready_in()),
            millis.map(ms),
            "{policy}"
        );
        // Nobody overtakes who waits.
        assert!(limiter.check().is_err(), "{policy}");
        time.advance(ms(millis[2]));
        assert!(
            slots.iter().all(|slot| slot.ready_in().is_zero()),
            "{policy}"
        );
        slots.into_iter().for_each(|slot| slot.commit());
    }
}

#[test]
fn a_slot_that_lies_too_late_is_refused_at_once_and_takes_nothing() {
    for (policy, millis) in WAITING {
        let (limiter, _time) = limiter(policy);
        drain(&limiter);
        let refused = limiter.reserve(1, ms(millis[0]) - ns(1)).unwrap_err();
        assert_eq!(refused.reason(), Reason::Exceeded);
        assert_eq!(refused.retry_after(), Some(ms(millis[0])), "{policy}");
        let slot = limiter.reserve(1, ms(millis[0])).unwrap();
        assert_eq!(slot.ready_in(), ms(millis[0]), "{policy}");
    }
}

#[test]
fn what_is_dropped_last_is_given_back_and_what_others_stand_behind_is_not() {
    for (policy, [first, second, third]) in WAITING {
        let (limiter, _time) = limiter(policy);
        drain(&limiter);
        let ready = |slot: &stanchion_ratelimit::Reservation| slot.ready_in();
        let one = limiter.reserve(1, FOREVER).unwrap();
        let two = limiter.reserve(1, FOREVER).unwrap();
        assert!(!one.cancel(), "{policy}: someone stands behind it");
        let three = limiter.reserve(1, FOREVER).unwrap();
        assert_eq!(ready(&three), ms(third), "{policy}: not in the slot of two");
        drop(three);
        assert!(two.cancel(), "{policy}");
        let again = limiter.reserve(1, FOREVER).unwrap();
        assert_eq!(ready(&again), ms(second), "{policy}");
        let _ = first;
    }
}

#[test]
fn slots_given_back_from_the_last_to_the_first_leave_nothing_taken() {
    for (policy, _) in WAITING {
        let (limiter, time) = limiter(policy);
        let mut slots: Vec<_> = (0..12)
            .map(|_| limiter.reserve(1, FOREVER).unwrap())
            .collect();
        time.advance(ms(1));
        while let Some(slot) = slots.pop() {
            assert!(slot.cancel(), "{policy}");
        }
        assert_eq!(
            limiter.peek().remaining(),
            limiter.peek().limit(),
            "{policy}"
        );
        assert!(limiter.peek().reset_after().is_zero(), "{policy}");
    }
}

#[test]
fn a_committed_slot_stays_taken() {
    for (policy, _) in WAITING {
        let (limiter, _time) = limiter(policy);
        limiter.reserve(1, FOREVER).unwrap().commit();
        assert_eq!(
            limiter.peek().remaining(),
            limiter.peek().limit() - 1,
            "{policy}"
        );
    }
}

#[test]
fn a_cost_of_nothing_is_ready_and_takes_nothing() {
    for (policy, _) in WAITING {
        let (limiter, _time) = limiter(policy);
        drain(&limiter);
        let slot = limiter.reserve(0, Duration::ZERO).unwrap();
        assert!(slot.ready_in().is_zero(), "{policy}");
        slot.commit();
    }
}

#[test]
fn a_cost_that_never_fits_is_told_apart() {
    for policy in [
        "10/s",
        "leaky-bucket 10/s queue 9",
        "fixed-window 10/s",
        "sliding-window-counter 10/s",
        "sliding-window-log 10/s",
        "strict-window 10/s",
    ] {
        let (limiter, _time) = limiter(policy);
        let never = limiter.reserve(11, FOREVER).unwrap_err();
        assert_eq!(never.reason(), Reason::CostAboveBurst, "{policy}");
        assert_eq!(never.retry_after(), None, "{policy}");
        assert_eq!(limiter.peek().remaining(), limiter.peek().limit());
    }
}

#[test]
fn what_promises_nothing_for_later_says_so() {
    for policy in [
        "sliding-window-counter 2/s",
        "strict-window 2/s",
        "strict-window 2000/s",
    ] {
        let (limiter, _time) = limiter(policy);
        limiter.reserve(1, FOREVER).unwrap().commit();
        drain(&limiter);
        let refused = limiter.reserve(1, FOREVER).unwrap_err();
        assert_eq!(refused.reason(), Reason::NoWaiting, "{policy}");
        assert!(refused.retry_after().unwrap() > ms(0), "{policy}");
    }
}

#[test]
fn a_leaky_bucket_lets_one_out_at_a_time_and_queues_so_many() {
    let (limiter, time) = limiter("leaky-bucket 10/s queue 3");
    let slots: Vec<_> = (0..4)
        .map(|_| limiter.reserve(1, FOREVER).unwrap())
        .collect();
    let waits: Vec<_> = slots.iter().map(|slot| slot.ready_in()).collect();
    assert_eq!(waits, [ms(0), ms(100), ms(200), ms(300)]);
    let full = limiter.reserve(1, FOREVER).unwrap_err();
    assert_eq!(full.reason(), Reason::Exceeded);
    time.advance(ms(100));
    assert_eq!(limiter.reserve(1, FOREVER).unwrap().ready_in(), ms(300));
    slots.into_iter().for_each(|slot| slot.commit());
    // Idle for long, and still never two together.
    time.advance(ms(10_000));
    assert!(limiter.check().is_ok());
    assert!(limiter.check().is_err());
}

#[test]
fn a_fixed_window_serves_a_waiting_cost_whole_in_one_window() {
    let (limiter, time) = limiter("fixed-window 3/s");
    let _ = limiter.check_n(2).unwrap();
    let slot = limiter.reserve(2, FOREVER).unwrap();
    assert_eq!(slot.ready_in(), ms(1_000));
    time.advance(ms(1_000));
    slot.commit();
    assert!(limiter.check().is_ok());
    assert!(limiter.check().is_err(), "two and one are three");
}

#[test]
fn a_log_bounds_who_waits() {
    let (limiter, _time) = limiter("sliding-window-log 5/s");
    let slots: Vec<_> = (0..10)
        .map(|_| limiter.reserve(1, FOREVER).unwrap())
        .collect();
    assert!(limiter.reserve(1, FOREVER).is_err());
    drop(slots);
}

#[test]
fn a_debt_is_paid_off_by_time() {
    for (policy, paid) in [
        ("10/s burst 10", ms(1_100)),
        ("fixed-window 10/s", ms(2_000)),
        ("sliding-window-counter 10/s", ms(1_550)),
        ("sliding-window-log 10/s", ms(1_000)),
        ("strict-window 10/s", ms(1_000)),
    ] {
        let (limiter, time) = limiter(policy);
        let status = limiter.force(20);
        assert_eq!(status.remaining(), 0, "{policy}");
        assert_eq!(
            limiter.check().unwrap_err().retry_after(),
            Some(paid),
            "{policy}"
        );
        time.advance(paid);
        assert!(limiter.check().is_ok(), "{policy}");
    }
    for policy in [
        "10/s",
        "fixed-window 10/s",
        "sliding-window-log 10/s",
        "strict-window 2000/s",
    ] {
        let (limiter, _time) = limiter(policy);
        for _ in 0..100 {
            limiter.force(u64::MAX);
        }
        assert!(limiter.check().is_err());
        assert_eq!(limiter.force(0).remaining(), 0);
    }
}

#[test]
fn what_was_not_needed_is_given_back() {
    for policy in [
        "10/s",
        "fixed-window 10/s",
        "sliding-window-counter 10/s",
        "sliding-window-log 10/s",
        "strict-window 10/s",
        "strict-window 2000/s",
    ] {
        let (limiter, _time) = limiter(policy);
        let limit = limiter.peek().limit();
        let _ = limiter.check_n(limit).unwrap();
        assert_eq!(limiter.refund(4), 4, "{policy}");
        assert_eq!(limiter.peek().remaining(), 4, "{policy}");
        assert_eq!(
            limiter.refund(u64::MAX),
            limit - 4,
            "{policy}: no more than was used"
        );
        assert_eq!(limiter.peek().remaining(), limit, "{policy}");
    }
}

#[test]
fn a_refund_leaves_who_waits_its_slot() {
    for (policy, [first, second, _]) in WAITING {
        let (limiter, _time) = limiter(policy);
        drain(&limiter);
        let waiting = limiter.reserve(1, FOREVER).unwrap();
        assert_eq!(limiter.refund(5), 0, "{policy}");
        let next = limiter.reserve(1, FOREVER).unwrap();
        assert_eq!(waiting.ready_in(), ms(first), "{policy}");
        assert_eq!(next.ready_in(), ms(second), "{policy}");
    }
}

/// bucket4j: 3 per 5 ns, 1.8 tokens left after 3 ns, changed to 60 per 1000 ns.
#[test]
fn bucket4j_inherits_in_four_ways() {
    for (inherit, told) in [
        (Inherit::Keep, [(0, 1), (4, 2)].as_slice()),
        (Inherit::Proportional, &[(0, 36), (4, 36), (13, 37)]),
        (Inherit::Additive, &[(0, 58), (4, 59)]),
        (Inherit::Reset, &[(0, 60)]),
    ] {
        let (limiter, time) = limiter("3/5ns");
        let _ = limiter.check_n(3).unwrap();
        time.advance(ns(3));
        limiter
            .set_quota("60/1000ns".parse::<Policy>().unwrap(), inherit)
            .unwrap();
        for (step, left) in told {
            time.advance(ns(*step));
            assert_eq!(
                limiter.peek().remaining(),
                *left,
                "{inherit:?} after {step} ns"
            );
        }
    }
}

/// bucket4j: 500 at once becomes 200, and a full bucket is full.
#[test]
fn bucket4j_a_full_bucket_stays_full_in_a_smaller_one() {
    for policy in ["", "fixed-window ", "sliding-window-log ", "strict-window "] {
        for inherit in [Inherit::Keep, Inherit::Proportional] {
            let (limiter, _time) = limiter(&format!("{policy}500/s"));
            let smaller: Policy = format!("{policy}200/s").parse().unwrap();
            limiter.set_quota(smaller, inherit).unwrap();
            assert_eq!(limiter.peek().remaining(), 200);
            assert_eq!(limiter.policy(), smaller);
        }
    }
}

#[test]
fn windows_inherit_in_four_ways() {
    for algorithm in [
        "",
        "fixed-window ",
        "sliding-window-counter ",
        "sliding-window-log ",
        "strict-window ",
    ] {
        for (limit, inherit, left) in [
            (200, Inherit::Keep, 70),
            (200, Inherit::Proportional, 140),
            (200, Inherit::Additive, 170),
            (200, Inherit::Reset, 200),
            (50, Inherit::Keep, 50),
            (50, Inherit::Proportional, 35),
            (50, Inherit::Additive, 20),
            (2_000, Inherit::Additive, 1_970),
        ] {
            let (limiter, _time) = limiter(&format!("{algorithm}100/m"));
            let _ = limiter.check_n(30).unwrap();
            let next: Policy = format!("{algorithm}{limit}/m").parse().unwrap();
            limiter.set_quota(next, inherit).unwrap();
            assert_eq!(limiter.peek().remaining(), left, "{next} {inherit:?}");
        }
    }
}

/// Ten times the clock's finest units apart, and back.
#[test]
fn changes_upon_changes_keep_what_is_used() {
    let (limiter, time) = limiter("7/s burst 100");
    let _ = limiter.check_n(60).unwrap();
    for text in [
        "1021/d burst 100",
        "1/d burst 100",
        "3/s burst 100",
        "7/s burst 100",
    ] {
        limiter
            .set_quota(text.parse::<Policy>().unwrap(), Inherit::Additive)
            .unwrap();
        assert_eq!(limiter.peek().remaining(), 40, "{text}");
    }
    time.advance(ms(1_000));
    assert_eq!(limiter.peek().remaining(), 47);
}

#[test]
fn another_algorithm_is_refused_and_changes_nothing() {
    let (limiter, _time) = limiter("100/s");
    let window: Policy = "fixed-window 5/s".parse().unwrap();
    let error = limiter.set_quota(window, Inherit::Keep).unwrap_err();
    assert!(error.to_string().contains("fixed-window"), "{error}");
    assert_eq!(limiter.policy(), "100/s".parse().unwrap());
    let leased = limiter.with_lease(4).unwrap();
    let quota: Policy = "5/s".parse().unwrap();
    let error = leased.set_quota(quota, Inherit::Keep).unwrap_err();
    assert!(error.to_string().contains("leased"), "{error}");
}

#[test]
fn a_slot_of_another_quota_is_not_given_back() {
    let (limiter, _time) = limiter("10/s burst 1");
    let slot = limiter.reserve(1, FOREVER).unwrap();
    limiter
        .set_quota("20/s burst 1".parse::<Policy>().unwrap(), Inherit::Keep)
        .unwrap();
    assert!(!slot.cancel());
    assert_eq!(limiter.peek().remaining(), 0);
}

#[test]
fn a_limiter_with_leases_reserves_from_its_bucket() {
    let (limiter, _time) = limiter("10/s burst 10");
    let limiter = limiter.with_lease(2).unwrap();
    drain(&limiter);
    let slot = limiter.reserve(1, FOREVER).unwrap();
    assert_eq!(slot.ready_in(), ms(100));
    assert!(slot.cancel());
}

#[cfg(feature = "tokio")]
mod acquire {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_impossible_deadline_is_refused_at_the_first_poll() {
        let (limiter, _time) = limiter("10/s burst 1");
        drain(&limiter);
        let mut late = Box::pin(limiter.acquire(1, ms(99)));
        assert!(
            matches!(poll(&mut late), Poll::Ready(Err(rejected)) if rejected.reason() == Reason::Exceeded)
        );
        assert_eq!(limiter.reserve(1, FOREVER).unwrap().ready_in(), ms(100));
    }

    #[test]
    fn a_wait_that_is_dropped_gives_its_slot_back() {
        let (limiter, _time) = limiter("10/s burst 1");
        drain(&limiter);
        let mut waiting = Box::pin(limiter.acquire(1, FOREVER));
        assert!(
            waiting.ready_at().is_none(),
            "nothing happens before the first poll"
        );
        assert!(poll(&mut waiting).is_pending());
        assert!(waiting.ready_at().is_some());
        drop(waiting);
        assert_eq!(limiter.reserve(1, FOREVER).unwrap().ready_in(), ms(100));
    }

    /// Peers let waiters race again when they wake: of 1,000 here, one lost 948 places.
    #[test]
    fn a_thousand_waiters_are_served_in_the_order_of_their_slots() {
        for policy in ["500/s burst 1", "leaky-bucket 500/s queue 1000"] {
            let (limiter, time) = limiter(policy);
            let mut waiting: Vec<_> = (0..1_000)
                .map(|place| (place, Box::pin(limiter.acquire(1, FOREVER))))
                .collect();
            let mut served = Vec::new();
            for (place, future) in &mut waiting {
                if poll(future).is_ready() {
                    served.push(*place);
                }
            }
            // Woken from the last to the first, and none goes before its turn.
            for _ in 0..1_000 {
                waiting.retain_mut(|(place, _)| !served.contains(place));
                for (place, future) in waiting.iter_mut().rev() {
                    if poll(future).is_ready() {
                        served.push(*place);
                    }
                }
                time.advance(ms(2));
            }
            assert_eq!(served, (0..1_000).collect::<Vec<_>>(), "{policy}");
        }
    }

    #[test]
    fn jitter_lengthens_a_wait_and_never_beyond_its_deadline() {
        let (limiter, time) = limiter("10/s burst 1");
        let limiter = limiter.with_jitter(ms(50));
        drain(&limiter);
        let mut waiting = pin!(limiter.acquire(1, ms(110)));
        assert!(poll(&mut waiting).is_pending());
        time.advance(ms(100) - ns(1));
        assert!(poll(&mut waiting).is_pending(), "never early");
        time.advance(ms(10) + ns(1));
        assert!(poll(&mut waiting).is_ready(), "never after the deadline");
    }
}
