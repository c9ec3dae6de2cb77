//! One call that an open breaker refuses. All were opened for an hour, by failures.

use stanchion_benches::{Case, Contestant, Measure, Target, Unit, contended, single};
use stanchion_breaker::{Breaker, Config, OpenTime, State, Window};
use stanchion_core::Outcome;

use crate::floor::BareWord;
use crate::peers::{self, Calls, counted, refused};

pub(crate) fn cases() -> Vec<Case> {
    vec![alone(), together()]
}

fn alone() -> Case {
    let batch = |build: fn() -> Calls| single(move || refused(build()));
    Case::new("open, rejected, 1 thread", Unit::NS)
        .with(
            Contestant::ours("stanchion", batch(stanchion)).must(Target::AtLeast {
                ratio: 10.0,
                versus: "tower-resilience",
            }),
        )
        .with(Contestant::peer(
            "a load and a clock read",
            batch(bare_word),
        ))
        .with(Contestant::peer("recloser", batch(recloser)))
        .with(Contestant::peer("failsafe", batch(failsafe)))
        .with(Contestant::peer(
            "tower-resilience",
            single(|| {
                let mut service = peers::resilience();
                while peers::call(&mut service, false) || !service.is_open() {}
                move |iterations| assert_eq!(peers::drive(&mut service, iterations), 0)
            }),
        ))
}

fn together() -> Case {
    let threads = |build: fn() -> Calls| -> Measure {
        contended(2, move || {
            let calls = build();
            (0..2).map(|_| refused(calls.clone())).collect()
        })
    };
    Case::new("open, rejected, 2 threads", Unit::NS)
        .with(Contestant::ours("stanchion", threads(stanchion)))
        .with(Contestant::peer(
            "a load and a clock read",
            threads(bare_word),
        ))
        .with(Contestant::peer("recloser", threads(recloser)))
        .with(Contestant::peer("failsafe", threads(failsafe)))
}

fn stanchion() -> Calls {
    let window = Window::calls(100).expect("a valid window");
    let open_time = OpenTime::fixed(peers::HOUR).expect("a valid time");
    let breaker = Breaker::new(Config::new(window).with_open_time(open_time));
    while let Ok(permit) = breaker.try_acquire() {
        permit.record(Outcome::Failure);
    }
    assert_eq!(breaker.state(), State::Open);
    counted(move || breaker.try_acquire().is_ok())
}

fn bare_word() -> Calls {
    let word = BareWord::open();
    counted(move || word.is_closed())
}

fn recloser() -> Calls {
    let recloser = peers::recloser();
    for _ in 0..200 {
        peers::call_recloser(&recloser, false);
    }
    counted(move || peers::call_recloser(&recloser, true))
}

/// Of failures in a row, since its window trips only once it is full, ten seconds later.
fn failsafe() -> Calls {
    let breaker = peers::failsafe_streak();
    for _ in 0..5 {
        peers::call_failsafe(&breaker, false);
    }
    counted(move || peers::call_failsafe(&breaker, true))
}
