//! One good call with a window of time, by how many calls the window holds.
//!
//! Ours is driven by a clock moved by hand, so that its window holds exactly so many calls at any
//! moment, and slides; moving the clock is part of the figure. The peer keeps each call, and its
//! window is as long as the comparison, so that it holds no fewer.

use std::time::Duration;

use stanchion_benches::{Batch, Case, Contestant, Measure, Target, Unit, single};
use stanchion_breaker::{Breaker, Config, Window};
use stanchion_core::{Clock, Outcome};

use crate::peers;

const SPAN: Duration = Duration::from_secs(10);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("window of time, 100 k calls in it", Unit::NS)
            .with(
                Contestant::ours("stanchion", stanchion(100_000)).must(Target::AtMost {
                    ratio: 1.5,
                    versus: "stanchion, 100 calls in it",
                }),
            )
            .with(Contestant::peer(
                "stanchion, 100 calls in it",
                stanchion(100),
            ))
            .with(Contestant::peer("tower-resilience", resilience(100_000)))
            .with(Contestant::peer(
                "tower-resilience, 100 calls in it at first",
                resilience(100),
            )),
        Case::new("window of time, system clock", Unit::NS)
            .with(Contestant::ours("stanchion", stanchion_system()))
            .with(Contestant::peer("failsafe, window", failsafe())),
    ]
}

fn stanchion(calls: u32) -> Measure {
    single(move || {
        let (clock, time) = Clock::manual();
        let breaker = breaker().with_clock(clock);
        let step = SPAN / calls;
        let mut batch: Batch = Box::new(move |iterations| {
            for _ in 0..iterations {
                time.advance(step);
                succeed(&breaker);
            }
        });
        batch(u64::from(2 * calls));
        batch
    })
}

fn stanchion_system() -> Measure {
    single(|| {
        let breaker = breaker();
        move |iterations| (0..iterations).for_each(|_| succeed(&breaker))
    })
}

fn failsafe() -> Measure {
    single(|| {
        let breaker = peers::failsafe_window();
        move |iterations| {
            for _ in 0..iterations {
                assert!(peers::call_failsafe(&breaker, true), "every call passes");
            }
        }
    })
}

fn resilience(calls: u64) -> Measure {
    single(move || {
        let mut service = peers::resilience_time();
        let mut batch: Batch = Box::new(move |iterations| {
            assert_eq!(peers::drive(&mut service, iterations), iterations);
        });
        batch(calls);
        batch
    })
}

fn breaker() -> Breaker {
    Breaker::new(Config::new(Window::time(SPAN).expect("a valid window")))
}

fn succeed(breaker: &Breaker) {
    let permit = breaker.try_acquire().expect("every call passes");
    permit.record(Outcome::Success);
}
