//! What went wrong in other limiters. Those of the layer (state made for each clone, an inner
//! service that hides refusals, a permit lost with a readied clone) are in `layer`; the guard that
//! wrote a stale word back is in `threads`.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use stanchion_core::{Clock, Instant, ManualClock};
use stanchion_ratelimit::{KeyedRateLimiter, Policy, Quota, RateLimiter};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

fn limiter(quota: &str) -> (RateLimiter, ManualClock) {
    let (clock, time) = Clock::manual();
    (
        RateLimiter::new(quota.parse::<Policy>().unwrap()).with_clock(clock),
        time,
    )
}

/// Asks every `step` for `span`, until refused each time; says how many were admitted.
fn poll_for(limiter: &RateLimiter, time: &ManualClock, span: Duration, step: Duration) -> u64 {
    let end = time.now() + span;
    let mut admitted = 0;
    while time.now() < end {
        time.set((time.now() + step).min(end));
        while limiter.check().is_ok() {
            admitted += 1;
        }
    }
    admitted
}

#[test]
fn a_burst_that_takes_long_to_refill_is_admitted_whole_or_refused_when_built() {
    // governor computes interval × (burst − 1) in 64 bits of nanoseconds: 1 per day with a burst
    // of 300,000 wraps, and admits 86,496.
    let error = "1/d burst 300000".parse::<Quota>().unwrap_err();
    assert_eq!(error.field(), "burst");
    let (limiter, _time) = limiter("1/d burst 13000");
    let admitted = (0..20_000).filter(|_| limiter.check().is_ok()).count();
    assert_eq!(admitted, 13_000);
    assert_eq!(limiter.peek().reset_after(), DAY * 13_000);
}

#[test]
fn an_interval_is_not_cut_to_whole_nanoseconds() {
    // governor makes 1 ns of the 1.67 ns between 600 million per second, which is a billion.
    let (limiter, time) = limiter("600000000/s burst 1");
    let span = Duration::from_nanos(30_000);
    let admitted = poll_for(&limiter, &time, span, Duration::from_nanos(1));
    // No more than one at a time, so the rate is met only where whole nanoseconds allow: every
    // second nanosecond.
    assert_eq!(admitted, 15_000);
    let (limiter, time) = self::limiter("600000000/s burst 2");
    let admitted = poll_for(&limiter, &time, span, Duration::from_nanos(1));
    assert_eq!(admitted, 18_000 + 1);
}

#[test]
fn an_interval_is_not_cut_to_whole_milliseconds() {
    // leaky-bucket refills every 1 ms where 1.9 ms were asked for: 999 a second instead of 526.
    let (limiter, time) = limiter("1/1900us");
    assert!(limiter.check().is_ok());
    let admitted = poll_for(&limiter, &time, SECOND, Duration::from_micros(100));
    assert_eq!(admitted, 526);
}

#[test]
fn tight_polling_does_not_starve_a_slow_rate() {
    // `ratelimit` adds what time brought at a resolution of a millionth and forgets the rest: 1 per
    // second, polled every 2.0, 2.5, 2.9 and 3.2 µs, gave 9, 8, 7 and 7 of 10.
    for step in [2_000, 2_500, 2_900, 3_200] {
        // Room for two, so that who comes a little late loses nothing.
        let (limiter, time) = limiter("1/s burst 2");
        assert!(limiter.check_n(2).is_ok());
        let step = Duration::from_nanos(step);
        let admitted = poll_for(&limiter, &time, SECOND * 10, step);
        assert_eq!(admitted, 10, "polled every {step:?}");
    }
}

#[test]
fn a_refusal_never_says_to_come_back_at_once() {
    // tower_governor rounds the wait down to 0 seconds, and an obedient client spins. Here even
    // half a nanosecond is a whole one; in HTTP a whole second (`layer`).
    for quota in [
        "2/ns burst 1",
        "3/2ns burst 1",
        "1000000001/s burst 1",
        "3/s",
        "1000/s",
    ] {
        let (limiter, time) = limiter(quota);
        for _ in 0..50 {
            while limiter.check().is_ok() {}
            let wait = limiter.check().unwrap_err().retry_after().unwrap();
            assert!(wait >= Duration::from_nanos(1), "{quota}");
            time.advance(wait);
            assert!(limiter.check().is_ok(), "{quota}: {wait:?} was too short");
        }
    }
}

#[test]
fn the_turn_of_a_window_brings_no_second_burst() {
    // A fixed window admits twice its limit around its end: tower's `RateLimit` of 100 per 500 ms
    // let 199 calls through in 60 ms.
    let (limiter, time) = limiter("100/500ms");
    assert!(limiter.check().is_ok());
    time.advance(Duration::from_millis(445));
    let step = Duration::from_micros(100);
    let admitted = poll_for(&limiter, &time, Duration::from_millis(60), step);
    assert_eq!(admitted, 100 + 11, "the burst, and what 59.9 ms bring");
    // With a small burst hardly more than the rate.
    let (limiter, time) = self::limiter("100/500ms burst 1");
    time.advance(Duration::from_millis(445));
    let admitted = poll_for(&limiter, &time, Duration::from_millis(60), step);
    assert!(admitted <= 13, "{admitted}");
}

#[test]
fn a_burst_and_what_a_rate_brings_are_199_in_a_second_and_a_strict_window_is_100() {
    // Who reads "100 per second" as "never more than 100 in any second" is surprised by any token
    // bucket: the burst, and 99 that come within the second.
    for (policy, most) in [("100/s", 199), ("strict-window 100/s", 100)] {
        let (limiter, time) = limiter(policy);
        time.advance(SECOND * 10);
        let mut admitted = 0;
        while limiter.check().is_ok() {
            admitted += 1;
        }
        let within = SECOND - Duration::from_nanos(1);
        admitted += poll_for(&limiter, &time, within, Duration::from_millis(1));
        assert_eq!(admitted, most, "{policy}");
    }
}

#[test]
fn count_and_period_say_which_is_which() {
    // `per_second(4)` of tower_governor is one every four seconds; people deployed 1/4000 s for
    // 4000/s. Here both numbers are named, and nothing else sets the rate.
    let (limiter, time) = limiter("4/s burst 1");
    assert!(limiter.check().is_ok());
    let admitted = poll_for(&limiter, &time, SECOND * 8, Duration::from_millis(10));
    // Asked for only every 10 ms: 250 ms are a multiple of that.
    assert_eq!(admitted, 32);
    let quota = Quota::new(4, SECOND).unwrap().with_burst(1).unwrap();
    assert_eq!(limiter.policy(), Policy::from(quota));
}

#[test]
fn a_machine_that_slept_brings_one_burst() {
    // What time brings has to be cut off at the burst, however long it was: a suspended machine, or
    // a limiter nobody used, wakes up with years of it.
    for idle in [DAY, DAY * 53, DAY * 120, DAY * 3_650, DAY * 20_000] {
        let (limiter, time) = limiter("1021/s burst 7");
        while limiter.check().is_ok() {}
        time.advance(idle);
        assert_eq!(limiter.peek().remaining(), 7, "after {idle:?}");
        let admitted = (0..100).filter(|_| limiter.check().is_ok()).count();
        assert_eq!(admitted, 7, "after {idle:?}");
    }
}

#[test]
fn a_clock_that_steps_back_brings_nothing_and_blocks_nothing_for_good() {
    // Wall clocks step back; a limiter that reads one either hands out a second burst or refuses
    // for as long as the step was. TAT stands where it stood.
    let (clock, time) = Clock::manual();
    let keyed = KeyedRateLimiter::new("10/s".parse::<Quota>().unwrap(), 100).unwrap();
    let keyed = keyed.with_clock(clock.clone());
    let limiter = RateLimiter::new("10/s".parse::<Policy>().unwrap()).with_clock(clock);
    time.set(Instant::ZERO + DAY);
    while limiter.check().is_ok() {}
    while keyed.check("a").is_ok() {}
    time.set(Instant::ZERO + DAY / 2);
    assert!(limiter.check().is_err());
    assert!(keyed.check("a").is_err());
    let wait = limiter.check().unwrap_err().retry_after().unwrap();
    assert_eq!(wait, DAY / 2 + Duration::from_millis(100));
    time.set(Instant::ZERO + DAY + SECOND);
    assert_eq!(limiter.peek().remaining(), 10);
    assert_eq!(keyed.peek("a").remaining(), 10);
}

#[test]
fn invented_keys_take_no_memory_and_leave_old_keys_alone() {
    // governor's keyed limiters grow with every key until someone sweeps; that ran services out of
    // memory. An IPv6 client has 2⁶⁴ keys of its own.
    let (clock, time) = Clock::manual();
    let limiter = KeyedRateLimiter::new("1/m burst 2".parse::<Quota>().unwrap(), 1_000).unwrap();
    let limiter = limiter.with_clock(clock);
    let bytes = limiter.snapshot().bytes;
    assert!(limiter.check(&0_u64).is_ok());
    for key in 1..100_000 {
        let _ = limiter.check(&key);
    }
    let snapshot = limiter.snapshot();
    assert_eq!(snapshot.bytes, bytes);
    assert!(snapshot.overflowed > 90_000, "{}", snapshot.overflowed);
    assert!(limiter.count_keys() >= 1_000, "{}", limiter.count_keys());
    // The key that was there first still has what it had left, and no more.
    assert_eq!(limiter.peek(&0).remaining(), 1);
    assert!(limiter.check(&0).is_ok());
    assert!(limiter.check(&0).is_err());
    // All of it is free again as soon as it has refilled, without a sweep.
    time.advance(SECOND * 120);
    assert_eq!(limiter.count_keys(), 0);
    for key in 0..900 {
        assert_eq!(limiter.check(&key).unwrap().remaining(), 1, "key {key}");
    }
}

#[test]
fn there_is_no_value_that_means_unlimited() {
    // `ratelimit` told "no limit" by a rate of 0 or a maximum of u64::MAX, which then met
    // arithmetic. A quota that is none cannot be built.
    for text in ["0/s", "1/0s", "1/s burst 0", "18446744073709551615/s"] {
        assert!(text.parse::<Quota>().is_err(), "{text}");
    }
}
