//! One call through a layer around a service that is always ready: `poll_ready`, `call`, and the
//! future to its end. Closed, and open with an answer instead of an error.

use stanchion_benches::{Case, Contestant, Measure, Target, Unit, allocations, single};
use stanchion_breaker::{Breaker, BreakerLayer, Config, Rejected, Window};
use tower::Layer;

use crate::peers::{self, Echo};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        closed("layer, closed", Unit::NS, Way::Time),
        closed(
            "layer, closed, allocations",
            Unit::ALLOCATIONS,
            Way::Allocations,
        ),
        open("layer, rejected", Unit::NS, Way::Time),
        open(
            "layer, rejected, allocations",
            Unit::ALLOCATIONS,
            Way::Allocations,
        ),
    ]
}

#[derive(Clone, Copy)]
enum Way {
    Time,
    Allocations,
}

impl Way {
    fn measure<F: FnMut(u64) + 'static>(self, build: impl Fn() -> F + 'static) -> Measure {
        match self {
            Self::Time => single(build),
            Self::Allocations => allocations(build),
        }
    }

    fn target(self, ratio: f64) -> Target {
        match self {
            Self::Time => Target::AtLeast {
                ratio,
                versus: "tower-resilience",
            },
            Self::Allocations => Target::Zero,
        }
    }
}

fn closed(name: &'static str, unit: Unit, way: Way) -> Case {
    Case::new(name, unit)
        .with(Contestant::ours("stanchion", way.measure(stanchion)).must(way.target(8.0)))
        .with(Contestant::peer("no layer", way.measure(bare)))
        .with(Contestant::peer(
            "tower-resilience",
            way.measure(|| resilience(false)),
        ))
}

/// Ours answers with a closure; the peer, which can only fail or box a future, fails.
fn open(name: &'static str, unit: Unit, way: Way) -> Case {
    Case::new(name, unit)
        .with(Contestant::ours("stanchion", way.measure(stanchion_open)).must(way.target(8.0)))
        .with(Contestant::peer(
            "tower-resilience",
            way.measure(|| resilience(true)),
        ))
}

fn breaker() -> Breaker {
    Breaker::new(Config::new(Window::calls(100).expect("a valid window")))
}

fn stanchion() -> impl FnMut(u64) {
    let mut service = BreakerLayer::new(breaker()).layer(Echo);
    move |iterations| assert_eq!(peers::drive(&mut service, iterations), iterations)
}

fn stanchion_open() -> impl FnMut(u64) {
    let breaker = breaker();
    breaker.force_open();
    let layer = BreakerLayer::new(breaker.clone()).respond_with(|_: &Rejected, _: bool| ());
    let mut service = layer.layer(Echo);
    move |iterations| {
        let before = breaker.snapshot().rejected_total;
        assert_eq!(peers::drive(&mut service, iterations), iterations);
        assert_eq!(breaker.snapshot().rejected_total - before, iterations);
    }
}

fn bare() -> impl FnMut(u64) {
    let mut service = Echo;
    move |iterations| assert_eq!(peers::drive(&mut service, iterations), iterations)
}

fn resilience(open: bool) -> impl FnMut(u64) {
    let mut service = peers::resilience();
    while open && (peers::call(&mut service, false) || !service.is_open()) {}
    let passing = u64::from(!open);
    move |iterations| assert_eq!(peers::drive(&mut service, iterations), iterations * passing)
}
