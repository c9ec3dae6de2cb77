//! Rendezvous hashing against all bids, sorted.

use proptest::prelude::*;
use stanchion_hashing::{ConsistentHash, Node, Rendezvous, key_hash};
use xxhash_rust::xxh3::xxh3_64;

use crate::nodes::{self, Named, hashes, some};

fn owners(named: &[Named], hash: u64) -> Vec<usize> {
    let mut bids = Vec::new();
    for (at, (id, weight)) in named.iter().enumerate() {
        let both = [hash.to_le_bytes(), xxh3_64(id.as_bytes()).to_le_bytes()].concat();
        let u = ((xxh3_64(&both) >> 12) as f64 + 0.5) / 2_f64.powi(52);
        bids.push((f64::from(*weight) / -u.ln(), at));
    }
    bids.retain(|(bid, _)| *bid > 0.0);
    bids.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    bids.into_iter().map(|(_, at)| at).collect()
}

proptest! {
    #[test]
    fn a_hash_belongs_to_the_highest_bid(
        named in some(prop_oneof![0_u32..4, any::<u32>()]), hashes in hashes(),
    ) {
        let table = Rendezvous::new(&nodes::of(&named)).unwrap();
        for hash in hashes {
            let expected = owners(&named, hash);
            prop_assert_eq!(table.owner(hash), expected[0]);
            prop_assert!(table.top::<1>(hash).eq(expected.iter().copied().take(1)));
            prop_assert!(table.top::<3>(hash).eq(expected.iter().copied().take(3)));
            prop_assert!(table.top::<20>(hash).eq(expected.iter().copied()));
            prop_assert_eq!(table.top::<0>(hash).len(), 0);
            prop_assert_eq!(table.owners(hash).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn placements_are_as_version_1_has_them() {
    let nodes = [
        Node::from("a"),
        Node::from("b").with_weight(2),
        Node::from("10.0.0.1:80"),
    ];
    let table = Rendezvous::new(&nodes).unwrap();
    let owners = |key: &str| table.owners(key_hash(key.as_bytes())).collect::<Vec<_>>();
    let keys = ["", "a", "user:1000", "user:1001", "user:1002", "日本"];
    let found = keys.map(owners);
    let expected = [
        [1, 0, 2],
        [0, 1, 2],
        [1, 2, 0],
        [0, 2, 1],
        [1, 0, 2],
        [2, 0, 1],
    ];
    assert_eq!(found, expected);
}

#[test]
fn shares_are_as_the_weights() {
    let nodes = [Node::from("a"), Node::from("b").with_weight(3)];
    let table = Rendezvous::new(&nodes).unwrap();
    let hashes = (0_u64..100_000).map(|key| key_hash(&key.to_le_bytes()));
    let heavy: usize = hashes.map(|hash| table.owner(hash)).sum();
    // Six standard deviations of chance are 822.
    assert!((75_000 - 822..=75_000 + 822).contains(&heavy), "{heavy}");
}
