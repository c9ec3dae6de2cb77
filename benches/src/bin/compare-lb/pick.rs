//! One pick, and the end of its call.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pingora_load_balancing::selection::{Random, RoundRobin};
use stanchion_benches::{
    Batch, Case, Contestant, Measure, Target, Unit, allocations, contended, single,
};
use stanchion_lb::policy::{self, P2c};

use crate::ours::{self, ANY, succeeds};
use crate::peers::{self, select};

const PINGORA: [&str; 2] = ["pingora, round robin", "pingora, random"];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        alone("pick of 10, 1 thread", 10),
        alone("pick of 100, 1 thread", 100),
        alone("pick of 1000, 1 thread", 1_000),
        together("pick of 10, 2 threads", 10),
        together("pick of 100, 2 threads", 100),
        together("pick of 1000, 2 threads", 1_000),
        nothing_allocated(),
    ]
}

fn alone(name: &'static str, endpoints: u16) -> Case {
    contestants(Case::new(name, Unit::NS), endpoints, true, |build| {
        single(move || build().pop().expect("a runner for each thread"))
    })
}

fn together(name: &'static str, endpoints: u16) -> Case {
    contestants(Case::new(name, Unit::NS), endpoints, false, |build| {
        contended(2, build)
    })
}

/// Makes one batch runner for each thread.
type Build = Box<dyn Fn() -> Vec<Batch>>;

fn contestants(case: Case, endpoints: u16, must: bool, measure: impl Fn(Build) -> Measure) -> Case {
    let p2c = shared(
        move || ours::balancer(P2c::new(), endpoints),
        |balancer| succeeds(balancer.pick(ANY)),
    );
    let p2c = Contestant::ours("stanchion, P2C", measure(p2c));
    let p2c = PINGORA
        .into_iter()
        .filter(|_| must)
        .fold(p2c, |p2c, versus| {
            p2c.must(Target::AtLeast {
                ratio: 10.0,
                versus,
            })
        });
    let picker: Build = Box::new(move || {
        let balancer = ours::balancer(P2c::new(), endpoints);
        let runner = |_| -> Batch {
            let mut picker = balancer.picker();
            counted(move || succeeds(picker.pick(ANY)))
        };
        (0..2).map(runner).collect()
    });
    let round_robin = shared(
        move || ours::balancer(policy::RoundRobin::new(), endpoints),
        |balancer| succeeds(balancer.pick(ANY)),
    );
    let random = shared(
        move || ours::balancer(policy::Random::new(), endpoints),
        |balancer| succeeds(balancer.pick(ANY)),
    );
    let bare = shared(move || Counts::new(endpoints), Counts::pick);
    case.with(p2c)
        .with(Contestant::ours("stanchion picker, P2C", measure(picker)))
        .with(Contestant::ours(
            "stanchion, round robin",
            measure(round_robin),
        ))
        .with(Contestant::ours("stanchion, random", measure(random)))
        .with(Contestant::peer("bare counts, two choices", measure(bare)))
        .with(Contestant::peer(
            PINGORA[0],
            measure(shared(
                move || peers::pingora::<RoundRobin>(endpoints),
                |balancer| select(balancer, b""),
            )),
        ))
        .with(Contestant::peer(
            PINGORA[1],
            measure(shared(
                move || peers::pingora::<Random>(endpoints),
                |balancer| select(balancer, b""),
            )),
        ))
}

fn nothing_allocated() -> Case {
    Case::new("pick, allocations", Unit::ALLOCATIONS)
        .with(
            Contestant::ours(
                "stanchion, P2C",
                allocations(|| {
                    let balancer = ours::balancer(P2c::new(), 100);
                    counted(move || succeeds(balancer.pick(ANY)))
                }),
            )
            .must(Target::Zero),
        )
        .with(Contestant::peer(
            PINGORA[1],
            allocations(|| {
                let balancer = peers::pingora::<Random>(100);
                counted(move || select(&balancer, b""))
            }),
        ))
}

/// All threads ask the same balancer. The loop is compiled together with each contestant's own code.
fn shared<B: Send + Sync + 'static>(
    build: impl Fn() -> B + 'static,
    pick: impl Fn(&B) -> u64 + Copy + Send + 'static,
) -> Build {
    Box::new(move || {
        let balancer = Arc::new(build());
        let runner = |_| -> Batch {
            let balancer = balancer.clone();
            counted(move || pick(&balancer))
        };
        (0..2).map(runner).collect()
    })
}

fn counted(mut pick: impl FnMut() -> u64 + Send + 'static) -> Batch {
    Box::new(move |iterations| {
        let ports: u64 = (0..iterations).map(|_| pick()).sum();
        assert_eq!(
            black_box(ports),
            80 * iterations,
            "every pick gives an endpoint"
        );
    })
}

/// What two choices cannot go below: two counts looked at, one counted up and down; no endpoints, no
/// health, no change of anything.
struct Counts(Box<[Padded]>);

#[repr(align(128))]
struct Padded(AtomicU32);

impl Counts {
    fn new(endpoints: u16) -> Self {
        Self((0..endpoints).map(|_| Padded(AtomicU32::new(0))).collect())
    }

    #[inline(always)]
    fn pick(&self) -> u64 {
        thread_local! {
            static STATE: Cell<u64> = const { Cell::new(0x9E37_79B9_7F4A_7C15) };
        }
        let mut bits = STATE.get();
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        STATE.set(bits);
        let count = self.0.len() as u64;
        let place = |bits: u64| &self.0[((bits * count) >> 32) as usize].0;
        let (first, second) = (place(bits >> 32), place(bits & 0xFFFF_FFFF));
        let fewer = second.load(Ordering::Acquire) < first.load(Ordering::Acquire);
        let chosen = if fewer { second } else { first };
        chosen.fetch_add(1, Ordering::Relaxed);
        black_box(chosen);
        chosen.fetch_sub(1, Ordering::Release);
        80
    }
}
