//! Three real `redis-server` processes that share the slots.

use testkit::{RedisCluster, eventually_blocking};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

#[test]
fn each_key_has_one_holder_which_moves_with_its_slot_and_is_lost_with_its_node() {
    let Some(mut cluster) = RedisCluster::start() else {
        return;
    };
    assert_eq!(cluster.urls().len(), 3);
    let (holder, slot) = (cluster.holder_of("{a}1"), cluster.slot_of("{a}1"));
    assert_eq!(cluster.slot_of("{a}2"), slot);
    for key in ["{a}1", "{a}2"] {
        let set = cluster.nodes()[holder].ask(&format!("SET {key} value"));
        assert_eq!(set.unwrap(), "OK");
    }

    let to = (holder + 1) % 3;
    cluster.move_slot(&["{a}1", "{a}2"], to);
    assert_eq!(cluster.holder_of("{a}1"), to);
    assert_eq!(cluster.nodes()[to].ask("GET {a}2").unwrap(), "value");
    let moved = cluster.nodes()[holder].ask("GET {a}1").unwrap_err();
    assert!(moved.to_string().starts_with("MOVED"), "{moved}");

    cluster.nodes_mut()[to].kill();
    let set = cluster.nodes()[holder].ask("SET {b}1 value");
    assert!(set.is_ok() || set.unwrap_err().to_string().starts_with("MOVED"));
    cluster.nodes_mut()[to].restart();
    eventually_blocking(LIMIT, "the node is back with its slots", || {
        let value = cluster.nodes()[to].ask("GET {a}2");
        value.is_ok_and(|value| value == "value")
    });
}
