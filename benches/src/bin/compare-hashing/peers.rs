//! The peers, built alike: from numbers, a function from a key to a number.

use std::net::{Ipv4Addr, SocketAddr};

use anchorhash::{AnchorHash, Builder};
use consistent_hash::StaticHashRing;
use hashring::HashRing;
use hrw_hash::{HrwNode, HrwNodes};
use maglev::{ConsistentHasher, Maglev};
use pingora_ketama::{Bucket, Continuum};
use rendezvous_hash::{IdNode, RendezvousNodes};

use crate::hashes::{Key, Point, Xxh3};

const POINTS: u32 = 160;

fn one(node: u32) -> Point {
    Point { node, number: 0 }
}

fn points(numbers: &[u32]) -> Vec<Point> {
    let points = |&node: &u32| (0..POINTS).map(move |number| Point { node, number });
    numbers.iter().flat_map(points).collect()
}

/// As it comes: one point a node.
pub(crate) fn hashring_one(numbers: &[u32]) -> impl Fn(&Key) -> usize + use<> {
    let mut ring = HashRing::with_hasher(Xxh3);
    ring.batch_add(numbers.iter().copied().map(one).collect());
    move |key| ring.get(key).expect("there are nodes").node as usize
}

/// With points of one's own making, which it takes for nodes.
pub(crate) fn hashring(numbers: &[u32]) -> impl Fn(&Key) -> usize + use<> {
    let mut ring = HashRing::with_hasher(Xxh3);
    ring.batch_add(points(numbers));
    move |key| ring.get(key).expect("there are nodes").node as usize
}

/// As [`hashring`], with the hash that it has by itself.
pub(crate) fn hashring_sip(numbers: &[u32]) -> impl Fn(&Key) -> usize + use<> {
    let mut ring = HashRing::new();
    ring.batch_add(points(numbers));
    move |key| ring.get(key).expect("there are nodes").node as usize
}

pub(crate) fn consistent_hash(numbers: &[u32]) -> impl Fn(&Key) -> usize + use<> {
    let nodes = numbers.iter().copied().map(one);
    let nodes = nodes.map(|node| consistent_hash::Node::new(node).quantity(POINTS as usize));
    let ring = StaticHashRing::new(Xxh3, nodes);
    move |key| {
        let node = ring.calc_candidates(key).next();
        node.expect("there are nodes").key.node as usize
    }
}

pub(crate) fn ketama(numbers: &[u32]) -> impl Fn(&Key) -> usize + use<> {
    let numbers = numbers.to_vec();
    let bucket = |number: &u32| {
        let ip = Ipv4Addr::from_bits(0x0a00_0000 + number);
        Bucket::new(SocketAddr::from((ip, 80)), 1)
    };
    let ring = Continuum::new(&numbers.iter().map(bucket).collect::<Vec<_>>());
    move |key| match ring.node(&key.0).expect("there are nodes") {
        SocketAddr::V4(address) => (address.ip().to_bits() - 0x0a00_0000) as usize,
        SocketAddr::V6(_) => unreachable!("all are IPv4"),
    }
}

pub(crate) fn maglev(numbers: &[u32]) -> impl Fn(&Key) -> usize + use<> {
    let nodes = numbers.iter().copied().map(one);
    let table = Maglev::with_capacity_and_hasher(nodes, 65_537, Xxh3);
    move |key| table.get(key).expect("there are nodes").node as usize
}

pub(crate) type PeerAnchor = AnchorHash<Key, u32, Xxh3>;

pub(crate) fn anchor_table(numbers: &[u32]) -> PeerAnchor {
    let capacity = u16::try_from(2 * numbers.len()).expect("few nodes");
    let builder = Builder::with_hasher(Xxh3);
    builder
        .with_resources(numbers.iter().copied())
        .build(capacity)
}

pub(crate) fn anchor_picks(table: PeerAnchor) -> impl Fn(&Key) -> usize {
    move |key| *table.get_resource(*key).expect("there are nodes") as usize
}

pub(crate) fn anchor(numbers: &[u32]) -> impl Fn(&Key) -> usize + use<> {
    anchor_picks(anchor_table(numbers))
}

pub(crate) fn jump(numbers: &[u32]) -> impl Fn(&Key) -> usize + use<> {
    let nodes = numbers.len();
    move |key| {
        let hash = stanchion_hashing::key_hash(&key.0);
        jump_consistent_hash::hash(hash, nodes) as usize
    }
}

pub(crate) fn rendezvous(numbers: &[u32]) -> impl Fn(&Key) -> usize + use<> {
    let mut nodes = RendezvousNodes::new(Xxh3);
    for &number in numbers {
        nodes.insert(IdNode::new(one(number)));
    }
    move |key| {
        let node = nodes.calc_candidates(key).next();
        node.expect("there are nodes").node as usize
    }
}

impl HrwNode for Point {}

pub(crate) fn hrw(numbers: &[u32]) -> impl Fn(&Key) -> usize + use<> {
    let nodes = HrwNodes::with_build_hasher(Xxh3, numbers.iter().copied().map(one));
    move |key| nodes.sorted(key).next().expect("there are nodes").node as usize
}
