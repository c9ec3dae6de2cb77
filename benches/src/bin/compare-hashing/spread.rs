//! How evenly a million keys fall on 1000 nodes, and which of them move without need when one of
//! these goes. Chance alone, which no hash can do without, makes the largest share 1.10 times the mean
//! here.

use stanchion_benches::{Case, Contestant, Measure, Target, Unit, figure};
use stanchion_hashing::ConsistentHash;

use crate::hashes::Key;
use crate::{ours, peers};

const NODES: u32 = 1_000;
const KEYS: u32 = 1_000_000;
/// The one that goes.
const GONE: u32 = 500;

const MAX_BY_MEAN: Unit = Unit::lower("max/mean");
const NEEDLESS: Unit = Unit::lower("% needless moves");

pub(crate) fn cases() -> Vec<Case> {
    vec![balance(), moves()]
}

/// The numbers of all nodes, or of all but the one that goes.
fn numbers(gone: bool) -> Vec<u32> {
    let all = 0..NODES;
    all.filter(|number| !(gone && *number == GONE)).collect()
}

fn keys() -> impl Iterator<Item = Key> {
    (0..KEYS).map(|number| {
        let text = format!("key:{number:012}");
        Key(text.into_bytes().try_into().expect("4 and 12 bytes"))
    })
}

fn balance() -> Case {
    fn of<P: Fn(&Key) -> usize>(build: impl Fn(&[u32]) -> P + 'static) -> Measure {
        figure(move || {
            let pick = build(&numbers(false));
            let mut counts = vec![0_u32; NODES as usize];
            keys().for_each(|key| counts[pick(&key)] += 1);
            let max = counts.into_iter().max().unwrap_or(0);
            f64::from(max) * f64::from(NODES) / f64::from(KEYS)
        })
    }
    Case::new("balance of 1000 nodes", MAX_BY_MEAN)
        .rounds(1)
        .with(
            Contestant::ours(
                "stanchion Maglev",
                of(|numbers| ours::picks(ours::maglev(numbers))),
            )
            .must(Target::Reach(1.13)),
        )
        .with(Contestant::ours(
            "stanchion Ring",
            of(|numbers| ours::picks(ours::ring(numbers))),
        ))
        .with(Contestant::ours(
            "stanchion Anchor",
            of(|numbers| ours::picks(ours::anchor(numbers))),
        ))
        .with(Contestant::ours(
            "stanchion Jump",
            of(|numbers| ours::picks(ours::jump(numbers))),
        ))
        .with(Contestant::ours(
            "stanchion Rendezvous",
            of(|numbers| ours::picks(ours::rendezvous(numbers))),
        ))
        .with(Contestant::peer("maglev", of(peers::maglev)))
        .with(Contestant::peer(
            "hashring, 1 point",
            of(peers::hashring_one),
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
        .with(Contestant::peer("jump-consistent-hash", of(peers::jump)))
}

/// The share of the keys of other nodes that move, which none needs to. A jump table of ours refuses to
/// let a node go from its middle; the peer is told one bucket less, and keeps the nodes in their order.
fn moves() -> Case {
    fn needless(before: impl Fn(&Key) -> u32, after: impl Fn(&Key) -> u32) -> f64 {
        let owners = keys().map(|key| (before(&key), after(&key)));
        let others: Vec<_> = owners.filter(|(owner, _)| *owner != GONE).collect();
        let moved = others.iter().filter(|(owner, next)| owner != next);
        moved.count() as f64 * 100.0 / others.len() as f64
    }
    /// Of a table that answers with places.
    fn table<T: ConsistentHash>(build: impl Fn(&[u32]) -> T + 'static) -> Measure {
        figure(move || {
            let before = build(&numbers(false));
            let after = build(&numbers(true));
            needless(placed(before, false), placed(after, true))
        })
    }
    fn placed(table: impl ConsistentHash, gone: bool) -> impl Fn(&Key) -> u32 {
        let (pick, numbers) = (ours::picks(table), numbers(gone));
        move |key| numbers[pick(key)]
    }
    /// Of one that answers with nodes.
    fn of<P: Fn(&Key) -> usize>(build: impl Fn(&[u32]) -> P + 'static) -> Measure {
        figure(move || {
            let (before, after) = (build(&numbers(false)), build(&numbers(true)));
            needless(|key| named(before(key)), |key| named(after(key)))
        })
    }
    fn named(number: usize) -> u32 {
        u32::try_from(number).expect("few nodes")
    }
    Case::new("one of 1000 nodes goes", NEEDLESS)
        .rounds(1)
        .with(Contestant::ours("stanchion Maglev", table(ours::maglev)).must(Target::Reach(1.0)))
        .with(Contestant::ours("stanchion Ring", table(ours::ring)).must(Target::Zero))
        .with(Contestant::ours("stanchion Rendezvous", table(ours::rendezvous)).must(Target::Zero))
        .with(
            Contestant::ours(
                "stanchion Anchor",
                figure(|| {
                    let before = ours::anchor(&numbers(false));
                    let after = ours::anchor_after(&before, &numbers(true));
                    needless(placed(before, false), placed(after, true))
                }),
            )
            .must(Target::Zero),
        )
        .with(Contestant::peer("maglev", of(peers::maglev)))
        .with(Contestant::peer(
            "hashring, 160 points",
            of(peers::hashring),
        ))
        .with(Contestant::peer(
            "consistent_hash",
            of(peers::consistent_hash),
        ))
        .with(Contestant::peer("pingora-ketama", of(peers::ketama)))
        .with(Contestant::peer(
            "anchorhash",
            figure(|| {
                let before = peers::anchor_picks(peers::anchor_table(&numbers(false)));
                let mut after = peers::anchor_table(&numbers(false));
                after.remove_resource(&GONE).expect("it is there");
                let after = peers::anchor_picks(after);
                needless(|key| named(before(key)), |key| named(after(key)))
            }),
        ))
        .with(Contestant::peer(
            "jump-consistent-hash",
            figure(|| {
                let (all, left) = (numbers(false), numbers(true));
                let (before, after) = (peers::jump(&all), peers::jump(&left));
                needless(|key| all[before(key)], |key| left[after(key)])
            }),
        ))
}
