//! Totals that must come out whatever the threads do.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use stanchion_breaker::{Breaker, Config, HalfOpen, State, Window};
use stanchion_core::{Clock, Outcome};

const THREADS: u64 = 4;

fn together(work: impl Fn(u64) + Sync) {
    let barrier = Barrier::new(usize::try_from(THREADS).unwrap());
    thread::scope(|scope| {
        for index in 0..THREADS {
            let (work, barrier) = (&work, &barrier);
            scope.spawn(move || {
                barrier.wait();
                work(index);
            });
        }
    });
}

/// Larger than what is recorded, so that every call must be in it at the end.
#[test]
fn no_call_is_lost_or_counted_twice_by_either_window() {
    let calls = 20_000;
    for window in [
        Window::calls(100_000).unwrap(),
        Window::time(Duration::from_secs(10)).unwrap(),
    ] {
        let breaker = Breaker::new(Config::new(window)).with_clock(Clock::manual().0);
        breaker.metrics_only();
        together(|index| {
            for call in 0..calls {
                let failed = (call + index) % 7 == 0;
                let outcome = if failed {
                    Outcome::Failure
                } else {
                    Outcome::Success
                };
                breaker.try_acquire().unwrap().record(outcome);
            }
        });
        let failed = (0..THREADS).flat_map(|index| (0..calls).map(move |call| call + index));
        let failed = failed.filter(|sum| sum % 7 == 0).count() as u64;
        let snapshot = breaker.snapshot();
        assert_eq!(snapshot.calls, THREADS * calls);
        assert_eq!((snapshot.failed, snapshot.failed_total), (failed, failed));
    }
}

/// A small window, lapped all the time: when all is quiet the sums are those of the last calls.
#[test]
fn the_sums_are_right_after_a_storm() {
    let breaker = Breaker::new(Config::new(Window::calls(8).unwrap()));
    breaker.metrics_only();
    together(|index| {
        for call in 0..50_000 {
            let failed = (call + index) % 3 == 0;
            let outcome = if failed {
                Outcome::Failure
            } else {
                Outcome::Success
            };
            breaker.try_acquire().unwrap().record(outcome);
        }
    });
    for held in 1..=8 {
        breaker.try_acquire().unwrap().record(Outcome::Failure);
        assert!(breaker.snapshot().failed >= held);
    }
    assert_eq!(breaker.snapshot().failed, 8);
    for left in (0..8).rev() {
        breaker.try_acquire().unwrap().record(Outcome::Success);
        assert_eq!(breaker.snapshot().failed, left);
    }
}

#[test]
fn half_open_lets_exactly_its_trials_through() {
    let half_open = HalfOpen::new(10).unwrap();
    for _ in 0..200 {
        let (clock, time) = Clock::manual();
        let config = Config::default().with_half_open(half_open);
        let breaker = Breaker::new(config).with_clock(clock);
        breaker.open();
        time.advance(Duration::from_secs(10));
        let passed = AtomicU64::new(0);
        together(|_| {
            let permits: Vec<_> = (0..10).filter_map(|_| breaker.try_acquire().ok()).collect();
            passed.fetch_add(permits.len() as u64, Ordering::Relaxed);
            // Held until all have asked, then forgotten as if they hung.
            permits.into_iter().for_each(std::mem::forget);
        });
        assert_eq!(passed.into_inner(), 10);
        assert_eq!(breaker.state(), State::HalfOpen);
    }
}

/// Opened and closed by hand while calls come and go: each is counted once, here or as late.
#[test]
fn every_failure_is_counted_or_late() {
    let breaker = Breaker::new(Config::new(Window::calls(1_000_000).unwrap()));
    breaker.metrics_only();
    let made = AtomicU64::new(0);
    together(|index| {
        for call in 0..5_000 {
            if index == 0 && call % 50 == 0 {
                breaker.disable();
                breaker.metrics_only();
            }
            let Ok(permit) = breaker.try_acquire() else {
                continue;
            };
            // A call that began while disabled is not recorded.
            permit.record(Outcome::Failure);
            made.fetch_add(1, Ordering::Relaxed);
        }
    });
    let snapshot = breaker.snapshot();
    assert!(snapshot.failed_total + snapshot.late_total <= made.into_inner());
    assert!(snapshot.failed <= snapshot.failed_total);
}

/// Each thread counts where it stands; together it must be all, also after a change of configuration.
#[test]
fn no_refusal_is_lost_and_a_reconfigured_breaker_goes_on_counting() {
    let breaker = Breaker::default();
    breaker.force_open();
    let refuse = |breaker: &Breaker| {
        together(|_| {
            for _ in 0..20_000 {
                assert!(breaker.try_acquire().is_err());
            }
        });
    };
    refuse(&breaker);
    assert_eq!(breaker.snapshot().rejected_total, THREADS * 20_000);
    let other = breaker.reconfigured(Config::new(Window::calls(7).unwrap()));
    refuse(&other);
    assert_eq!(other.snapshot().rejected_total, THREADS * 40_000);
    assert_eq!(breaker.snapshot().rejected_total, THREADS * 20_000);
}
