//! Histories that are written and read: what comes back is the same, or is refused by name.
#![cfg(feature = "serde")]

use proptest::prelude::*;
use stanchion_hashing::{Anchor, AnchorHistory, ConsistentHash, Jump, JumpHistory, Node};

#[test]
fn histories_are_short_text() {
    let nodes = ["a", "b", "日本"].map(Node::from);
    let table = Anchor::new(&nodes, 5)
        .unwrap()
        .updated(&nodes[1..])
        .unwrap();
    assert_eq!(
        serde_json::to_string(table.history()).unwrap(),
        r#"{"hash_version":1,"ids":[null,"b","日本",null,null],"emptied":[4,3,0]}"#
    );
    let table = Jump::new(&[Node::from("a"), Node::new(&[0xff_u8, 0])]).unwrap();
    assert_eq!(
        serde_json::to_string(table.history()).unwrap(),
        r#"{"hash_version":1,"ids":["a",[255,0]]}"#
    );
}

proptest! {
    #[test]
    fn a_process_goes_on_where_another_was(
        sets in prop::collection::vec(prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..3), 1..8), 1..5),
        hashes in prop::collection::vec(any::<u64>(), 20),
    ) {
        let nodes = |at: usize| sets[at].iter().map(Node::new).collect::<Vec<_>>();
        let mut table = Anchor::new(&nodes(0), 8).unwrap();
        for set in 1..sets.len() {
            let written = serde_json::to_string(table.history()).unwrap();
            let history: AnchorHistory = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(&history, table.history());
            let resumed = Anchor::resume(&history, &nodes(set)).unwrap();
            table = table.updated(&nodes(set)).unwrap();
            for &hash in &hashes {
                prop_assert!(resumed.owners(hash).eq(table.owners(hash)));
            }
        }
        let jump = Jump::new(&nodes(0)).unwrap();
        let written = serde_json::to_string(jump.history()).unwrap();
        let history: JumpHistory = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(&history, jump.history());
    }
}

#[test]
fn what_is_no_history_is_refused_by_name() {
    let anchor = |text: &str| {
        let error = serde_json::from_str::<AnchorHistory>(text).unwrap_err();
        error.to_string()
    };
    for (text, message) in [
        (
            r#"{"hash_version":2,"ids":["a"],"emptied":[]}"#,
            "hash_version is 2, must be 1",
        ),
        (
            r#"{"hash_version":1,"ids":[],"emptied":[]}"#,
            "ids has 0 entries, must have 1 to 1048576",
        ),
        (
            r#"{"hash_version":1,"ids":[null],"emptied":[0]}"#,
            "ids has no node, must have at least 1",
        ),
        (
            r#"{"hash_version":1,"ids":["a",null,"b",[97]],"emptied":[1]}"#,
            "ids has \"a\" as node 0 and as node 2, must have each once",
        ),
        (
            r#"{"hash_version":1,"ids":["a",null],"emptied":[0]}"#,
            "emptied has 0, must have each bucket once that has no id",
        ),
        (
            r#"{"hash_version":1,"ids":["a",null],"emptied":[2]}"#,
            "emptied has 2, must have each bucket once that has no id",
        ),
        (
            r#"{"hash_version":1,"ids":["a",null,null],"emptied":[1,1]}"#,
            "emptied has 1, must have each bucket once that has no id",
        ),
        (
            r#"{"hash_version":1,"ids":["a",null,null],"emptied":[1]}"#,
            "emptied has 1 buckets, must have the 2 that have no id",
        ),
        (
            r#"{"hash_version":1,"ids":["a"]}"#,
            "missing field `emptied` at line 1 column 30",
        ),
        (
            r#"{"hash_version":1,"ids":[7],"emptied":[]}"#,
            "invalid type: integer `7`, expected the id of a node, as text or bytes at line 1 column 26",
        ),
    ] {
        assert_eq!(anchor(text), message, "{text}");
    }
    let twice = r#"{"hash_version":1,"ids":["a","a"]}"#;
    let error = serde_json::from_str::<JumpHistory>(twice).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ids has \"a\" as node 0 and as node 1, must have each once"
    );
}
