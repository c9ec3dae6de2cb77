//! Decades of uptime and the end of the clock: what is counted modulo something must not come round.

use std::time::Duration;

use proptest::prelude::*;
use stanchion_core::{Clock, Instant, ManualClock};
use stanchion_ratelimit::{Inherit, KeyedRateLimiter, Policy, RateLimiter};

use crate::oracle::{Reference, never_over};
use crate::windows::{Algorithm, assert_as_defined};
use crate::{Move, any_quota, apply, costs, exact_quota};

const DAY: u64 = 86_400_000_000_000;
const YEAR: u64 = 365 * DAY;

/// Close by, and up to `jump` away.
fn forwards(jump: u64) -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => Just(Move::Stay),
        5 => (0_u64..4_000).prop_map(Move::On),
        2 => (0..100 * DAY).prop_map(Move::Jump),
        1 => (0..jump).prop_map(Move::Jump),
    ]
}

/// The same, and back by as much.
fn both_ways(jump: u64) -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => forwards(jump),
        1 => (0..100 * DAY).prop_map(Move::Back),
        1 => (0..jump).prop_map(Move::Back),
    ]
}

fn limiter(policy: impl Into<Policy>) -> (RateLimiter, ManualClock) {
    let (clock, time) = Clock::manual();
    (RateLimiter::new(policy).with_clock(clock), time)
}

proptest! {
    #[test]
    fn every_decision_is_exact_over_decades(
        quota in exact_quota(),
        steps in prop::collection::vec((forwards(10 * YEAR), costs(), any::<bool>()), 1..40),
    ) {
        let (limiter, time) = limiter(quota);
        let mut reference = Reference::new(quota);
        for (step, cost, all) in steps {
            apply(&time, quota, step);
            let now = time.now();
            // Without a look before: that would bring the bucket into the era of now.
            let left = u64::try_from(reference.remaining(now)).unwrap();
            let cost = if all { left } else { cost };
            prop_assert_eq!(limiter.check_n(cost).is_ok(), reference.check(now, cost));
            prop_assert_eq!(u128::from(limiter.peek().remaining()), reference.remaining(now));
        }
    }

    /// The eras of a key's bucket come round after 36 years of the finest units.
    #[test]
    fn each_key_is_limited_exactly_for_thirty_years(
        quota in exact_quota(),
        steps in prop::collection::vec((forwards(100 * DAY), 0_u8..3, costs()), 1..100),
    ) {
        let (clock, time) = Clock::manual();
        let limiter = KeyedRateLimiter::new(quota, 100).unwrap().with_clock(clock);
        let mut references = [(); 3].map(|()| Reference::new(quota));
        for (step, key, cost) in steps {
            apply(&time, quota, step);
            let now = time.now();
            prop_assert!(now < Instant::from_nanos(30 * YEAR));
            let reference = &mut references[usize::from(key)];
            prop_assert_eq!(limiter.check_n(&key, cost).is_ok(), reference.check(now, cost));
            let left = limiter.peek(&key).remaining();
            prop_assert_eq!(u128::from(left), reference.remaining(now));
        }
    }

    #[test]
    fn windows_are_as_defined_over_decades(
        limit in 1_u64..30,
        window in prop_oneof![1_u64..1_000_000_000, 1..30 * DAY],
        steps in prop::collection::vec((forwards(10 * YEAR), costs(), any::<bool>()), 1..40),
    ) {
        let window = Duration::from_nanos(window);
        for algorithm in [Algorithm::Fixed, Algorithm::Counter, Algorithm::Log, Algorithm::Strict] {
            assert_as_defined(algorithm, (limit, window), steps.clone())?;
        }
        assert_as_defined(Algorithm::Strict, (limit + 1_024, window), steps)?;
    }

    /// Wherever the clock goes, a bucket brings no more than its burst and what its rate brings.
    #[test]
    fn no_jump_of_the_clock_brings_more_than_burst_and_rate(
        quota in any_quota(),
        steps in prop::collection::vec((both_ways(200 * DAY), costs()), 1..100),
        keyed in any::<bool>(),
    ) {
        let (clock, time) = Clock::manual();
        let one = RateLimiter::new(quota).with_clock(clock.clone());
        let of_keys = KeyedRateLimiter::new(quota, 100).unwrap().with_clock(clock);
        let mut admitted = Vec::new();
        for (step, cost) in steps {
            apply(&time, quota, step);
            let check = if keyed { of_keys.check_n(&1, cost) } else { one.check_n(cost) };
            if check.is_ok() {
                admitted.push((time.now(), cost));
            }
        }
        prop_assert_eq!(never_over(quota, &admitted), Ok(()));
    }
}

/// 584 years after the clock's origin its nanoseconds are all used up, and time stands still.
#[test]
fn at_the_end_of_the_clock_no_more_is_admitted_and_nothing_overflows() {
    let second = Duration::from_secs(1);
    for text in [
        "1021/s burst 7",
        "10/s",
        "leaky-bucket 10/s queue 5",
        "fixed-window 10/s",
        "sliding-window-counter 10/s",
        "sliding-window-log 10/s",
        "strict-window 10/s",
        "strict-window 2000/s",
    ] {
        let policy: Policy = text.parse().unwrap();
        let (limiter, time) = limiter(policy);
        let of_keys = KeyedRateLimiter::new(policy, 100).unwrap();
        let of_keys = of_keys.with_clock(limiter.reserve(0, second).unwrap().clock().clone());
        time.set(Instant::from_nanos(u64::MAX) - 3 * second);
        let mut admitted = [0_u64; 2];
        for _ in 0..50 {
            while limiter.check().is_ok() {
                admitted[0] += 1;
            }
            while of_keys.check(&1).is_ok() {
                admitted[1] += 1;
            }
            assert!(limiter.check().unwrap_err().retry_after() > Some(Duration::ZERO));
            time.advance(second / 10);
        }
        // Four turns of a window, or the burst and three seconds.
        let most = match policy {
            Policy::TokenBucket(quota) => quota.burst() + 3 * quota.count(),
            Policy::LeakyBucket(bucket) => 1 + 3 * bucket.count(),
            other => 4 * other.limit(),
        };
        assert!(
            admitted.iter().all(|sum| (7..=most).contains(sum)),
            "{text}: {admitted:?}"
        );
        limiter.force(3);
        if let Ok(slot) = limiter.reserve(1, Duration::MAX) {
            assert!(slot.ready_at() <= Instant::from_nanos(u64::MAX));
            slot.cancel();
        }
        limiter.refund(u64::MAX);
        limiter.set_quota(policy, Inherit::Proportional).unwrap();
        assert!(limiter.peek().remaining() <= limiter.peek().limit());
    }
}
