//! Every interleaving of two threads at a breaker: of the word, what belongs to it, and the machine.

use std::time::Duration;

use ::loom::model;
use ::loom::sync::Arc;
use ::loom::thread;
use stanchion_core::ManualClock;

use super::*;
use crate::{HalfOpen, OpenTime, Window};

const S: Duration = Duration::from_secs(1);

/// Of two calls at least, half of which must fail; open for a second, and tried once.
fn breaker() -> (Arc<Shared>, ManualClock) {
    let (clock, time) = Clock::manual();
    let config = Config::new(Window::calls(2).expect("a valid window"))
        .with_open_time(OpenTime::fixed(S).expect("a valid time"))
        .with_half_open(HalfOpen::new(1).expect("a valid number"));
    (Arc::new(Shared::new(config, clock, None)), time)
}

/// Runs one on a thread of its own, and the other here.
fn race<T: 'static, U>(
    shared: &Arc<Shared>,
    one: impl FnOnce(&Shared) -> T + 'static,
    other: impl FnOnce(&Shared) -> U,
) -> (T, U) {
    let there = thread::spawn({
        let shared = shared.clone();
        move || one(&shared)
    });
    let other = other(shared);
    (there.join().expect("it does not panic"), other)
}

fn fail(shared: &Shared, token: Token) {
    shared.finish(token, Outcome::Failure, None);
}

fn admitted(shared: &Shared) -> Token {
    shared.admit().expect("it is closed")
}

#[test]
fn of_two_calls_that_come_when_the_open_time_is_over_one_is_the_trial() {
    model(|| {
        let (shared, time) = breaker();
        shared.go(State::Open).expect("by hand, any time");
        time.advance(2 * S);
        let ask = |shared: &Shared| shared.admit();
        let (one, other) = race(&shared, ask, ask);
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        let trial = one.or(other).expect("one of them passed");
        assert_eq!(trial.generation(), 3);
        shared.finish(trial, Outcome::Success, None);
        assert_eq!(shared.state(), State::Closed);
    });
}

/// Both see that the rate is reached: it opens once, or the second would have made the open time grow.
#[test]
fn two_failures_at_once_open_it_once() {
    model(|| {
        let (shared, _time) = breaker();
        let (here, there) = (admitted(&shared), admitted(&shared));
        race(
            &shared,
            move |shared| fail(shared, there),
            |shared| fail(shared, here),
        );
        assert_eq!(shared.state(), State::Open);
        assert_eq!(shared.word().generation(), 2);
        let totals = &shared.totals.0;
        let counted = totals.failed.load(Ordering::Relaxed) + totals.late.load(Ordering::Relaxed);
        assert_eq!(counted, 2);
    });
}

/// A refusal while it opens has the moment and the cause of that opening, and not those before.
#[test]
fn a_call_beside_the_opening_passes_or_is_refused_for_what_opened_it() {
    model(|| {
        let (shared, time) = breaker();
        time.advance(10 * S);
        fail(&shared, admitted(&shared));
        let last = admitted(&shared);
        let (asked, ()) = race(
            &shared,
            |shared| shared.admit(),
            |shared| fail(shared, last),
        );
        match asked {
            Ok(token) => assert_eq!(token.generation(), 1),
            Err(rejected) => {
                assert_eq!(rejected.cause(), crate::Cause::FailureRate(1.0));
                assert_eq!(rejected.retry_after(), Some(S + Duration::from_nanos(1)));
            }
        }
        assert_eq!(shared.state(), State::Open);
    });
}

/// What began before the state changed has not failed in the window of the state after, whoever is
/// first. One whose thread stood still while it wrote may count there as a call, and no more.
#[test]
fn a_call_that_ends_while_the_state_changes_has_not_failed_in_the_next() {
    model(|| {
        let (shared, _time) = breaker();
        let early = admitted(&shared);
        race(
            &shared,
            move |shared| fail(shared, early),
            |shared| shared.reset(),
        );
        let counts = shared.counts();
        assert!(counts.total <= 1 && counts.failed == 0, "{counts:?}");
        let totals = &shared.totals.0;
        let counted = totals.failed.load(Ordering::Relaxed) + totals.late.load(Ordering::Relaxed);
        assert_eq!(counted, 1);
    });
}
