//! What cannot be is refused when a limiter is built.

use std::time::Duration;

use stanchion_ratelimit::{Outage, RedisLease};

use super::*;

#[tokio::test]
async fn what_cannot_be_is_refused_by_name() {
    let servers = RedisServers::standalone("redis://127.0.0.1:1/").unwrap();
    let store = RedisStore::connect_on(servers, &Handle::current());
    let one = || RedisConfig::new("test", burst(9));
    let many = (0..8).fold(one(), |config, index| {
        config.and(&index.to_string(), burst(9))
    });
    let local = |instances, max_keys| {
        one().on_outage(Outage::Local {
            instances,
            max_keys,
        })
    };
    let lease = |batch| one().leased(RedisLease::new(batch, Duration::from_secs(1)));
    let policy = |text: &str| text.parse::<Policy>().unwrap();
    let local_only = |text| RedisConfig::new("test", policy(text));
    let too_fine: Quota = "1000000007/s burst 99_999_999_999_999".parse().unwrap();
    for (config, field) in [
        (RedisConfig::new("", burst(9)), "prefix"),
        (RedisConfig::new("a{b", burst(9)), "prefix"),
        (many, "limits"),
        (one().and("default", burst(9)), "name"),
        (one().named("a\"b"), "name"),
        (one().and("", burst(9)), "name"),
        (one().and_shared("all", burst(9)), "limit"),
        (one().with_deadline(Duration::ZERO), "deadline"),
        (one().with_deadline(Duration::MAX), "deadline"),
        (one().remembering_refusals(0), "refusals"),
        (lease(0), "batch"),
        (lease(10), "batch"),
        (
            one().leased(RedisLease::new(1, LIMIT).drawing_ahead(0)),
            "ahead",
        ),
        (
            one().leased(RedisLease::new(5, LIMIT).drawing_ahead(2)),
            "ahead",
        ),
        (one().leased(RedisLease::new(1, Duration::ZERO)), "ttl"),
        (
            one().leased(RedisLease::new(1, LIMIT).with_max_keys(0)),
            "max_keys",
        ),
        (local(0, 9), "instances"),
        (local(u32::MAX, 9), "instances"),
        (local(1, 0), "max_keys"),
        (RedisConfig::new("test", too_fine), "policy"),
        // These keep their state in one process.
        (local_only("leaky-bucket 1/s queue 5"), "policy"),
        (local_only("sliding-window-log 5/s"), "policy"),
        (local_only("strict-window 5/s"), "policy"),
        (one().and("more", policy("strict-window 5/s")), "policy"),
    ] {
        let error = RedisRateLimiter::new(&store, config).unwrap_err();
        assert_eq!(error.field(), field, "{error}");
        assert!(error.to_string().starts_with(field), "{error}");
    }
}

/// In a cluster they would lie on different nodes, which cannot decide in one step.
#[tokio::test]
async fn a_composite_without_a_common_hash_tag_is_refused() {
    let servers = RedisServers::standalone("redis://127.0.0.1:1/").unwrap();
    let store = RedisStore::connect_on(servers, &Handle::current());
    let apart = RedisConfig::new("test", burst(9)).and_shared("all", burst(99));
    let error = RedisRateLimiter::new(&store, apart.clone()).unwrap_err();
    assert!(error.to_string().contains("hash tag"), "{error}");
    assert!(RedisRateLimiter::new(&store, apart.in_one_slot()).is_ok());
}
