//! What an observer hears, and what a call without a layer leaves behind.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion_breaker::{Breaker, Cause, Config, Event, HalfOpen, OpenTime, State, Window};
use stanchion_core::{Clock, ManualClock, Outcome};
use testkit::drop_at_every_await_in;

const S: Duration = Duration::from_secs(1);

fn breaker() -> (Breaker, ManualClock, Arc<Mutex<Vec<Event>>>) {
    let (clock, time) = Clock::manual();
    let config = Config::new(Window::calls(4).unwrap())
        .with_open_time(OpenTime::fixed(S).unwrap())
        .with_half_open(HalfOpen::new(2).unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let shared = heard.clone();
    let breaker = Breaker::new(config).with_clock(clock);
    let breaker = breaker.with_observer(move |event: &Event| shared.lock().unwrap().push(*event));
    (breaker, time, heard)
}

#[test]
fn each_change_is_told_with_its_reason_and_numbers_and_each_refusal() {
    let (breaker, time, heard) = breaker();
    let record = |outcomes: &[Outcome]| {
        for outcome in outcomes {
            breaker.try_acquire().unwrap().record(*outcome);
        }
    };
    let (good, bad) = (Outcome::Success, Outcome::Failure);
    record(&[good, bad, bad, bad]);
    let rejected = breaker.try_acquire().unwrap_err();
    time.advance(2 * S);
    record(&[bad, bad]);
    time.advance(2 * S);
    record(&[good, bad]);
    time.advance(2 * S);
    record(&[good, good]);
    let heard: Vec<_> = heard.lock().unwrap().clone();
    let changes = heard.iter().filter_map(|event| match event {
        Event::Changed(change) => Some((
            change.from,
            change.to,
            change.cause,
            change.calls,
            change.failed,
        )),
        _ => None,
    });
    use State::{Closed, HalfOpen, Open};
    assert_eq!(
        changes.collect::<Vec<_>>(),
        [
            (Closed, Open, Cause::FailureRate(0.75), 4, 3),
            (Open, HalfOpen, Cause::OpenTimeOver, 0, 0),
            (HalfOpen, Open, Cause::TrialsFailed, 2, 2),
            (Open, HalfOpen, Cause::OpenTimeOver, 0, 0),
            (HalfOpen, Open, Cause::TrialsFailed, 2, 1),
            (Open, HalfOpen, Cause::OpenTimeOver, 0, 0),
            (HalfOpen, Closed, Cause::TrialsSucceeded, 2, 0),
        ]
    );
    let refused: Vec<_> = heard
        .iter()
        .filter(|event| matches!(event, Event::Rejected(_)))
        .collect();
    assert_eq!(refused, [&Event::Rejected(rejected)]);
    assert_eq!(breaker.snapshot().rejected_total, 1);
}

/// An observer may ask the breaker: it is told when the lock is free.
#[test]
fn an_observer_may_use_the_breaker_that_tells_it() {
    let (clock, _time) = Clock::manual();
    let slot: Arc<Mutex<Option<Breaker>>> = Arc::default();
    let shared = slot.clone();
    let breaker = Breaker::new(Config::default()).with_clock(clock);
    let breaker = breaker.with_observer(move |event: &Event| {
        if let (Event::Changed(change), Some(breaker)) = (event, &*shared.lock().unwrap()) {
            assert_eq!(breaker.snapshot().state, change.to);
        }
    });
    *slot.lock().unwrap() = Some(breaker.clone());
    breaker.open();
    breaker.half_open().unwrap();
    breaker.reset();
    // The breaker and its observer hold each other.
    *slot.lock().unwrap() = None;
}

/// Half-open, and dropped wherever it may be: both trials are there again.
#[test]
fn a_call_that_is_dropped_anywhere_gives_its_trial_back() {
    let drops = drop_at_every_await_in(|| {
        let (breaker, _time, _heard) = breaker();
        breaker.open();
        breaker.half_open().unwrap();
        let called = breaker.clone();
        (breaker, async move {
            let twice = async {
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                Ok::<(), ()>(())
            };
            let _ = called.call(twice).await;
        })
    })
    .check(|breaker| {
        let snapshot = breaker.snapshot();
        assert_eq!(
            (snapshot.state, snapshot.trials_in_flight),
            (State::HalfOpen, 0)
        );
        let trials = 2 - snapshot.calls;
        let held: Vec<_> = (0..2).filter_map(|_| breaker.try_acquire().ok()).collect();
        assert_eq!(held.len() as u64, trials);
    });
    assert!(drops > 2, "{drops}");
}
