//! Leases: what threads hold in advance never adds to the quota, and is never lost.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use stanchion_core::{Clock, Instant, ManualClock};
use stanchion_ratelimit::{Policy, Quota, RateLimiter, Reason};

const STEP: Duration = Duration::from_millis(1);

/// One per step of [`STEP`].
fn leased(burst: u64, lease: u64) -> (RateLimiter, ManualClock) {
    let (clock, time) = Clock::manual();
    let quota = Quota::new(1, STEP).unwrap().with_burst(burst).unwrap();
    let limiter = RateLimiter::new(quota).with_lease(lease).unwrap();
    (limiter.with_clock(clock), time)
}

/// Runs `work(thread)` on some threads at once, and gathers what they return.
fn together<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(threads);
    let (barrier, work) = (&barrier, &work);
    std::thread::scope(|scope| {
        let spawn = |thread| {
            scope.spawn(move || {
                barrier.wait();
                work(thread)
            })
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        let results = running.into_iter().map(|thread| thread.join().unwrap());
        results.collect()
    })
}

#[test]
fn threads_share_a_burst_exactly() {
    for lease in [2, 8, 500] {
        for threads in [1, 4, 9] {
            let (limiter, _time) = leased(30_001, lease);
            let admitted = together(threads, |_| {
                (0..40_000).filter(|_| limiter.check().is_ok()).count()
            });
            let rest = (0..40_000).filter(|_| limiter.check().is_ok()).count();
            let sum = admitted.iter().sum::<usize>() + rest;
            assert_eq!(sum, 30_001, "{admitted:?} and {rest}, leases of {lease}");
            assert_eq!(limiter.peek().remaining(), 0);
            assert_eq!(limiter.snapshot().leased, 0);
        }
    }
}

#[test]
fn mixed_costs_add_up_to_the_burst() {
    let (limiter, _time) = leased(100_000, 16);
    let taken = together(4, |thread| {
        let mut taken = 0;
        for cost in (1..=7 + thread as u64).rev() {
            while limiter.check_n(cost).is_ok() {
                taken += cost;
            }
        }
        taken
    });
    let mut rest = 0;
    while limiter.check().is_ok() {
        rest += 1;
    }
    assert_eq!(taken.iter().sum::<u64>() + rest, 100_000, "{taken:?}");
}

/// What time brings is admitted once, and what lies idle in a stripe of a thread that is gone goes
/// to whoever finds the bucket empty.
#[test]
fn what_time_brings_is_admitted_once() {
    const BROUGHT: u64 = 3_000;
    let (limiter, time) = leased(2 * BROUGHT, 64);
    while limiter.check().is_ok() {}
    let done = AtomicBool::new(false);
    let admitted = together(4, |thread| {
        if thread == 0 {
            (0..BROUGHT).for_each(|_| time.advance(STEP));
            done.store(true, Ordering::Release);
            return 0;
        }
        let mut admitted = 0;
        loop {
            let last = done.load(Ordering::Acquire);
            while limiter.check().is_ok() {
                admitted += 1;
            }
            if last {
                return admitted;
            }
        }
    });
    let mut rest = 0;
    while limiter.check().is_ok() {
        rest += 1;
    }
    assert_eq!(admitted.iter().sum::<u64>() + rest, BROUGHT, "{admitted:?}");
}

/// Permits lie in the stripes while the bucket refills behind them: the hole through which leases
/// could let more than the quota pass.
#[test]
fn idle_leases_and_a_full_bucket_are_one_burst_together() {
    let (limiter, time) = leased(1_000, 50);
    let stripes = limiter.snapshot().leased;
    for _ in 0..5 {
        // Leaves the stripe nearly full, and the bucket time to fill up behind it.
        assert!(limiter.check().is_ok());
        time.advance(STEP * 10_000);
        let mut admitted = 0;
        while limiter.check().is_ok() {
            admitted += 1;
        }
        assert!(admitted <= 1_000, "{admitted} at once");
        assert!(admitted >= 1_000 - stripes, "{admitted} at once");
        time.advance(STEP * 10_000);
    }
}

#[test]
fn the_largest_cost_is_the_burst_less_what_is_set_aside() {
    let (limiter, _time) = leased(1_000, 50);
    let most = 1_000 - limiter.snapshot().leased;
    let rejected = limiter.check_n(most + 1).unwrap_err();
    assert_eq!(rejected.reason(), Reason::CostAboveBurst);
    assert_eq!(rejected.status().unwrap().limit(), most);
    assert!(limiter.check_n(most).is_ok());
    assert!(limiter.check_n(0).is_ok());
}

#[test]
fn a_refused_request_passes_when_it_was_told_to_come_back() {
    let (limiter, time) = leased(100, 8);
    for cost in [1, 3, 20] {
        while limiter.check().is_ok() {}
        let wait = limiter.check_n(cost).unwrap_err().retry_after().unwrap();
        time.advance(wait - Duration::from_nanos(1));
        assert!(limiter.check_n(cost).is_err());
        time.advance(Duration::from_nanos(1));
        assert!(limiter.check_n(cost).is_ok());
    }
}

#[test]
fn a_quota_of_three_has_no_room_for_leases() {
    let limiter = RateLimiter::new("3/s".parse::<Policy>().unwrap());
    let error = limiter.with_lease(2).unwrap_err();
    assert!(error.to_string().contains("at least 4"), "{error}");
    let limiter = RateLimiter::new("100/s".parse::<Policy>().unwrap());
    let error = limiter.with_lease(51).unwrap_err();
    assert_eq!(
        error.to_string(),
        "lease is 51, must be from 2 to 50, half of the burst"
    );
}

#[test]
fn only_a_token_bucket_is_leased_from() {
    let limiter = RateLimiter::new("fixed-window 100/m".parse::<Policy>().unwrap());
    let error = limiter.with_lease(10).unwrap_err();
    assert_eq!(
        error.to_string(),
        "lease is 10, and a fixed-window has none: the policy must be a token-bucket"
    );
}

proptest! {
    /// The promise of a quota holds as it is, whatever lies in the stripes.
    #[test]
    fn no_stretch_of_time_admits_more_than_burst_and_rate(
        burst in 4_u64..400,
        lease in 2_u64..50,
        steps in prop::collection::vec((0_u64..3_000, 0_u64..4, 1_u64..5), 1..400),
    ) {
        let lease = lease.min(burst / 2);
        let (limiter, time) = leased(burst, lease);
        let mut admitted: Vec<(Instant, u64)> = Vec::new();
        for (thousandths, threads, cost) in steps {
            // Mostly tight, sometimes a pause in which the bucket fills up.
            let pause = if thousandths < 20 { STEP * 500 } else { STEP * 10 / 100_000 };
            time.advance(pause * u32::try_from(thousandths).unwrap());
            let now = time.now();
            let count = (0..=threads * 3).filter(|_| limiter.check_n(cost).is_ok()).count();
            admitted.push((now, count as u64 * cost));
        }
        for from in 0..admitted.len() {
            let mut sum = 0;
            for (at, cost) in &admitted[from..] {
                sum += cost;
                let brought = (*at - admitted[from].0).as_nanos() / STEP.as_nanos();
                prop_assert!(
                    u128::from(sum) <= u128::from(burst) + brought,
                    "{sum} in {:?}, burst {burst}, leases of {lease}", *at - admitted[from].0
                );
            }
        }
    }

    /// Whoever asks again and again gets the whole rate: a leased permit is not lost.
    #[test]
    fn steady_demand_gets_the_whole_rate(burst in 4_u64..400, lease in 2_u64..50, span in 1_u32..900) {
        let lease = lease.min(burst / 2);
        let (limiter, time) = leased(burst, lease);
        let mut admitted = 0_u64;
        for _ in 0..300 {
            while limiter.check().is_ok() {
                admitted += 1;
            }
            time.advance(STEP * span / 1_000);
        }
        let due = u64::from(span) * 300 / 1_000;
        prop_assert!(admitted + 2 >= burst + due, "{admitted} of {burst} + {due}");
    }
}
