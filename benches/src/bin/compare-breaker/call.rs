//! One good call of a closed breaker: the permit, and the success.
//!
//! The window holds the last 100 calls where the contestant has such a one; failsafe's holds ten
//! seconds. tower-resilience has no plain form, so it is called as a service around one that is
//! always ready.

use std::time::Duration;

use stanchion_benches::{Case, Contestant, Measure, Target, Unit, allocations, contended, single};
use stanchion_breaker::{Breaker, Config, Ratio, SlowCalls, Window};
use stanchion_core::{Clock, Outcome};

use crate::floor::BareWindow;
use crate::peers::{self, Calls, counted, passing};

pub(crate) fn cases() -> Vec<Case> {
    vec![alone(), together(), nothing_allocated(), timed()]
}

fn alone() -> Case {
    let batch = |build: fn() -> Calls| single(move || passing(build()));
    Case::new("closed, success, 1 thread", Unit::NS)
        .with(
            Contestant::ours("stanchion", batch(stanchion))
                .must(at_least(1.8, "recloser"))
                .must(at_least(10.0, "failsafe, window"))
                .must(at_least(20.0, "tower-resilience")),
        )
        .with(Contestant::peer("bare window", batch(bare_window)))
        .with(Contestant::peer("recloser", batch(recloser)))
        .with(Contestant::peer("failsafe, window", batch(failsafe_window)))
        .with(Contestant::peer("failsafe, streak", batch(failsafe_streak)))
        .with(Contestant::peer(
            "tower-resilience",
            single(|| {
                let mut service = peers::resilience();
                move |iterations| assert_eq!(peers::drive(&mut service, iterations), iterations)
            }),
        ))
}

/// One breaker, two threads, nothing fails. tower-resilience is left out: where its lock is taken
/// a call waits for a waker, which no bare thread has.
fn together() -> Case {
    let threads = |build: fn() -> Calls| -> Measure {
        contended(2, move || {
            let calls = build();
            (0..2).map(|_| passing(calls.clone())).collect()
        })
    };
    Case::new("closed, success, 2 threads", Unit::NS)
        .with(
            Contestant::ours("stanchion", threads(stanchion))
                .must(at_least(3.0, "recloser"))
                .must(at_least(3.0, "failsafe, window")),
        )
        .with(Contestant::peer("bare window", threads(bare_window)))
        .with(Contestant::peer("recloser", threads(recloser)))
        .with(Contestant::peer(
            "failsafe, window",
            threads(failsafe_window),
        ))
        .with(Contestant::peer(
            "failsafe, streak",
            threads(failsafe_streak),
        ))
}

fn nothing_allocated() -> Case {
    let of = |build: fn() -> Calls| allocations(move || passing(build()));
    Case::new("closed, success, allocations", Unit::ALLOCATIONS)
        .with(Contestant::ours("stanchion", of(stanchion)).must(Target::Zero))
        .with(Contestant::peer("recloser", of(recloser)))
        .with(Contestant::peer("failsafe, window", of(failsafe_window)))
        .with(Contestant::peer(
            "tower-resilience",
            allocations(|| {
                let mut service = peers::resilience();
                move |iterations| assert_eq!(peers::drive(&mut service, iterations), iterations)
            }),
        ))
}

/// What it costs to see slow calls: two reads of the clock, which the other contestant makes for
/// nothing.
fn timed() -> Case {
    let batch = |build: fn() -> Calls| single(move || passing(build()));
    Case::new("closed, success, slow calls timed", Unit::NS)
        .with(
            Contestant::ours("stanchion", batch(stanchion_timed)).must(Target::AtMost {
                ratio: 1.1,
                versus: "untimed, and two clock reads",
            }),
        )
        .with(Contestant::peer(
            "untimed, and two clock reads",
            batch(stanchion_and_clock),
        ))
        .with(Contestant::peer("untimed", batch(stanchion)))
}

const fn at_least(ratio: f64, versus: &'static str) -> Target {
    Target::AtLeast { ratio, versus }
}

fn config() -> Config {
    Config::new(Window::calls(100).expect("a valid window"))
}

#[inline(always)]
fn succeeds(breaker: &Breaker) -> bool {
    match breaker.try_acquire() {
        Ok(permit) => {
            permit.record(Outcome::Success);
            true
        }
        Err(_) => false,
    }
}

fn stanchion() -> Calls {
    let breaker = Breaker::new(config());
    counted(move || succeeds(&breaker))
}

fn stanchion_timed() -> Calls {
    let slow = SlowCalls::new(Duration::from_secs(1), Ratio::HALF).expect("a valid threshold");
    let config = config().with_slow_calls(slow).expect("there is a window");
    let breaker = Breaker::new(config);
    counted(move || succeeds(&breaker))
}

fn stanchion_and_clock() -> Calls {
    let (breaker, clock) = (Breaker::new(config()), Clock::system());
    counted(move || {
        let start = clock.now();
        let passed = succeeds(&breaker);
        passed && clock.now() >= start
    })
}

fn bare_window() -> Calls {
    let window = BareWindow::new();
    counted(move || window.succeed())
}

fn recloser() -> Calls {
    let recloser = peers::recloser();
    counted(move || peers::call_recloser(&recloser, true))
}

fn failsafe_window() -> Calls {
    let breaker = peers::failsafe_window();
    counted(move || peers::call_failsafe(&breaker, true))
}

fn failsafe_streak() -> Calls {
    let breaker = peers::failsafe_streak();
    counted(move || peers::call_failsafe(&breaker, true))
}
