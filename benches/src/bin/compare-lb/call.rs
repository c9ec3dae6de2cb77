//! One call through a balancer as a tower service, in front of services that are always ready:
//! `poll_ready`, `call`, and the future to its end.

use std::sync::{Arc, Mutex};

use stanchion_benches::{
    Batch, Case, Contestant, Target, Unit, allocations, contended_with_waits, single,
};
use stanchion_lb::policy::P2c;
use stanchion_lb::{Backend, Balance, Endpoint};

use crate::ours;
use crate::peers::{self, Echo, call, call_locked};

const TOWER: &str = "tower, pending requests";
const LOCKED: &str = "tower behind a lock";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        alone("call of 10, 1 thread", 10),
        alone("call of 100, 1 thread", 100),
        alone("call of 1000, 1 thread", 1_000),
        together("call of 10, 2 threads", 10, 6.0),
        together("call of 100, 2 threads", 100, 10.0),
        together("call of 1000, 2 threads", 1_000, 10.0),
        nothing_allocated(),
    ]
}

fn alone(name: &'static str, endpoints: u16) -> Case {
    Case::new(name, Unit::NS)
        .with(
            Contestant::ours("stanchion, P2C", single(move || stanchion(endpoints))).must(
                Target::AtLeast {
                    ratio: 5.0,
                    versus: TOWER,
                },
            ),
        )
        .with(Contestant::peer("no balancer", single(bare)))
        .with(Contestant::peer(TOWER, single(move || tower(endpoints))))
}

/// Our balancer is one, and each thread has its clone. tower's cannot be cloned, and is locked for
/// `poll_ready` and `call` together; who waits for the lock may sleep, so what counts is the time that
/// passes.
fn together(name: &'static str, endpoints: u16, ratio: f64) -> Case {
    let ours = contended_with_waits(2, move || {
        let balance = balance(endpoints);
        let runner = |_| -> Batch {
            let mut balance = balance.clone();
            calls(move || call(&mut balance))
        };
        (0..2).map(runner).collect()
    });
    let locked = contended_with_waits(2, move || {
        let balance = Arc::new(Mutex::new(peers::tower(endpoints)));
        let runner = |_| -> Batch {
            let balance = balance.clone();
            calls(move || call_locked(&balance))
        };
        (0..2).map(runner).collect()
    });
    Case::new(name, Unit::NS)
        .with(
            Contestant::ours("stanchion, P2C", ours).must(Target::AtLeast {
                ratio,
                versus: LOCKED,
            }),
        )
        .with(Contestant::peer(LOCKED, locked))
}

fn nothing_allocated() -> Case {
    Case::new("call, allocations", Unit::ALLOCATIONS)
        .with(Contestant::ours("stanchion, P2C", allocations(|| stanchion(100))).must(Target::Zero))
        .with(Contestant::peer(TOWER, allocations(|| tower(100))))
}

fn balance(endpoints: u16) -> Balance<Backend<u16, Echo>> {
    let endpoint = |number: u16| Endpoint::new(number.to_string(), Backend::new(number, Echo));
    Balance::new(ours::of(P2c::new(), (0..endpoints).map(endpoint)))
}

fn stanchion(endpoints: u16) -> Batch {
    let mut balance = balance(endpoints);
    calls(move || call(&mut balance))
}

fn tower(endpoints: u16) -> Batch {
    let mut balance = peers::tower(endpoints);
    calls(move || call(&mut balance))
}

fn bare() -> Batch {
    let mut service = Echo;
    calls(move || call(&mut service))
}

/// The loop is compiled together with each contestant's own code.
fn calls(mut call: impl FnMut() -> bool + Send + 'static) -> Batch {
    Box::new(move |iterations| {
        let answered: u64 = (0..iterations).map(|_| u64::from(call())).sum();
        assert_eq!(answered, iterations, "every call is answered");
    })
}
