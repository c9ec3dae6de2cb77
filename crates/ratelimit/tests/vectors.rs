//! What peers' own tests promise, as facts about a limiter: governor's (0.10), and of Bucket4j
//! (8.x) those on its greedy refill, which is the same bucket.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use stanchion_core::{Clock, ManualClock};
use stanchion_ratelimit::{KeyedRateLimiter, Policy, Quota, RateLimiter, Reason};

fn limiter(quota: &str) -> (RateLimiter, ManualClock) {
    let (clock, time) = Clock::manual();
    (
        RateLimiter::new(quota.parse::<Policy>().unwrap()).with_clock(clock),
        time,
    )
}

/// A limiter of which all but `left` is taken.
fn limiter_with(quota: &str, left: u64) -> (RateLimiter, ManualClock) {
    let (limiter, time) = limiter(quota);
    let taken = limiter.policy().limit() - left;
    assert_eq!(limiter.check_n(taken).unwrap().remaining(), left);
    (limiter, time)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

/// Checks `cost` after each step, and compares what becomes of it.
#[track_caller]
fn assert_sequence(quota: &str, steps: &[(Duration, u64, bool)]) {
    let (limiter, time) = limiter(quota);
    for (index, (step, cost, admitted)) in steps.iter().enumerate() {
        time.advance(*step);
        let result = limiter.check_n(*cost);
        assert_eq!(result.is_ok(), *admitted, "step {index} of {quota}");
    }
}

#[test]
fn governor_two_per_second() {
    assert_sequence(
        "2/s",
        &[
            (ms(0), 1, true),
            (ms(1), 1, true),
            (ms(1), 1, false),
            (ms(1_000), 1, true),
            (ms(1), 1, true),
            (ms(1), 1, false),
        ],
    );
}

#[test]
fn governor_an_idle_bucket_fills_to_its_burst_and_no_further() {
    let (limiter, time) = limiter("5/s");
    for _ in 0..2 {
        let admitted = (0..5).filter(|_| limiter.check().is_ok()).count();
        assert_eq!(admitted, 5);
        assert!(limiter.check().is_err());
        time.advance(ms(2_000));
    }
}

#[test]
fn governor_a_cost_above_the_burst_is_told_apart_and_takes_nothing() {
    let (limiter, _time) = limiter("5/s");
    for cost in [15, 7, 6] {
        let rejected = limiter.check_n(cost).unwrap_err();
        assert_eq!(rejected.reason(), Reason::CostAboveBurst);
        assert_eq!(rejected.status().unwrap().limit(), 5);
        assert_eq!(rejected.retry_after(), None);
    }
    assert_eq!(limiter.check_n(5).unwrap().remaining(), 0);
}

#[test]
fn governor_costs_of_two_at_four_per_second() {
    assert_sequence(
        "4/s",
        &[
            (ms(0), 2, true),
            (ms(0), 2, true),
            (ms(1), 2, false),
            (ms(1_000), 2, true),
            (ms(1), 2, true),
            (ms(1), 2, false),
        ],
    );
}

#[test]
fn governor_what_remains_is_told_with_each_admission() {
    let (limiter, _time) = limiter("4/s");
    let remaining: Vec<_> = (0..4)
        .map(|_| limiter.check().unwrap().remaining())
        .collect();
    assert_eq!(remaining, [3, 2, 1, 0]);
    assert!(limiter.check().is_err());
}

#[test]
fn governor_a_refused_request_passes_exactly_at_the_moment_it_was_told() {
    for capacity in 1..=20_u64 {
        for steps in 1..=20 {
            let (limiter, time) = limiter(&format!("{capacity}/s"));
            let _ = limiter.check_n(capacity).unwrap();
            let wait = limiter.check().unwrap_err().retry_after().unwrap();
            let start = time.now();
            for step in 0..steps {
                time.set(start + wait * step / steps);
                assert!(limiter.check().is_err(), "{capacity}/s, {step} of {steps}");
            }
            time.set(start + wait - ns(1));
            assert!(limiter.check().is_err());
            time.set(start + wait);
            assert!(limiter.check().is_ok());
        }
    }
}

#[test]
fn governor_twenty_threads_share_twenty_per_second() {
    let (limiter, time) = limiter("20/s");
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert!(limiter.check().is_ok()));
        }
    });
    time.advance(ms(2));
    assert!(limiter.check().is_err());
    time.advance(ms(998));
    assert!(limiter.check().is_ok());
}

#[test]
fn governor_a_billion_and_one_per_second_is_never_denied_to_two_million_checks() {
    let (limiter, _time) = limiter("1000000001/s");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert!((0..1_000_000).all(|_| limiter.check().is_ok())));
        }
    });
    assert_eq!(limiter.peek().remaining(), 998_000_001);
}

/// governor keeps them until it is swept; here they are gone when they are full.
#[test]
fn governor_keys_are_forgotten_as_they_refill() {
    let (clock, time) = Clock::manual();
    let limiter = KeyedRateLimiter::new("1/s".parse::<Quota>().unwrap(), 100).unwrap();
    let limiter = limiter.with_clock(clock);
    for (key, step) in [(1, 0), (2, 200), (3, 600)] {
        time.advance(ms(step));
        assert!(limiter.check(&key).is_ok());
    }
    // Taken at 0, 200 and 800 ms, full a second later; it is 800 ms now.
    for (step, keys) in [(199, 3), (1, 2), (199, 2), (1, 1), (599, 1), (1, 0)] {
        time.advance(ms(step));
        assert_eq!(limiter.count_keys(), keys, "at {:?}", time.now());
    }
    assert_eq!(limiter.snapshot().overflowed, 0);
}

#[test]
fn bucket4j_a_fraction_of_a_token_is_kept() {
    let (limiter, time) = limiter_with("10/100ns", 0);
    time.advance(ns(97));
    assert!(limiter.check_n(9).is_ok());
    assert!(limiter.check().is_err());
    time.advance(ns(3));
    assert!(limiter.check().is_ok());
    assert!(limiter.check().is_err());
}

#[test]
fn bucket4j_refill_is_rounded_down_and_carried() {
    let (limiter, time) = limiter_with("100/1000ns", 0);
    time.advance(ns(3));
    assert_eq!(limiter.peek().remaining(), 0);
    time.advance(ns(7));
    assert_eq!(limiter.peek().remaining(), 1);

    let (limiter, time) = limiter_with("100/1000ns", 90);
    time.advance(ns(17));
    assert_eq!(limiter.peek().remaining(), 91);
    time.advance(ns(3));
    assert_eq!(limiter.peek().remaining(), 92);
}

#[test]
fn bucket4j_a_clock_one_nanosecond_back_changes_nothing() {
    let (limiter, time) = limiter("100/1000ns");
    time.advance(ns(1_000));
    let _ = limiter.check_n(50).unwrap();
    time.set(time.now() - ns(1));
    assert_eq!(limiter.peek().remaining(), 49, "told as of that moment");
    time.advance(ns(1));
    assert_eq!(limiter.peek().remaining(), 50);
}

#[test]
fn bucket4j_waits_for_several_tokens() {
    for (quota, left, cost, wait) in [
        ("10/100ns", 0, 10, 100),
        ("10/100ns", 4, 7, 30),
        ("10/100ns burst 20", 4, 11, 70),
        ("2/100ns burst 10", 0, 10, 500),
        ("100/100ns", 70, 80, 10),
        ("10/100ns", 4, 4, 0),
    ] {
        let (limiter, _time) = limiter_with(quota, left);
        let status = limiter.peek();
        let case = format!("{quota}, {left} left, {cost} asked for");
        assert_eq!(status.available_after(cost), Some(ns(wait)), "{case}");
        assert_eq!(status.remaining(), left, "{case}");
        if wait > 0 {
            let rejected = limiter.check_n(cost).unwrap_err();
            assert_eq!(rejected.retry_after(), Some(ns(wait)), "{case}");
        }
    }
    let (limiter, _time) = limiter_with("100/100ns", 70);
    assert_eq!(limiter.peek().available_after(120), None);
}

#[test]
fn bucket4j_a_part_of_a_token_shortens_the_wait() {
    let (limiter, time) = limiter_with("1/s burst 4", 0);
    time.advance(ms(200));
    let status = limiter.peek();
    assert_eq!(status.remaining(), 0);
    assert_eq!(status.available_after(1), Some(ms(800)));
    assert_eq!(status.available_after(3), Some(ms(2_800)));
}

/// To fill it to the brim drops the part of a token that was there.
#[test]
fn bucket4j_what_is_given_back_fills_to_the_brim_and_no_further() {
    let (limiter, time) = limiter_with("10/100ns", 0);
    time.advance(ns(97));
    limiter.refund(10);
    assert!(limiter.check_n(10).is_ok());
    time.advance(ns(3));
    assert!(limiter.check().is_err());
}

#[test]
fn bucket4j_nothing_grows_beyond_the_capacity() {
    const HUGE: u64 = i64::MAX as u64;
    let buckets = ["10/s", "7/m", "10/s burst 3", "fixed-window 5/6ns"];
    for text in buckets.into_iter().chain(["sliding-window-log 4/s"]) {
        let (limiter, time) = limiter(text);
        let capacity = limiter.policy().limit();
        for idle in [ms(12 * 3_600_000), ns(HUGE / 8), ns(HUGE / 8), ns(HUGE / 8)] {
            time.advance(idle);
            assert_eq!(limiter.peek().remaining(), capacity, "{text}, {idle:?}");
            assert!(limiter.check_n(capacity).is_ok(), "{text}, {idle:?}");
            assert!(limiter.check().is_err(), "{text}, {idle:?}");
            limiter.refund(HUGE);
            assert_eq!(limiter.peek().remaining(), capacity, "{text}, {idle:?}");
        }
    }
}

#[test]
fn bucket4j_one_per_nanosecond() {
    let (limiter, time) = limiter("1/1ns");
    for _ in 0..10 {
        assert!(limiter.check().is_ok());
        assert!(limiter.check().is_err());
        time.advance(ns(1));
    }
}

#[test]
fn bucket4j_time_to_be_full_again() {
    let (limiter, time) = limiter_with("10/100ns", 1);
    assert_eq!(limiter.peek().reset_after(), ns(90));
    time.advance(ns(90));
    assert_eq!(limiter.peek().reset_after(), ns(0));
    assert_eq!(limiter.peek().remaining(), 10);
    // 23 are owed.
    let (limiter, _time) = limiter_with("2/100ns burst 10", 0);
    limiter.force(23);
    assert_eq!(limiter.peek().reset_after(), ns(1_650));
    // Refilled at once, at the turn of the interval.
    let (limiter, _time) = limiter_with("fixed-window 10/100ns", 1);
    assert_eq!(limiter.peek().reset_after(), ns(100));
}
