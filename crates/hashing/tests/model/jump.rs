//! Jump tables that grow and shrink at their end.

use proptest::prelude::*;
use stanchion_hashing::{ConsistentHash, Jump, Node, key_hash};

use crate::nodes::hashes;

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("shard-{n}")).collect()
}

proptest! {
    #[test]
    fn keys_move_only_to_those_that_join(fewer in 1_usize..40, more in 0_usize..40, hashes in hashes()) {
        let ids = ids(fewer + more);
        let all: Vec<Node<'_>> = ids.iter().map(Node::new).collect();
        let small = Jump::new(&all[..fewer]).unwrap();
        let large = small.updated(&all).unwrap();
        let again = large.updated(&all[..fewer]).unwrap();
        prop_assert_eq!(again.history(), small.history());
        for hash in hashes {
            let (was, is) = (small.owner(hash), large.owner(hash));
            prop_assert!(is == was || is >= fewer);
            prop_assert_eq!(again.owner(hash), was);
            // As long as they are within a power of two, so are all others.
            if (fewer + more).next_power_of_two() == fewer.next_power_of_two() && is == was {
                let among = large.owners(hash).filter(|owner| *owner < fewer);
                prop_assert!(among.eq(small.owners(hash)));
            }
        }
    }
}

#[test]
fn who_is_not_the_last_cannot_leave() {
    let nodes = ["a", "b", "c"].map(Node::from);
    let table = Jump::new(&nodes).unwrap();
    let ids: Vec<&[u8]> = table.history().ids().collect();
    assert_eq!(ids, [b"a", b"b", b"c"]);
    assert!(table.updated(&nodes[..1]).is_ok());
    assert_eq!(
        table.updated(&nodes[1..]).unwrap_err().to_string(),
        "the node at 0 is \"b\", must be \"a\": only at the end may nodes come and go"
    );
    assert_eq!(
        table.updated(&[]).unwrap_err().to_string(),
        "there are 0 nodes, must be at least 1"
    );
    let weightless = nodes.map(|node| node.with_weight(0));
    assert_eq!(
        table.updated(&weightless).unwrap_err().to_string(),
        "all weights are 0, one must be at least 1"
    );
    assert_eq!(
        table
            .updated(&[weightless[0], nodes[1]])
            .unwrap_err()
            .to_string(),
        "the weight of the node at 0 is 0, must be 1 as in all: this table knows no weights"
    );
    assert!(Jump::resume(table.history(), &nodes).is_ok());
}

#[test]
fn placements_are_as_version_1_has_them() {
    let nodes = ["a", "b", "10.0.0.1:80"].map(Node::from);
    let table = Jump::new(&nodes).unwrap();
    let owners = |key: &str| table.owners(key_hash(key.as_bytes())).collect::<Vec<_>>();
    let keys = ["", "a", "user:1000", "user:1001", "user:1002", "日本"];
    let found = keys.map(owners);
    let expected = [
        [0, 1, 2],
        [1, 0, 2],
        [2, 0, 1],
        [2, 1, 0],
        [0, 2, 1],
        [1, 0, 2],
    ];
    assert_eq!(found, expected);
}
