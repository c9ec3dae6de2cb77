//! A balancer of 1000 endpoints hears that one of them is another. Picks go on meanwhile, by the plan
//! before: this is not on their path. pingora's is made anew with all it has.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use pingora_load_balancing::selection::{Consistent, RoundRobin};
use stanchion_benches::{Batch, Case, Contestant, Target, Unit, single};
use stanchion_lb::Endpoint;
use stanchion_lb::policy::{ConsistentHash, P2c, Policy};

use crate::ours::{self, endpoint};
use crate::peers;

const MS: f64 = 1e6;
const ENDPOINTS: u16 = 1_000;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("change of one of 1000", Unit::NS)
            .burst(Duration::from_millis(20))
            .with(
                Contestant::ours(
                    "stanchion, Maglev",
                    single(|| ours(ConsistentHash::maglev())),
                )
                .must(Target::Reach(2.0 * MS)),
            )
            .with(
                Contestant::ours("stanchion, ring", single(|| ours(ConsistentHash::ring())))
                    .must(Target::Reach(5.0 * MS)),
            )
            .with(Contestant::ours(
                "stanchion, P2C",
                single(|| ours(P2c::new())),
            ))
            .with(Contestant::peer(
                "pingora, ketama",
                single(|| pingora(peers::pingora::<Consistent>)),
            ))
            .with(Contestant::peer(
                "pingora, round robin",
                single(|| pingora(peers::pingora::<RoundRobin>)),
            )),
    ]
}

fn ours(policy: impl Policy<SocketAddr> + 'static) -> impl FnMut(u64) {
    let balancer = ours::balancer(policy, ENDPOINTS);
    let mut endpoints: Vec<Endpoint<SocketAddr>> = (0..ENDPOINTS).map(endpoint).collect();
    let mut next = ENDPOINTS;
    move |iterations| {
        for _ in 0..iterations {
            let place = usize::from(next % ENDPOINTS);
            endpoints[place] = endpoint(next);
            next = next.wrapping_add(1).max(ENDPOINTS);
            let updated = balancer.update(endpoints.iter().cloned());
            assert!(updated.is_ok(), "names differ");
        }
    }
}

fn pingora<B>(build: impl Fn(u16) -> B + Send + 'static) -> Batch {
    Box::new(move |iterations| {
        for _ in 0..iterations {
            black_box(build(ENDPOINTS));
        }
    })
}
