//! A table of 1000 nodes, made from their names. The peers' nodes are numbers, which are shorter to
//! hash than names. The crate maglev is left out: it takes most of a second, and half a gigabyte.

use std::hint::black_box;

use stanchion_benches::{Case, Contestant, Measure, Target, Unit, single};
use stanchion_hashing::{Anchor, Maglev, Node, Rendezvous, Ring};

use crate::peers;

const MS: f64 = 1e6;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("building of 1000 nodes", Unit::NS)
            .with(
                Contestant::ours("stanchion Maglev", table(|nodes| Maglev::new(nodes).ok()))
                    .must(Target::Reach(2.0 * MS)),
            )
            .with(
                Contestant::ours("stanchion Ring", table(|nodes| Ring::new(nodes).ok()))
                    .must(Target::Reach(5.0 * MS)),
            )
            .with(Contestant::ours(
                "stanchion Anchor",
                table(|nodes| Anchor::new(nodes, 2_000).ok()),
            ))
            .with(Contestant::ours(
                "stanchion Rendezvous",
                table(|nodes| Rendezvous::new(nodes).ok()),
            ))
            .with(Contestant::peer(
                "hashring, 160 points",
                of(peers::hashring),
            ))
            .with(Contestant::peer(
                "consistent_hash",
                of(peers::consistent_hash),
            ))
            .with(Contestant::peer("pingora-ketama", of(peers::ketama)))
            .with(Contestant::peer("anchorhash", of(peers::anchor)))
            .with(Contestant::peer("hrw-hash", of(peers::hrw))),
    ]
}

fn table<T>(build: impl Fn(&[Node<'_>]) -> Option<T> + Copy + 'static) -> Measure {
    single(move || {
        let names: Vec<String> = (0..1_000).map(|number| format!("node-{number}")).collect();
        move |iterations| {
            let nodes: Vec<Node<'_>> = names.iter().map(Node::new).collect();
            for _ in 0..iterations {
                assert!(black_box(build(black_box(&nodes))).is_some(), "valid nodes");
            }
        }
    })
}

fn of<P>(build: impl Fn(&[u32]) -> P + Copy + 'static) -> Measure {
    single(move || {
        let numbers: Vec<u32> = (0..1_000).collect();
        move |iterations| {
            for _ in 0..iterations {
                black_box(build(black_box(&numbers)));
            }
        }
    })
}
