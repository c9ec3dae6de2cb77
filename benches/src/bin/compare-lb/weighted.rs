//! One turn of smooth weighted round robin among 1000 endpoints with weights from 1 to 10.

use std::hint::black_box;
use std::sync::Arc;

use parking_lot::Mutex;
use stanchion_benches::{
    Batch, Case, Contestant, Measure, Target, Unit, contended_with_waits, single,
};
use stanchion_lb::policy::WeightedRoundRobin;

use crate::ours::{self, ANY, endpoint, succeeds};

const ENDPOINTS: u16 = 1_000;
const SCAN: &str = "nginx's scan, locked";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("smooth turn of 1000", |build| {
            single(move || build().pop().expect("a runner for each thread"))
        }),
        case("smooth turn of 1000, 2 threads", |build| {
            contended_with_waits(2, build)
        }),
    ]
}

/// The scan does nothing but choose; ours counts the call until its end as well.
fn case(name: &'static str, measure: fn(fn() -> Vec<Batch>) -> Measure) -> Case {
    Case::new(name, Unit::NS)
        .with(
            Contestant::ours("stanchion", measure(stanchion)).must(Target::AtLeast {
                ratio: 20.0,
                versus: SCAN,
            }),
        )
        .with(Contestant::peer(SCAN, measure(scan)))
}

fn weight(number: u16) -> u16 {
    1 + number % 10
}

fn stanchion() -> Vec<Batch> {
    let weighted = |number| endpoint(number).with_weight(weight(number));
    let balancer = ours::of(WeightedRoundRobin::new(), (0..ENDPOINTS).map(weighted));
    let runner = |_| -> Batch {
        let balancer = balancer.clone();
        Box::new(move |iterations| {
            let ports: u64 = (0..iterations).map(|_| succeeds(balancer.pick(ANY))).sum();
            assert_eq!(ports, 80 * iterations, "every pick gives an endpoint");
        })
    };
    (0..2).map(runner).collect()
}

fn scan() -> Vec<Batch> {
    let turns = Arc::new(Mutex::new(Scan::new()));
    let runner = |_| -> Batch {
        let turns = turns.clone();
        Box::new(move |iterations| {
            for _ in 0..iterations {
                black_box(turns.lock().next());
            }
        })
    };
    (0..2).map(runner).collect()
}

/// Each turn every current weight grows by its weight; the largest is chosen, and falls by the sum.
struct Scan {
    /// Weight, and current weight.
    peers: Box<[(i64, i64)]>,
    sum: i64,
}

impl Scan {
    fn new() -> Self {
        let weights = (0..ENDPOINTS).map(|number| i64::from(weight(number)));
        Self {
            sum: weights.clone().sum(),
            peers: weights.map(|weight| (weight, 0)).collect(),
        }
    }

    fn next(&mut self) -> usize {
        let mut best = 0;
        let mut largest = i64::MIN;
        for (place, (weight, current)) in self.peers.iter_mut().enumerate() {
            *current += *weight;
            if *current > largest {
                (best, largest) = (place, *current);
            }
        }
        self.peers[best].1 -= self.sum;
        best
    }
}
