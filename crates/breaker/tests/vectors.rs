//! What the peers' own tests promise of a breaker, as far as it is what ours promises too.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stanchion_breaker::{
    Breaker, Cause, Config, Event, Expiry, HalfOpen, OpenTime, Ratio, SlowCalls, State, Window,
};
use stanchion_core::{Clock, ManualClock, Outcome};

const S: Duration = Duration::from_secs(1);
const NS: Duration = Duration::from_nanos(1);
const GOOD: Outcome = Outcome::Success;
const BAD: Outcome = Outcome::Failure;

fn breaker(config: Config) -> (Breaker, ManualClock) {
    let (clock, time) = Clock::manual();
    (Breaker::new(config).with_clock(clock), time)
}

fn calls(window: u32, min: u32) -> Config {
    let config = Config::new(Window::calls(window).unwrap());
    config.with_min_calls(min).unwrap()
}

/// One call after the other, as a line of `S` (success), `F` (failure) and `I` (ignored).
fn run(breaker: &Breaker, line: &str) {
    for call in line.chars() {
        let outcome = match call {
            'S' => GOOD,
            'F' => BAD,
            _ => Outcome::Ignore,
        };
        breaker.try_acquire().unwrap().record(outcome);
    }
}

/// Half-open, with four trials.
fn half_open(config: Config) -> (Breaker, ManualClock) {
    let config = config.with_half_open(HalfOpen::new(4).unwrap());
    let (breaker, time) = breaker(config);
    breaker.open();
    breaker.half_open().unwrap();
    (breaker, time)
}

fn percent(rate: Option<f64>) -> Option<i64> {
    // Tenths of a percent, rounded.
    let text = |rate: f64| format!("{:.0}", rate * 1000.0);
    rate.map(|rate| text(rate).parse().unwrap())
}

mod resilience4j {
    use super::*;

    #[test]
    fn rates_are_unknown_below_the_minimum() {
        let (breaker, _) = breaker(calls(10, 5));
        run(&breaker, "FFFF");
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.failure_rate, snapshot.slow_rate), (None, None));
        assert_eq!((snapshot.calls, snapshot.failed), (4, 4));
        assert_eq!(snapshot.state, State::Closed);
    }

    #[test]
    fn the_call_that_makes_them_enough_opens_it_though_it_succeeds() {
        let (breaker, _) = breaker(calls(5, 5));
        run(&breaker, "FFFS");
        assert_eq!(breaker.state(), State::Closed);
        run(&breaker, "S");
        assert_eq!(breaker.state(), State::Open);
        let rejected = breaker.try_acquire().unwrap_err();
        assert_eq!(rejected.cause(), Cause::FailureRate(0.6));
        assert_eq!(breaker.snapshot().rejected_total, 1);
    }

    #[test]
    fn a_window_of_time_opens_with_the_failure_that_reaches_the_rate() {
        let config = Config::new(Window::time(20 * S).unwrap());
        let (breaker, time) = breaker(config.with_min_calls(5).unwrap());
        for call in ["S", "S", "S", "F", "F"] {
            run(&breaker, call);
            time.advance(S);
        }
        assert_eq!(breaker.state(), State::Closed);
        run(&breaker, "F");
        assert_eq!(breaker.state(), State::Open);
    }

    #[test]
    fn slow_successes_and_slow_failures_count_as_slow() {
        let slow = SlowCalls::new(4 * S, Ratio::new(0.6).unwrap()).unwrap();
        let config = calls(5, 5).with_slow_calls(slow).unwrap();
        let (breaker, time) = breaker(config);
        for (outcome, seconds) in [(GOOD, 1), (GOOD, 5), (BAD, 5), (GOOD, 1), (GOOD, 5)] {
            assert_eq!(breaker.state(), State::Closed);
            let permit = breaker.try_acquire().unwrap();
            time.advance(seconds * S);
            permit.record(outcome);
        }
        let rejected = breaker.try_acquire().unwrap_err();
        assert_eq!(rejected.cause(), Cause::SlowRate(0.6));
    }

    #[test]
    fn a_call_of_exactly_the_threshold_is_not_slow() {
        let slow = SlowCalls::new(4 * S, Ratio::HALF).unwrap();
        let (breaker, time) = breaker(calls(1, 1).with_slow_calls(slow).unwrap());
        let permit = breaker.try_acquire().unwrap();
        time.advance(4 * S);
        permit.record(GOOD);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn it_is_half_open_strictly_after_the_open_time() {
        let open_time = OpenTime::fixed(5 * S).unwrap();
        let (breaker, time) = breaker(calls(5, 5).with_open_time(open_time));
        run(&breaker, "FFFFF");
        time.advance(3 * S);
        assert_eq!(
            breaker.try_acquire().unwrap_err().retry_after(),
            Some(2 * S + NS)
        );
        time.advance(2 * S);
        assert_eq!(breaker.try_acquire().unwrap_err().retry_after(), Some(NS));
        assert_eq!(breaker.state(), State::Open);
        time.advance(NS);
        let _trial = breaker.try_acquire().unwrap();
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.state, snapshot.calls), (State::HalfOpen, 0));
    }

    #[test]
    fn the_second_opening_lasts_longer() {
        let open_time = OpenTime::growing(5 * S, 1.5, 60 * S).unwrap();
        let config = calls(1, 1).with_open_time(open_time);
        let (breaker, time) = breaker(config.with_half_open(HalfOpen::new(1).unwrap()));
        run(&breaker, "F");
        time.advance(6 * S);
        run(&breaker, "F");
        time.advance(6 * S);
        assert!(breaker.try_acquire().is_err());
        time.advance(5 * S);
        assert!(breaker.try_acquire().is_ok());
    }

    #[test]
    fn four_trials_are_let_through_and_a_released_one_comes_back() {
        let (breaker, _) = half_open(calls(10, 5));
        let mut trials: Vec<_> = (0..4).map(|_| breaker.try_acquire().unwrap()).collect();
        assert_eq!(breaker.try_acquire().unwrap_err().state(), State::HalfOpen);
        drop(trials.pop());
        trials.push(breaker.try_acquire().unwrap());
        assert!(breaker.try_acquire().is_err());
    }

    #[test]
    fn the_next_half_open_time_has_its_four_trials_again() {
        let (breaker, _) = half_open(calls(10, 5));
        let old: Vec<_> = (0..4).map(|_| breaker.try_acquire().unwrap()).collect();
        breaker.open();
        breaker.half_open().unwrap();
        let new: Vec<_> = (0..4).map(|_| breaker.try_acquire().unwrap()).collect();
        drop(old);
        assert!(
            breaker.try_acquire().is_err(),
            "the old ones give nothing back"
        );
        drop(new);
    }

    #[test]
    fn trials_decide_by_their_rate_when_all_are_over() {
        for (line, state) in [
            ("FFSF", State::Open),
            ("FSSS", State::Closed),
            ("SSSIF", State::Closed),
            ("FFSS", State::Open),
        ] {
            let (breaker, _) = half_open(calls(10, 5));
            run(&breaker, &line[..line.len() - 1]);
            assert_eq!(breaker.state(), State::HalfOpen, "{line}");
            run(&breaker, &line[line.len() - 1..]);
            assert_eq!(breaker.state(), state, "{line}");
            assert_eq!(breaker.snapshot().calls, 0, "{line}");
        }
    }

    #[test]
    fn slow_trials_open_it_again() {
        let slow = SlowCalls::new(S, Ratio::HALF).unwrap();
        let (breaker, time) = half_open(calls(10, 5).with_slow_calls(slow).unwrap());
        for seconds in [2, 2, 0, 2] {
            let trial = breaker.try_acquire().unwrap();
            time.advance(seconds * S);
            trial.record(GOOD);
        }
        assert_eq!(breaker.state(), State::Open);
        assert_eq!(breaker.snapshot().failed_total, 0);
    }

    #[test]
    fn ignored_trials_record_nothing_and_leave_their_place() {
        let (breaker, _) = half_open(calls(10, 5));
        run(&breaker, "IIII");
        assert_eq!(breaker.state(), State::HalfOpen);
        run(&breaker, "SSSS");
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn forced_open_is_no_matter_of_time_and_counts_what_it_refuses() {
        let (breaker, time) = breaker(Config::default());
        breaker.force_open();
        time.advance(1_000_000 * S);
        for _ in 0..3 {
            let rejected = breaker.try_acquire().unwrap_err();
            assert_eq!(
                (rejected.state(), rejected.retry_after()),
                (State::ForcedOpen, None)
            );
        }
        assert_eq!(breaker.snapshot().rejected_total, 3);
    }

    #[test]
    fn disabled_lets_all_through_and_records_nothing() {
        let (breaker, _) = breaker(calls(2, 1));
        breaker.disable();
        run(&breaker, "FFFF");
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.state, snapshot.calls), (State::Disabled, 0));
    }

    fn told(config: Config) -> (Breaker, ManualClock, Arc<Mutex<Vec<Event>>>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let (breaker, time) = breaker(config);
        let heard = events.clone();
        let breaker = breaker.with_observer(move |event: &Event| heard.lock().push(*event));
        (breaker, time, events)
    }

    #[test]
    fn metrics_only_tells_each_threshold_once_and_never_opens() {
        let slow = SlowCalls::new(S, Ratio::HALF).unwrap();
        let config = calls(2, 2).with_slow_calls(slow).unwrap();
        let (breaker, time, events) = told(config);
        breaker.metrics_only();
        events.lock().clear();
        for _ in 0..4 {
            run(&breaker, "F");
        }
        for _ in 0..4 {
            let permit = breaker.try_acquire().unwrap();
            time.advance(2 * S);
            permit.record(GOOD);
        }
        let reached = [
            Event::ThresholdReached(Cause::FailureRate(1.0)),
            Event::ThresholdReached(Cause::SlowRate(0.5)),
        ];
        let events = events.lock();
        let kinds = |event: &Event| std::mem::discriminant(event);
        assert_eq!(events.len(), 2, "{events:?}");
        assert!(events.iter().map(kinds).eq(reached.iter().map(kinds)));
        assert_eq!(breaker.snapshot().slow, 2);
        assert_eq!(breaker.state(), State::MetricsOnly);
    }

    #[test]
    fn there_is_no_way_from_closed_to_half_open() {
        let (breaker, _) = breaker(Config::default());
        let illegal = breaker.half_open().unwrap_err();
        assert_eq!(
            (illegal.from(), illegal.to()),
            (State::Closed, State::HalfOpen)
        );
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn going_where_it_is_tells_nothing() {
        let (breaker, _, events) = told(Config::default());
        breaker.close();
        breaker.force_open();
        breaker.force_open();
        breaker.disable();
        breaker.disable();
        assert_eq!(events.lock().len(), 2);
    }

    #[test]
    fn a_reset_empties_the_window_of_a_closed_breaker_too() {
        let (breaker, _) = breaker(calls(10, 10));
        run(&breaker, "FFFFFFFFF");
        breaker.reset();
        assert_eq!(breaker.snapshot().calls, 0);
        run(&breaker, "S");
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn half_open_for_too_long_ends_as_configured() {
        for (then, state) in [(Expiry::Open, State::Open), (Expiry::Close, State::Closed)] {
            let half_open = HalfOpen::new(1).unwrap().with_max_time(S, then).unwrap();
            let (breaker, time) = breaker(Config::default().with_half_open(half_open));
            breaker.open();
            breaker.half_open().unwrap();
            let hanging = breaker.try_acquire().unwrap();
            time.advance(S);
            assert_eq!(breaker.try_acquire().unwrap_err().state(), State::HalfOpen);
            time.advance(NS);
            assert_eq!(breaker.try_acquire().is_ok(), then == Expiry::Close);
            assert_eq!(breaker.state(), state);
            drop(hanging);
        }
    }

    /// Watched without opening.
    fn watched(config: Config) -> (Breaker, ManualClock) {
        let (breaker, time) = breaker(config);
        breaker.metrics_only();
        (breaker, time)
    }

    #[test]
    fn a_window_of_ten_holds_the_last_ten() {
        let (breaker, _) = watched(calls(10, 1));
        run(&breaker, "SSFFFFFFSSSS");
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.calls, snapshot.failed), (10, 6));
        assert_eq!(percent(snapshot.failure_rate), Some(600));
        run(&breaker, "SSS");
        assert_eq!(percent(breaker.snapshot().failure_rate), Some(300));
    }

    #[test]
    fn a_failure_slides_out_of_a_window_of_four() {
        let (breaker, _) = watched(calls(4, 1));
        let rates = "FSSSS".chars().map(|call| {
            run(&breaker, &call.to_string());
            percent(breaker.snapshot().failure_rate).unwrap()
        });
        assert_eq!(rates.collect::<Vec<_>>(), [1000, 500, 333, 250, 0]);
    }

    #[test]
    fn a_window_of_five_seconds_forgets_second_by_second() {
        let window = Window::time(5 * S).unwrap().with_buckets(5).unwrap();
        let (breaker, time) = watched(Config::new(window).with_min_calls(1).unwrap());
        let ms = Duration::from_millis(1);
        for (wait, call) in [
            (0, "F"),
            (100, "S"),
            (100, "S"),
            (1000, "S"),
            (1000, "S"),
            (1000, "F"),
            (1000, "S"),
        ] {
            time.advance(wait * ms);
            run(&breaker, call);
        }
        let held = || {
            let snapshot = breaker.snapshot();
            (snapshot.calls, snapshot.failed)
        };
        assert_eq!(held(), (7, 2));
        for (seconds, then) in [(1, (5, 1)), (1, (5, 1)), (5, (1, 0))] {
            time.advance(seconds * S);
            run(&breaker, "S");
            assert_eq!(held(), then);
        }
    }
}

mod failsafe {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_for_longer_and_a_success_forgets_that() {
        let open_time = OpenTime::growing(5 * S, 2.0, 60 * S).unwrap();
        let config = Config::consecutive_failures(NonZeroU32::new(3).unwrap())
            .with_open_time(open_time)
            .with_half_open(HalfOpen::new(1).unwrap());
        let (breaker, time) = breaker(config);
        run(&breaker, "FFSFFF");
        let wait = || breaker.try_acquire().unwrap_err().retry_after().unwrap();
        assert_eq!(wait(), 5 * S + NS);
        time.advance(6 * S);
        run(&breaker, "F");
        assert_eq!(wait(), 10 * S + NS);
        time.advance(11 * S);
        run(&breaker, "S");
        assert_eq!(breaker.state(), State::Closed);
        run(&breaker, "FFF");
        assert_eq!(wait(), 5 * S + NS);
    }
}
