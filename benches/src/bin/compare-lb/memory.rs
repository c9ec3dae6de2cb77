//! What a balancer of 1000 endpoints keeps on the heap for each.

use std::net::SocketAddr;

use pingora_load_balancing::selection::{Consistent, RoundRobin};
use stanchion_benches::{Case, Contestant, Measure, Target, Unit, held};
use stanchion_lb::policy::{ConsistentHash, P2c, Policy};

use crate::{ours, peers};

const ENDPOINTS: u16 = 1_000;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("memory of 1000", Unit::lower("bytes/endpoint"))
            .rounds(1)
            .with(Contestant::ours("stanchion, P2C", ours(P2c::new)).must(Target::Reach(512.0)))
            .with(Contestant::ours(
                "stanchion, ring",
                ours(ConsistentHash::ring),
            ))
            .with(Contestant::ours(
                "stanchion, Maglev",
                ours(ConsistentHash::maglev),
            ))
            .with(Contestant::peer("tower", of(peers::tower)))
            .with(Contestant::peer(
                "pingora, ketama",
                of(peers::pingora::<Consistent>),
            ))
            .with(Contestant::peer(
                "pingora, round robin",
                of(peers::pingora::<RoundRobin>),
            )),
    ]
}

fn ours<P: Policy<SocketAddr> + 'static>(policy: fn() -> P) -> Measure {
    of(move |endpoints| ours::balancer(policy(), endpoints))
}

fn of<B>(build: impl Fn(u16) -> B + 'static) -> Measure {
    held(move || (build(ENDPOINTS), usize::from(ENDPOINTS)))
}
