//! Sequences of operations on the limiters, held to the oracle of the model test.

use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use stanchion_core::{Clock, Instant, ManualClock};
use stanchion_ratelimit::{KeyedRateLimiter, Quota, RateLimiter};

#[path = "../../crates/ratelimit/tests/model/oracle.rs"]
mod oracle;

use oracle::{Reference, never_over};

const STEPS_MAX: usize = 100;
/// The oracle's numbers have 128 bits; with larger counts a sum of admissions could outgrow them.
const COUNT_MAX: u64 = 1 << 40;
/// A bucket that was full when an era began is taken for full since then, and no longer: if the
/// clock goes back over that moment it is a little less than full, and waits count from there. The
/// oracle forgets nothing. No era is shorter.
const FIRST_ERA: Instant = Instant::from_nanos(1 << 51);
/// Keys for a table that holds a few.
const KEYS: u8 = 40;

pub(crate) fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    // What is cut off is a shorter sequence.
    let _ = sequence(&mut input);
}

fn sequence(input: &mut Unstructured<'_>) -> Result<()> {
    let by_key = input.arbitrary()?;
    match quota(input)? {
        Some(quota) if by_key => keyed(quota, input),
        Some(quota) => alone(quota, input),
        None => Ok(()),
    }
}

/// A quota of any size, if it is one.
fn quota(input: &mut Unstructured<'_>) -> Result<Option<Quota>> {
    let (count, period, burst) = (any_size(input)?, any_size(input)?, any_size(input)?);
    let quota = Quota::new(count, Duration::from_nanos(period)).ok();
    Ok(quota
        .and_then(|quota| quota.with_burst(burst).ok())
        .filter(|quota| quota.count() <= COUNT_MAX))
}

/// A number that has any number of digits with the same probability.
fn any_size(input: &mut Unstructured<'_>) -> Result<u64> {
    let zeros = input.int_in_range(0..=63)?;
    Ok(input.arbitrary::<u64>()? >> zeros)
}

/// Moves the clock: by some intervals of the quota, far on, or a little back.
fn turn(time: &ManualClock, quota: Quota, input: &mut Unstructured<'_>) -> Result<()> {
    let now = time.now();
    let nanos = Duration::from_nanos;
    match input.int_in_range(0..=4)? {
        0 => {}
        1 => time.set(now + nanos(any_size(input)?)),
        2 => time.set(now - nanos(u64::from(input.arbitrary::<u32>()?))),
        _ => {
            let thousandths = u128::from(input.arbitrary::<u16>()?);
            let step = quota.period().as_nanos() * thousandths / u128::from(quota.count()) / 1_000;
            time.set(now + nanos(u64::try_from(step).unwrap_or(u64::MAX)));
        }
    }
    Ok(())
}

fn cost(input: &mut Unstructured<'_>, left: u64) -> Result<u64> {
    Ok(match input.int_in_range(0..=5)? {
        0 => left,
        1 => left.saturating_add(1),
        2 => input.arbitrary::<u8>()?.into(),
        3 => any_size(input)?,
        _ => 1,
    })
}

/// One bucket: never more than burst and rate; a refused request passes exactly when it was told
/// to; and where the interval is exact, each decision is that of exact arithmetic.
fn alone(quota: Quota, input: &mut Unstructured<'_>) -> Result<()> {
    let (clock, time) = Clock::manual();
    let limiter = RateLimiter::new(quota).with_clock(clock);
    let mut exact = is_exact(quota).then(|| Reference::new(quota));
    let mut admitted = Vec::new();
    let mut latest = Instant::ZERO;
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        latest = latest.max(time.now());
        turn(&time, quota, input)?;
        let now = time.now();
        let over_an_era = now < latest && latest >= FIRST_ERA;
        if over_an_era {
            exact = None;
        }
        let left = limiter.peek().remaining();
        let cost = cost(input, left)?;
        let decision = limiter.check_n(cost);
        assert_eq!(decision.is_ok(), cost <= left, "{cost} of {left}");
        if let Some(exact) = &mut exact {
            assert_eq!(u128::from(left), exact.remaining(now));
            let wait = exact.wait(now, cost);
            assert_eq!(decision.is_ok(), exact.check(now, cost));
            if let Err(rejected) = decision {
                let told = rejected.retry_after().map(|after| after.as_nanos());
                assert_eq!(told, wait.map(|wait| wait.div_ceil(exact.count)));
            }
        }
        match decision {
            Ok(_) => admitted.push((now, cost)),
            Err(rejected) => {
                if let Some(after) = rejected.retry_after()
                    && !over_an_era
                {
                    assert!(!after.is_zero());
                    // At the end of all time the clock would stand still.
                    if now + after < Instant::MAX {
                        time.set(now + after - Duration::from_nanos(1));
                        assert!(limiter.peek().remaining() < cost);
                        time.set(now + after);
                        assert!(limiter.peek().remaining() >= cost);
                    }
                }
            }
        }
    }
    assert_eq!(never_over(quota, &admitted), Ok(()));
    Ok(())
}

/// A table that is too small: a key has its own bucket and a share of the overflow cell, and never
/// more than those admit.
fn keyed(quota: Quota, input: &mut Unstructured<'_>) -> Result<()> {
    let (clock, time) = Clock::manual();
    let limiter = KeyedRateLimiter::new(quota, 4).expect("4 keys are allowed");
    let limiter = limiter.with_clock(clock);
    let mut own = BTreeMap::<u8, Vec<_>>::new();
    let mut shared = Vec::new();
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        turn(&time, quota, input)?;
        let key = input.int_in_range(0..=KEYS)?;
        let cost = cost(input, limiter.peek(&key).remaining())?;
        let before = limiter.snapshot().overflowed;
        if limiter.check_n(&key, cost).is_ok() {
            let overflowed = limiter.snapshot().overflowed > before;
            let list = if overflowed {
                &mut shared
            } else {
                own.entry(key).or_default()
            };
            list.push((time.now(), cost));
        }
    }
    assert_eq!(never_over(quota, &shared), Ok(()));
    for admitted in own.values() {
        assert_eq!(never_over(quota, admitted), Ok(()));
    }
    Ok(())
}

/// Whether the interval is a whole number of units: the documented condition.
fn is_exact(quota: Quota) -> bool {
    let period = quota.period().as_nanos();
    let count = u128::from(quota.count());
    let common = gcd(period, count);
    count / common <= 1_024 && u128::from(quota.burst()) * (period / common) <= 1 << 60
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}
