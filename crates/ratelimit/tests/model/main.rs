//! Does it match the definition? Against exact rational arithmetic, at random times, also backwards.

#![expect(clippy::unwrap_used, reason = "a test")]

mod oracle;
mod waits;
mod windows;
mod years;

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use stanchion_core::{Clock, Instant, ManualClock};
use stanchion_ratelimit::{KeyedRateLimiter, Quota, RateLimiter, Reason};

use oracle::{Reference, never_over};

/// Quotas whose interval is exact.
fn exact_quota() -> impl Strategy<Value = Quota> {
    let periods = prop_oneof![
        Just(Duration::from_secs(1)),
        Just(Duration::from_secs(86_400)),
        (500_u64..2_000_000_000).prop_map(Duration::from_nanos),
    ];
    (1_u64..=1024, periods, 1_u64..2_000).prop_map(|(count, period, burst)| {
        let count = count.min(u64::try_from(period.as_nanos()).unwrap() * 2);
        Quota::new(count, period)
            .unwrap()
            .with_burst(burst)
            .unwrap()
    })
}

/// Any quota, most of them rounded.
fn any_quota() -> impl Strategy<Value = Quota> {
    let valid = (
        1_u64..3_000_000_000,
        1_u64..10_000_000_000,
        1_u64..1_000_000,
    );
    valid.prop_filter_map("valid", |(count, nanos, burst)| {
        let quota = Quota::new(count, Duration::from_nanos(nanos)).ok()?;
        quota.with_burst(burst).ok()
    })
}

/// Where the clock goes next: a few intervals on, a jump, or back.
#[derive(Clone, Copy, Debug)]
enum Move {
    Stay,
    On(u64),
    Jump(u64),
    Back(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => Just(Move::Stay),
        6 => (0_u64..4_000).prop_map(Move::On),
        1 => (0_u64..100_000_000_000).prop_map(Move::Jump),
        1 => (0_u64..10_000_000_000).prop_map(Move::Back),
    ]
}

fn apply(time: &ManualClock, quota: Quota, step: Move) {
    // Thousandths of the interval between two admissions, so that both sides of it are met.
    let interval = u64::try_from(quota.period().as_nanos()).unwrap() / quota.count();
    let now = time.now();
    match step {
        Move::Stay => {}
        Move::On(thousandths) => {
            let nanos = u128::from(interval) * u128::from(thousandths) / 1_000;
            time.set(now + Duration::from_nanos(u64::try_from(nanos).unwrap()));
        }
        Move::Jump(nanos) => time.set(now + Duration::from_nanos(nanos)),
        Move::Back(nanos) => time.set(now - Duration::from_nanos(nanos)),
    }
}

fn costs() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 4 => Just(1), 2 => 1_u64..20, 1 => 1_u64..3_000]
}

proptest! {
    #[test]
    fn every_decision_is_that_of_exact_arithmetic(
        quota in exact_quota(),
        steps in prop::collection::vec((moves(), costs(), any::<bool>()), 1..200),
    ) {
        let (clock, time) = Clock::manual();
        let limiter = RateLimiter::new(quota).with_clock(clock);
        let mut reference = Reference::new(quota);
        for (step, cost, all) in steps {
            apply(&time, quota, step);
            let now = time.now();
            // Often all there is, so that a bucket is drained to the last unit.
            let left = limiter.peek().remaining();
            let cost = if all { left } else { cost };
            let wait = reference.wait(now, cost);
            prop_assert_eq!(u128::from(limiter.peek().remaining()), reference.remaining(now));
            let decision = limiter.check_n(cost);
            prop_assert_eq!(decision.is_ok(), reference.check(now, cost));
            match decision {
                Ok(status) => {
                    prop_assert_eq!(u128::from(status.remaining()), reference.remaining(now));
                }
                Err(rejected) => {
                    let nanos = rejected.retry_after().map(|after| after.as_nanos());
                    prop_assert_eq!(nanos, wait.map(|wait| wait.div_ceil(reference.count)));
                    prop_assert_eq!(rejected.reason() == Reason::CostAboveBurst, wait.is_none());
                    prop_assert_ne!(nanos, Some(0));
                }
            }
        }
    }

    #[test]
    fn a_refused_request_passes_exactly_when_it_was_told_to_come_back(
        quota in any_quota(),
        steps in prop::collection::vec((moves(), costs()), 1..60),
    ) {
        let (clock, time) = Clock::manual();
        let limiter = RateLimiter::new(quota).with_clock(clock);
        for (step, cost) in steps {
            apply(&time, quota, step);
            let Err(rejected) = limiter.check_n(cost) else { continue };
            let Some(after) = rejected.retry_after() else { continue };
            let now = time.now();
            time.set(now + after - Duration::from_nanos(1));
            prop_assert!(limiter.check_n(cost).is_err());
            time.set(now + after);
            prop_assert!(limiter.check_n(cost).is_ok());
        }
    }

    #[test]
    fn no_stretch_of_time_admits_more_than_burst_and_rate(
        quota in any_quota(),
        steps in prop::collection::vec((moves(), costs()), 1..150),
    ) {
        let (clock, time) = Clock::manual();
        let limiter = RateLimiter::new(quota).with_clock(clock);
        let mut admitted = Vec::new();
        for (step, cost) in steps {
            apply(&time, quota, step);
            if limiter.check_n(cost).is_ok() {
                admitted.push((time.now(), cost));
            }
        }
        prop_assert_eq!(never_over(quota, &admitted), Ok(()));
    }

    /// A clock of whole nanoseconds can only show it for intervals of at least one, and for
    /// bursts that have room for what comes while the last nanosecond passes.
    #[test]
    fn steady_demand_gets_the_whole_rate(
        quota in any_quota().prop_filter("slow enough for the clock", |quota| {
            quota.burst() > 1 && u128::from(quota.count()) <= quota.period().as_nanos()
        }),
        polls in 50_u64..400,
    ) {
        let (clock, time) = Clock::manual();
        let limiter = RateLimiter::new(quota).with_clock(clock);
        let period = quota.period().as_nanos();
        // Asks for all there is, at times that have nothing to do with the interval.
        let span = Duration::from_nanos(u64::try_from(period / 7 + 1).unwrap());
        let mut admitted = 0_u128;
        for _ in 0..polls {
            let all = limiter.peek().remaining();
            prop_assert!(limiter.check_n(all).is_ok());
            admitted += u128::from(all);
            // Never so long that the bucket fills up: what spills over is not demand.
            let next = limiter.peek().available_after(1).unwrap();
            time.advance(span.min(next));
        }
        let nanos = (time.now() - Instant::ZERO).as_nanos();
        let due = nanos * u128::from(quota.count()) / period;
        // The documented drift: the interval is rounded up by less than 1/1024 ns (these quotas
        // all leave room for that).
        let drift = due * u128::from(quota.count()) / (period * 1024) + 1;
        prop_assert!(admitted + 1 + drift >= due, "{admitted} of {due} (drift {drift})");
    }

    #[test]
    fn each_key_is_limited_as_if_it_were_alone(
        quota in exact_quota(),
        steps in prop::collection::vec((moves(), 0_u16..40, costs()), 1..300),
    ) {
        let (clock, time) = Clock::manual();
        let limiter = KeyedRateLimiter::new(quota, 1_000).unwrap().with_clock(clock);
        let mut references: HashMap<u16, Reference> = HashMap::new();
        for (step, key, cost) in steps {
            // Forwards only: a bucket that was forgotten is taken for a little less than full
            // when the clock goes back, and the reference forgets nothing.
            if !matches!(step, Move::Back(_)) {
                apply(&time, quota, step);
            }
            let now = time.now();
            let reference = references.entry(key).or_insert_with(|| Reference::new(quota));
            prop_assert_eq!(
                u128::from(limiter.peek(&key).remaining()), reference.remaining(now)
            );
            prop_assert_eq!(limiter.check_n(&key, cost).is_ok(), reference.check(now, cost));
        }
        prop_assert_eq!(limiter.snapshot().overflowed, 0);
    }

    /// A table far too small, a clock that also goes back: a key has its own bucket, and a share
    /// of the overflow cell, and never more.
    #[test]
    fn a_full_table_never_admits_more_than_bucket_and_overflow_cell(
        quota in any_quota(),
        steps in prop::collection::vec((moves(), 0_u16..40, costs()), 1..300),
    ) {
        let (clock, time) = Clock::manual();
        let limiter = KeyedRateLimiter::new(quota, 4).unwrap().with_clock(clock);
        let mut own: HashMap<u16, Vec<(Instant, u64)>> = HashMap::new();
        let mut shared = Vec::new();
        for (step, key, cost) in steps {
            apply(&time, quota, step);
            let before = limiter.snapshot().overflowed;
            let admitted = limiter.check_n(&key, cost).is_ok();
            let overflowed = limiter.snapshot().overflowed > before;
            match (admitted, overflowed) {
                (true, true) => shared.push((time.now(), cost)),
                (true, false) => own.entry(key).or_default().push((time.now(), cost)),
                (false, _) => {}
            }
        }
        prop_assert_eq!(never_over(quota, &shared), Ok(()));
        for admitted in own.values() {
            prop_assert_eq!(never_over(quota, admitted), Ok(()));
        }
    }
}
