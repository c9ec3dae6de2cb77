//! Sums under contention: all threads start at a barrier, time stands still or is moved by hand.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stanchion_core::{Clock, ManualClock};
use stanchion_ratelimit::{Event, KeyedRateLimiter, Quota, RateLimiter};

const THREADS: usize = 4;
const STEP: Duration = Duration::from_millis(1);

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

/// One per step of [`STEP`], `burst` at once.
fn quota(burst: u64) -> Quota {
    Quota::new(1, STEP).unwrap().with_burst(burst).unwrap()
}

fn limiter(burst: u64) -> (RateLimiter, ManualClock) {
    let (clock, time) = Clock::manual();
    (RateLimiter::new(quota(burst)).with_clock(clock), time)
}

fn keyed<K>(burst: u64, max_keys: usize) -> (KeyedRateLimiter<K>, ManualClock) {
    let (clock, time) = Clock::manual();
    let limiter = KeyedRateLimiter::new(quota(burst), max_keys).unwrap();
    (limiter.with_clock(clock), time)
}

#[test]
fn threads_share_a_burst_exactly() {
    let (limiter, _time) = limiter(30_001);
    let admitted = together(THREADS, |_| {
        (0..20_000).filter(|_| limiter.check().is_ok()).count()
    });
    assert_eq!(admitted.iter().sum::<usize>(), 30_001, "{admitted:?}");
}

#[test]
fn mixed_costs_add_up_to_the_burst() {
    let (limiter, _time) = limiter(100_000);
    let taken = together(THREADS, |thread| {
        let mut taken = 0;
        // Large costs first, down to 1: what one thread cannot fit, another may.
        for cost in (1..=7 + thread as u64).rev() {
            for _ in 0..100_000 {
                if limiter.check_n(cost).is_err() {
                    break;
                }
                taken += cost;
            }
        }
        taken
    });
    assert_eq!(taken.iter().sum::<u64>(), 100_000, "{taken:?}");
    assert_eq!(limiter.peek().remaining(), 0);
}

#[test]
fn what_time_brings_is_admitted_once() {
    const BROUGHT: u64 = 3_000;
    // All that time brings fits at once, so nothing spills while no thread runs.
    let (limiter, time) = limiter(BROUGHT);
    let _ = limiter.check_n(BROUGHT).unwrap();
    let done = AtomicBool::new(false);
    let admitted = together(THREADS, |thread| {
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
    assert_eq!(admitted.iter().sum::<u64>(), BROUGHT, "{admitted:?}");
    assert_eq!(limiter.peek().remaining(), 0);
}

#[test]
fn keys_that_threads_share_get_their_burst_exactly() {
    const KEYS: u64 = 64;
    let (limiter, _time) = keyed::<u64>(500, 10_000);
    let admitted = together(THREADS, |thread| {
        let mut admitted = vec![0_u64; 64];
        for round in 0..KEYS * 300 {
            // Each thread starts elsewhere, with a stride of its own.
            let key = (round * (2 * thread as u64 + 1) + 17 * thread as u64) % KEYS;
            admitted[usize::try_from(key).unwrap()] += u64::from(limiter.check(&key).is_ok());
        }
        admitted
    });
    for key in 0..64 {
        let sum: u64 = admitted.iter().map(|thread| thread[key]).sum();
        assert_eq!(sum, 500, "key {key}");
    }
    assert_eq!(limiter.snapshot().overflowed, 0);
}

/// All threads meet at each new key: it gets one bucket, not one from each thread.
#[test]
fn a_key_that_is_new_to_all_threads_gets_one_bucket() {
    const KEYS: u64 = 20_000;
    let (limiter, _time) = keyed::<u64>(1, 60_000);
    let admitted = together(THREADS, |_| {
        (0..KEYS)
            .filter(|key| limiter.check(key).is_ok())
            .collect::<Vec<_>>()
    });
    let mut all: Vec<_> = admitted.into_iter().flatten().collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..KEYS), "{} admitted", all.len());
    assert_eq!(limiter.snapshot().overflowed, 0);
    assert_eq!(limiter.count_keys() as u64, KEYS);
}

thread_local! {
    /// The last check of this thread went to the overflow cell.
    static OVERFLOWED: Cell<bool> = const { Cell::new(false) };
}

/// Far more keys than places, so that buckets are evicted, moved and made anew all the time, while
/// one thread moves the clock by whole intervals, so that the TATs of many keys are equal.
///
/// From first to last the clock moves by `brought` intervals. A key's TAT starts at the first
/// reading at the earliest, each admission moves it on by one interval, and it ends at most a
/// burst ahead of the last reading, however often the bucket lost its place. So each key, and the
/// overflow cell, admit `burst + brought` in all.
#[test]
fn under_churn_a_key_gets_no_more_than_its_bucket_and_the_overflow_cell() {
    const KEYS: u64 = 24;
    const BURST: u64 = 3;
    const BROUGHT: u64 = 20;
    for round in 0..150 {
        // Three to six lines of four places.
        let (limiter, time) = keyed::<u64>(BURST, 8 + round % 10);
        let limiter = limiter.with_observer(|event: &Event| {
            if matches!(event, Event::Overflowed) {
                OVERFLOWED.set(true);
            }
        });
        let admitted = together(THREADS, |thread| {
            let mut own: HashMap<u64, u64> = HashMap::new();
            let mut overflow = 0;
            for turn in 0..1_200_u64 {
                if thread == 0 && turn % 60 == 59 {
                    time.advance(STEP);
                }
                let key = (turn / 3 * (thread as u64 + 1)) % KEYS;
                OVERFLOWED.set(false);
                if limiter.check(&key).is_err() {
                    continue;
                }
                if OVERFLOWED.get() {
                    overflow += 1;
                } else {
                    *own.entry(key).or_default() += 1;
                }
            }
            (own, overflow)
        });
        for key in 0..KEYS {
            let of_key = |own: &HashMap<u64, u64>| own.get(&key).copied().unwrap_or(0);
            let sum: u64 = admitted.iter().map(|(own, _)| of_key(own)).sum();
            assert!(sum <= BURST + BROUGHT, "key {key}: {sum} in round {round}");
        }
        let overflow: u64 = admitted.iter().map(|(_, overflow)| overflow).sum();
        assert!(overflow <= BURST + BROUGHT, "{overflow} in round {round}");

        // No bucket is stuck, and none is left twice: one key after the other gets its burst.
        for key in 0..KEYS {
            time.advance(STEP * 100);
            let admitted = (0..10).filter(|_| limiter.check(&key).is_ok()).count();
            assert_eq!(admitted as u64, BURST, "key {key} after round {round}");
            assert_eq!(limiter.count_keys(), 1);
        }
    }
}

/// One peer's guard wrote a stale word back when it was dropped: with four threads, nine of ten
/// limiters were dead for good after 300 ms.
#[test]
fn handles_that_come_and_go_leave_the_bucket_alive() {
    let (limiter, time) = limiter(10);
    together(THREADS, |_| {
        for _ in 0..5_000 {
            let clone = limiter.clone();
            let _ = clone.check();
            drop(clone);
        }
    });
    assert_eq!(limiter.peek().remaining(), 0);
    time.advance(STEP * 10);
    let admitted = (0..20).filter(|_| limiter.check().is_ok()).count();
    assert_eq!(admitted, 10);
}
