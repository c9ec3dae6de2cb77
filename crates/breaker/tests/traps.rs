//! What went wrong in other breakers, each as a test of ours.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::future::pending;
use std::time::Duration;

use stanchion_breaker::{
    Breaker, CancelPolicy, Config, HalfOpen, OpenTime, Ratio, SlowCalls, State, Verdict, Window,
};
use stanchion_core::{Clock, ManualClock, Outcome};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const GOOD: Outcome = Outcome::Success;
const BAD: Outcome = Outcome::Failure;

fn breaker(config: Config) -> (Breaker, ManualClock) {
    let (clock, time) = Clock::manual();
    (Breaker::new(config).with_clock(clock), time)
}

fn window(calls: u32) -> Config {
    Config::new(Window::calls(calls).unwrap())
}

fn record(breaker: &Breaker, outcome: Outcome, times: u32) {
    for _ in 0..times {
        breaker.try_acquire().unwrap().record(outcome);
    }
}

/// A peer's window of 10 never slid: after 10,000 successes it took 10,000 failures to open.
#[test]
fn a_long_healthy_past_does_not_delay_the_opening() {
    for healthy in [100, 1000, 10_000] {
        let (breaker, _) = breaker(window(10));
        record(&breaker, GOOD, healthy);
        record(&breaker, BAD, 4);
        assert_eq!(breaker.state(), State::Closed);
        record(&breaker, BAD, 1);
        assert_eq!(breaker.state(), State::Open, "after {healthy}");
    }
}

/// A peer ignored the minimum until its window was full.
#[test]
fn the_minimum_is_enough_in_a_window_that_is_not_full() {
    let (breaker, _) = breaker(window(10).with_min_calls(5).unwrap());
    record(&breaker, BAD, 5);
    assert_eq!(breaker.state(), State::Open);
}

/// In a peer the trials grew old in a window of time while their permits were spent: it stayed
/// half-open and refused everything for good.
#[test]
fn slow_trials_do_not_wedge_it_half_open() {
    let config = Config::new(Window::time(200 * MS).unwrap());
    let config = config.with_half_open(HalfOpen::new(3).unwrap());
    let (breaker, time) = breaker(config.with_open_time(OpenTime::fixed(S).unwrap()));
    breaker.open();
    time.advance(2 * S);
    for _ in 0..3 {
        record(&breaker, GOOD, 1);
        time.advance(300 * MS);
    }
    assert_eq!(breaker.state(), State::Closed);
    record(&breaker, GOOD, 100);
}

/// In a peer a call that had begun while closed, and ended while half-open, decided.
#[test]
fn late_outcomes_decide_nothing() {
    for late in [GOOD, BAD] {
        let half_open = HalfOpen::new(1).unwrap();
        let (breaker, time) = breaker(window(2).with_half_open(half_open));
        let early = breaker.try_acquire().unwrap();
        record(&breaker, BAD, 2);
        time.advance(10 * S);
        let trial = breaker.try_acquire().unwrap();
        early.record(late);
        assert_eq!(breaker.state(), State::HalfOpen, "{late:?}");
        assert_eq!(breaker.snapshot().late_total, 1);
        trial.record(GOOD);
        assert_eq!(breaker.state(), State::Closed);
    }
}

/// A peer's reset kept the counters: nine failures, a reset and one success opened it.
#[test]
fn a_reset_forgets_the_failures() {
    let (breaker, _) = breaker(window(10));
    record(&breaker, BAD, 9);
    breaker.reset();
    record(&breaker, GOOD, 1);
    assert_eq!(breaker.state(), State::Closed);
}

/// In all peers a time-out around the call dropped it, and twenty hung calls counted as nothing.
#[tokio::test(start_paused = true)]
async fn calls_that_a_timeout_cuts_off_can_open_it() {
    let config = window(20).with_cancel_policy(CancelPolicy::FailureIfOlderThan(500 * MS));
    let breaker = Breaker::new(config).with_clock(Clock::tokio());
    for _ in 0..20 {
        let hung = breaker.call(pending::<Result<(), ()>>());
        assert!(tokio::time::timeout(S, hung).await.is_err());
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn who_cancels_soon_says_nothing() {
    let config = window(2).with_cancel_policy(CancelPolicy::FailureIfOlderThan(500 * MS));
    let breaker = Breaker::new(config).with_clock(Clock::tokio());
    for _ in 0..20 {
        let hung = breaker.call(pending::<Result<(), ()>>());
        assert!(tokio::time::timeout(100 * MS, hung).await.is_err());
    }
    assert_eq!(breaker.snapshot().calls, 0);
}

/// Everywhere, a dependency that answers nothing at all is never seen to be slow.
#[test]
fn calls_that_hang_open_it_before_they_end() {
    let slow = SlowCalls::new(S, Ratio::HALF).unwrap().counting_in_flight();
    let config = window(10).with_min_calls(5).unwrap();
    let (breaker, time) = breaker(config.with_slow_calls(slow).unwrap());
    let hung: Vec<_> = (0..5).map(|_| breaker.try_acquire().unwrap()).collect();
    time.advance(S);
    drop(breaker.try_acquire().unwrap());
    time.advance(S / 8);
    assert_eq!(breaker.snapshot().hanging, 5);
    assert_eq!(breaker.try_acquire().unwrap_err().state(), State::Open);
    // They end late, and do not count again.
    hung.into_iter().for_each(|permit| permit.record(BAD));
    assert_eq!(breaker.snapshot().late_total, 5);
    // What hung then must not open it once it is closed again.
    breaker.close();
    time.advance(S);
    assert_eq!(breaker.snapshot().hanging, 0);
}

/// Peers let everything through when half-open: 1000 of 1000.
#[test]
fn half_open_lets_no_more_through_than_its_trials() {
    let half_open = HalfOpen::new(5).unwrap().with_at_once(2).unwrap();
    let (breaker, time) = breaker(window(10).with_half_open(half_open));
    breaker.open();
    time.advance(10 * S);
    let passed: Vec<_> = (0..1000)
        .filter_map(|_| breaker.try_acquire().ok())
        .collect();
    assert_eq!(passed.len(), 2);
}

/// A peer could not trip during its whole first window.
#[test]
fn the_very_first_calls_can_open_it() {
    let config = Config::new(Window::time(10 * S).unwrap());
    let (breaker, _) = breaker(config.with_min_calls(1).unwrap());
    record(&breaker, BAD, 1);
    assert_eq!(breaker.state(), State::Open);
}

/// In a peer an error that is none of the dependency's closed the half-open circuit; in another
/// it took the trial along.
#[test]
fn an_ignored_trial_neither_closes_nor_wedges() {
    let half_open = HalfOpen::new(1).unwrap();
    let (breaker, time) = breaker(window(2).with_half_open(half_open));
    breaker.open();
    time.advance(10 * S);
    record(&breaker, Outcome::Ignore, 5);
    assert_eq!(breaker.state(), State::HalfOpen);
    record(&breaker, GOOD, 1);
    assert_eq!(breaker.state(), State::Closed);
}

/// In a peer a hung trial kept it half-open, with everything refused.
#[test]
fn a_hung_trial_does_not_hold_it_for_ever() {
    let half_open = HalfOpen::new(1)
        .unwrap()
        .with_verdict(Verdict::FirstFailure);
    let half_open = half_open
        .with_max_time(2 * S, stanchion_breaker::Expiry::Open)
        .unwrap();
    let (breaker, time) = breaker(window(2).with_half_open(half_open));
    breaker.open();
    time.advance(6 * S);
    let hung = breaker.try_acquire().unwrap();
    time.advance(3 * S);
    assert!(breaker.try_acquire().is_err());
    assert_eq!(breaker.state(), State::Open);
    time.advance(6 * S);
    record(&breaker, GOOD, 1);
    assert_eq!(breaker.state(), State::Closed);
    hung.record(BAD);
    assert_eq!(breaker.state(), State::Closed);
}

/// A peer released more permits than there were.
#[test]
fn a_trial_is_given_back_once() {
    let half_open = HalfOpen::new(2).unwrap();
    let (breaker, time) = breaker(window(2).with_half_open(half_open));
    breaker.open();
    time.advance(10 * S);
    for _ in 0..10 {
        drop(breaker.try_acquire().unwrap());
        drop(breaker.try_acquire_owned().unwrap());
    }
    let _one = breaker.try_acquire().unwrap();
    let _two = breaker.try_acquire().unwrap();
    assert!(breaker.try_acquire().is_err());
}
