//! A cluster of three: keys spread, slots move, and one node dies alone.

use stanchion_ratelimit::{Outage, Reason};
use testkit::{RedisCluster, eventually_async};

use super::*;

fn over(cluster: &RedisCluster, config: RedisConfig) -> RedisRateLimiter {
    let urls = cluster.urls();
    let servers = RedisServers::cluster(urls.iter().map(String::as_str)).unwrap();
    let store = RedisStore::connect_on(servers, &Handle::current());
    RedisRateLimiter::new(&store, config).unwrap()
}

fn keys() -> Vec<String> {
    (0..30).map(|key| format!("key-{key}")).collect()
}

/// The names in Redis of the limits of `key`, which lie in one slot.
fn names(key: &str, bursts: &[u64]) -> Vec<String> {
    let name = |burst: &u64| format!("{{test:{key}}}:1:gcra-1-3600000000-{burst}");
    bursts.iter().map(name).collect()
}

#[tokio::test]
async fn keys_spread_over_the_nodes_and_are_found_after_their_slots_moved() {
    let Some(cluster) = RedisCluster::start() else {
        return;
    };
    let config = patient(burst(4))
        .and("more", burst(6))
        .on_outage(Outage::Closed);
    let limiter = over(&cluster, config);
    // A new cluster may still be settling who has which slots.
    for key in keys() {
        eventually_async(LIMIT, "the cluster answers for all keys", async || {
            limiter.peek(&key).await.is_ok()
        })
        .await;
    }
    for key in keys() {
        assert_eq!(admitted(&limiter, &key, 3).await, 3);
    }
    let holders: Vec<_> = keys()
        .iter()
        .map(|key| cluster.holder_of(&names(key, &[4])[0]))
        .collect();
    for node in 0..3 {
        assert!(holders.contains(&node), "{holders:?}");
        assert_ne!(cluster.nodes()[node].ask("DBSIZE").unwrap(), "0");
    }

    // Moved: the holder sends us to another, which has its state.
    for key in &keys()[..3] {
        let names = names(key, &[4, 6]);
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let to = (cluster.holder_of(names[0]) + 1) % 3;
        cluster.move_slot(&names, to);
        assert_eq!(admitted(&limiter, key, 3).await, 1);
        let left = limiter.peek(key).await.unwrap();
        assert_eq!((left[0].remaining(), left[1].remaining()), (0, 2));
    }

    // On its way: a key that the holder has not is asked for at the other node.
    let single = RedisRateLimiter::new(limiter.store(), patient(burst(4))).unwrap();
    let name = &names("on%20its%20way", &[4])[0];
    cluster.begin_move(name, (cluster.holder_of(name) + 1) % 3);
    assert_eq!(admitted(&single, "on its way", 9).await, 4);
    let fell_back = single.snapshot().fell_back + limiter.snapshot().fell_back;
    assert_eq!(fell_back, 0);
    assert_eq!(limiter.store().snapshot().connections, 1);

    limiter.reset(&keys()[0]).await.unwrap();
    assert_eq!(admitted(&limiter, &keys()[0], 9).await, 4);
}

#[tokio::test]
async fn a_node_that_dies_takes_only_its_keys_with_it() {
    let Some(mut cluster) = RedisCluster::start() else {
        return;
    };
    let config = patient(burst(1_000)).with_deadline(Duration::from_millis(500));
    let limiter = over(&cluster, config.on_outage(Outage::Closed));
    eventually_async(LIMIT, "the cluster is connected", async || {
        limiter.peek("any").await.is_ok()
    })
    .await;
    let holder = |key: &String| cluster.holder_of(&names(key, &[1_000])[0]);
    let (lost, kept): (Vec<_>, Vec<_>) = keys().into_iter().partition(|key| holder(key) == 0);
    cluster.nodes_mut()[0].kill();

    eventually_async(LIMIT, "its keys are not asked for any more", async || {
        let before = limiter.store().snapshot().not_asked;
        for key in &lost {
            let result = limiter.check(key).await;
            assert_eq!(result.unwrap_err().reason(), Reason::Unavailable);
        }
        limiter.store().snapshot().not_asked > before
    })
    .await;
    eventually_async(LIMIT, "the others answer", async || {
        let mut all = true;
        for key in &kept {
            all &= admits(&limiter, key).await;
        }
        all
    })
    .await;

    cluster.nodes_mut()[0].restart();
    eventually_async(LIMIT, "its keys are back", async || {
        let mut all = true;
        for key in &lost {
            all &= admits(&limiter, key).await;
        }
        all
    })
    .await;
}
