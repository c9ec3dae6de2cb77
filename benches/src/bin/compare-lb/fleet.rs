//! The 99th percentile of latency in a simulated fleet, by policy: 50 servers of 4 cores, 600,000
//! calls of 10 ms in the mean (lognormal), 1 ms of network. Virtual time, so the machine does not
//! matter; each round has a seed of its own.
//!
//! Two contestants see what no client may: how many calls each server has at this very moment, or half
//! a millisecond ago.

use std::cell::Cell;

use stanchion_benches::fleet::{
    Balancers, Chooser, Fresh, MILLISECOND, Scenario, Stale, Tally, play,
};
use stanchion_benches::{Case, Contestant, Measure, Unit, figure};
use stanchion_lb::policy::{P2c, PeakEwma, Random, RoundRobin};

const ROUNDS: usize = 3;
const SEED: u64 = 0x0066_6C65_6574;

pub(crate) fn cases() -> Vec<Case> {
    let homogeneous = |clients, load| Scenario {
        clients,
        load,
        ..Scenario::default()
    };
    let mixed = |clients, load| Scenario {
        clients,
        load,
        ..Scenario::mixed()
    };
    vec![
        p99(
            "fleet alike, 50 clients, load 0.95, p99",
            homogeneous(50, 0.95),
        ),
        p99("fleet mixed, 1 client, load 0.70, p99", mixed(1, 0.70)),
        p99("fleet mixed, 1 client, load 0.95, p99", mixed(1, 0.95)),
        p99("fleet mixed, 50 clients, load 0.70, p99", mixed(50, 0.70)),
        p99("fleet mixed, 50 clients, load 0.85, p99", mixed(50, 0.85)),
        p99("fleet mixed, 50 clients, load 0.95, p99", mixed(50, 0.95)),
        failures(Scenario {
            clients: 10,
            ..Scenario::failing_fast()
        }),
    ]
}

fn p99(name: &'static str, scenario: Scenario) -> Case {
    let case = Case::new(name, Unit::lower("ms"));
    contestants(case, &scenario, |tally| tally.quantile(0.99))
}

fn failures(scenario: Scenario) -> Case {
    let name = "fleet with one that fails fast, failures";
    let case = Case::new(name, Unit::lower("% of calls"));
    contestants(case, &scenario, |tally| tally.failed() * 100.0)
}

type Build = fn(&Scenario) -> Box<dyn Chooser>;

fn contestants(case: Case, scenario: &Scenario, result: fn(&Tally) -> f64) -> Case {
    let ours: [(&'static str, Build); 5] = [
        ("two choices", |it| Box::new(Balancers::new(it, P2c::new))),
        ("four choices", |it| {
            let four = || P2c::new().with_choices(4).expect("from 2 on");
            Box::new(Balancers::new(it, four))
        }),
        ("peak EWMA", |it| {
            Box::new(Balancers::new(it, PeakEwma::new))
        }),
        ("round robin", |it| {
            Box::new(Balancers::new(it, RoundRobin::new))
        }),
        ("random", |it| Box::new(Balancers::new(it, Random::new))),
    ];
    let seers: [(&'static str, Build); 2] = [
        ("two choices by the truth", |it| Box::new(Fresh::new(it))),
        ("least loaded, 0.5 ms ago", |it| {
            Box::new(Stale::of_all(it, MILLISECOND / 2))
        }),
    ];
    let case = case.rounds(ROUNDS);
    let case = ours.into_iter().fold(case, |case, (name, build)| {
        case.with(Contestant::ours(name, run(scenario, build, result)))
    });
    seers.into_iter().fold(case, |case, (name, build)| {
        case.with(Contestant::peer(name, run(scenario, build, result)))
    })
}

fn run(scenario: &Scenario, build: Build, result: fn(&Tally) -> f64) -> Measure {
    let (scenario, round) = (scenario.clone(), Cell::new(0));
    figure(move || {
        round.set(round.get() + 1);
        let seed = SEED + round.get();
        let tally = play(&scenario, seed, &mut *build(&scenario), &mut |_| ());
        result(&tally)
    })
}
