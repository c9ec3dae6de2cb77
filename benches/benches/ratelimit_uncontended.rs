//! What a check costs one thread that has the limiter to itself: admitted, refused, by key.
//!
//! On a clock that stands still, so that a change to the limiter is not hidden behind the 10 ns of
//! reading the time.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use stanchion_benches::Random;
use stanchion_core::Clock;
use stanchion_ratelimit::{KeyedRateLimiter, Quota, RateLimiter};

const SECOND: Duration = Duration::from_secs(1);

/// Never refuses: one nanosecond's worth of a bucket that takes years to drain.
fn endless() -> Quota {
    Quota::new(1_000_000_000, SECOND)
        .and_then(|quota| quota.with_burst(1 << 50))
        .expect("a valid quota")
}

fn once() -> Quota {
    Quota::new(1, SECOND).expect("a valid quota")
}

fn plain(criterion: &mut Criterion) {
    let (clock, _time) = Clock::manual();
    let limiter = RateLimiter::new(endless()).with_clock(clock.clone());
    criterion.bench_function("check/allow", |bencher| {
        bencher.iter(|| assert!(limiter.check().is_ok()));
    });

    let spent = RateLimiter::new(once()).with_clock(clock);
    assert!(spent.check().is_ok());
    criterion.bench_function("check/deny", |bencher| {
        bencher.iter(|| assert!(spent.check().is_err()));
    });
}

fn keyed(criterion: &mut Criterion) {
    for (name, keys) in [("1 k", 1_000), ("1 M", 1_000_000)] {
        let (clock, _time) = Clock::manual();
        let build = |quota| {
            let limiter = KeyedRateLimiter::<u64>::new(quota, keys).expect("a valid size");
            limiter.with_clock(clock.clone())
        };
        let draws: Vec<u64> = {
            let mut random = Random::new(1);
            (0..1 << 20).map(|_| random.below(keys) as u64).collect()
        };

        let limiter = build(endless());
        let mut next = draws.iter().cycle();
        criterion.bench_function(&format!("keyed/{name}/allow"), |bencher| {
            bencher.iter(|| limiter.check(next.next().expect("endless")).is_ok());
        });

        let spent = build(once());
        for key in 0..keys as u64 {
            let _ = spent.check(&key);
        }
        criterion.bench_function(&format!("keyed/{name}/deny"), |bencher| {
            bencher.iter(|| assert!(spent.check(next.next().expect("endless")).is_err()));
        });
    }
}

/// A key that is not there yet, in a table whose buckets have all refilled.
fn insert(criterion: &mut Criterion) {
    const KEYS: usize = 100_000;
    let (clock, time) = Clock::manual();
    let limiter = KeyedRateLimiter::<u64>::new(once(), KEYS)
        .expect("a valid size")
        .with_clock(clock);
    let mut key = 0_u64;
    criterion.bench_function("keyed/insert", |bencher| {
        bencher.iter(|| {
            key += 1;
            if key.is_multiple_of(KEYS as u64) {
                time.advance(SECOND);
            }
            limiter.check(&key).is_ok()
        });
    });
}

criterion_group!(benches, plain, keyed, insert);
criterion_main!(benches);
