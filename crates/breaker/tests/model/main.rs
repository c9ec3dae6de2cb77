//! The breaker against a specification that keeps every call and decides the slow way.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod spec;

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use spec::{Plan, Spec};
use stanchion_breaker::{Breaker, OwnedPermit, State};
use stanchion_core::{Clock, Outcome};

#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire,
    /// One of the permits that are out comes back with this outcome, and perhaps a wish.
    Finish(usize, Outcome, Option<u64>),
    Drop(usize),
    Wait(u64),
    Go(State),
    Reset,
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        5 => Just(Outcome::Success),
        5 => Just(Outcome::Failure),
        1 => Just(Outcome::Overload),
        1 => Just(Outcome::Ignore),
    ]
}

fn states() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Closed),
        Just(State::Open),
        Just(State::HalfOpen),
        Just(State::ForcedOpen),
        Just(State::Disabled),
        Just(State::MetricsOnly),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wish = proptest::option::weighted(0.2, 0_u64..400);
    let step = prop_oneof![
        20 => Just(Step::Acquire),
        20 => (any::<usize>(), outcomes(), wish).prop_map(|(i, o, w)| Step::Finish(i, o, w)),
        3 => any::<usize>().prop_map(Step::Drop),
        8 => (0_u64..30).prop_map(Step::Wait),
        3 => (0_u64..200).prop_map(Step::Wait),
        1 => states().prop_map(Step::Go),
        1 => Just(Step::Reset),
    ];
    proptest::collection::vec(step, 0..250)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_specification_does(plan: Plan, steps in steps()) {
        let (clock, time) = Clock::manual();
        let breaker = Breaker::new(plan.config()).with_clock(clock);
        let mut spec = Spec::new(plan);
        let mut permits: Vec<(OwnedPermit, spec::Ticket)> = Vec::new();
        for step in steps {
            match step {
                Step::Acquire => {
                    let real = breaker.try_acquire_owned();
                    match (real, spec.acquire()) {
                        (Ok(permit), Ok(ticket)) => permits.push((permit, ticket)),
                        (Err(rejected), Err(wait)) => {
                            let wait = wait.map(Duration::from_nanos);
                            prop_assert_eq!(rejected.retry_after(), wait);
                            prop_assert_eq!(rejected.state(), spec.state());
                        }
                        (real, spec) => prop_assert!(false, "{real:?}, but {spec:?}"),
                    }
                }
                Step::Finish(which, outcome, wish) if !permits.is_empty() => {
                    let (permit, ticket) = permits.swap_remove(which % permits.len());
                    match wish.map(Duration::from_nanos) {
                        Some(wish) => permit.record_with_retry_after(outcome, wish),
                        None => permit.record(outcome),
                    }
                    spec.finish(ticket, outcome, wish);
                }
                Step::Drop(which) if !permits.is_empty() => {
                    let (permit, ticket) = permits.swap_remove(which % permits.len());
                    drop(permit);
                    spec.cancel(ticket);
                }
                Step::Finish(..) | Step::Drop(_) => {}
                Step::Wait(nanos) => {
                    time.advance(Duration::from_nanos(nanos));
                    spec.wait(nanos);
                }
                Step::Go(to) => {
                    let legal = match to {
                        State::Closed => { breaker.close(); true }
                        State::Open => { breaker.open(); true }
                        State::ForcedOpen => { breaker.force_open(); true }
                        State::Disabled => { breaker.disable(); true }
                        State::MetricsOnly => { breaker.metrics_only(); true }
                        _ => breaker.half_open().is_ok(),
                    };
                    prop_assert_eq!(legal, spec.go(to));
                }
                Step::Reset => {
                    breaker.reset();
                    spec.reset();
                }
            }
            let snapshot = breaker.snapshot();
            prop_assert_eq!(snapshot.state, spec.state());
            let counts = (snapshot.calls, snapshot.failed, snapshot.slow);
            prop_assert_eq!(counts, spec.counts(), "{:?}", step);
            prop_assert_eq!(snapshot.trials_in_flight, spec.trials_in_flight());
            prop_assert_eq!(snapshot.rejected_total, spec.rejected());
            prop_assert_eq!(snapshot.late_total, spec.late());
            prop_assert_eq!(snapshot.failure_rate.is_some(), spec.knows_rates());
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// However it is used: once the dependency answers well again, it closes, and lets all through.
    #[test]
    fn nothing_wedges(plan: Plan, steps in steps()) {
        let (clock, time) = Clock::manual();
        let breaker = Breaker::new(plan.config()).with_clock(clock);
        let mut permits = Vec::new();
        for step in steps {
            match step {
                Step::Acquire => permits.extend(breaker.try_acquire_owned().ok()),
                Step::Finish(which, outcome, _) if !permits.is_empty() => {
                    permits.swap_remove(which % permits.len()).record(outcome);
                }
                Step::Wait(nanos) => time.advance(Duration::from_nanos(nanos)),
                _ => {}
            }
        }
        // Those that are still out are dropped, as all futures are at some time.
        permits.clear();
        for _ in 0..100 {
            time.advance(Duration::from_nanos(50));
            for _ in 0..5 {
                if let Ok(permit) = breaker.try_acquire_owned() {
                    permit.record(Outcome::Success);
                }
            }
        }
        prop_assert_eq!(breaker.state(), State::Closed);
        for _ in 0..100 {
            let permit = breaker.try_acquire_owned();
            prop_assert!(permit.is_ok());
            permit.unwrap().record(Outcome::Success);
        }
    }
}

/// A number that is not 0.
fn some(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}
