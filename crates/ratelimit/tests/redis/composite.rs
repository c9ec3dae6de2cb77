//! Several limits at once: who refused, and what is given back.

use stanchion_ratelimit::{Outage, Reason, RedisAdmitted, RedisLease, Refused};
use testkit::{eventually, eventually_async};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// As good as none after the burst; the bucket of `small` fills sooner.
fn two_limits() -> RedisConfig {
    let small = Quota::new(1, MINUTE).unwrap().with_burst(2).unwrap();
    patient(burst(4)).named("large").and("small", small)
}

async fn admit(limiter: &RedisRateLimiter, cost: u64) -> Result<RedisAdmitted, Refused> {
    limiter.admit("anna", cost).await
}

fn left(admitted: &RedisAdmitted) -> Vec<(&str, u64)> {
    let statuses = admitted.statuses();
    statuses
        .map(|(limit, status)| (limit, status.remaining()))
        .collect()
}

async fn peeked(limiter: &RedisRateLimiter) -> Vec<u64> {
    let statuses = limiter.peek("anna").await.unwrap();
    statuses.iter().map(|status| status.remaining()).collect()
}

#[tokio::test]
async fn a_refusal_names_the_limits_that_refused_and_the_longest_wait() {
    let Some(server) = redis() else { return };
    let limiter = limiter(&server, two_limits().remembering_refusals(10));
    let admitted = admit(&limiter, 2).await.unwrap();
    assert_eq!(left(&admitted), [("large", 2), ("small", 0)]);
    assert_eq!(admitted.status().unwrap().limit(), 2);
    // The second time it is remembered.
    for _ in 0..2 {
        let refused = admit(&limiter, 1).await.unwrap_err();
        assert!(refused.violated().eq(["small"]), "{refused}");
        assert_eq!(refused.limit(), "small");
        assert_eq!(refused.rejected().reason(), Reason::Exceeded);
        assert!(refused.retry_after().unwrap() <= MINUTE);
        assert_eq!(refused.to_string(), "refused by limit \"small\"");
    }
    assert_eq!(limiter.snapshot().remembered, 1);
    assert_eq!(peeked(&limiter).await, [2, 0]);

    // What no limit ever admits.
    let never = admit(&limiter, 3).await.unwrap_err();
    assert!(never.violated().eq(["small"]));
    assert_eq!(never.rejected().reason(), Reason::CostAboveBurst);
    assert_eq!(never.retry_after(), None);
}

#[tokio::test]
async fn a_refusal_by_two_limits_tells_of_the_one_that_takes_longer() {
    let Some(server) = redis() else { return };
    let day = Quota::new(1, 24 * HOUR).unwrap().with_burst(2).unwrap();
    let config = patient(burst(2)).and("day", day);
    let limiter = limiter(&server, config);
    admit(&limiter, 2).await.unwrap();
    let refused = admit(&limiter, 1).await.unwrap_err();
    assert!(refused.violated().eq(["default", "day"]));
    assert_eq!(refused.limit(), "day");
    assert!(refused.retry_after().unwrap() > 23 * HOUR);
}

#[tokio::test]
async fn what_redis_was_asked_for_is_given_back_there() {
    let Some(server) = redis() else { return };
    let limiter = limiter(&server, two_limits().remembering_refusals(10));
    let admitted = admit(&limiter, 2).await.unwrap();
    assert!(admit(&limiter, 1).await.is_err());
    admitted.give_back();
    eventually_async(LIMIT, "both limits have it back", async || {
        peeked(&limiter).await == [4, 2]
    })
    .await;
    assert_eq!(server.ask("DBSIZE").unwrap(), "0");
    // The refusal that was remembered is none any more.
    assert!(admit(&limiter, 2).await.is_ok());
}

#[tokio::test]
async fn what_a_lease_paid_goes_to_the_stock_and_what_has_no_room_there_to_redis() {
    let Some(server) = redis() else { return };
    let config = patient(burst(100)).and("more", burst(200));
    let (limiter, _time) = by_hand(&server, config.leased(RedisLease::new(10, HOUR)));
    let first = admit(&limiter, 1).await.unwrap();
    settled(&limiter, 10).await;
    let paid = admit(&limiter, 1).await.unwrap();
    assert_eq!(left(&paid), [("default", 89)]);
    paid.give_back();
    assert_eq!(limiter.snapshot().leased_permits, 10);
    // The stock is full.
    first.give_back();
    eventually_async(LIMIT, "redis has it back", async || {
        peeked(&limiter).await == [90, 190]
    })
    .await;
    assert_eq!(limiter.snapshot().leased_permits, 10);
}

#[tokio::test]
async fn one_limit_of_a_key_begins_anew_and_the_others_stay() {
    let Some(server) = redis() else { return };
    let config = two_limits().in_one_slot().and_shared("all", burst(9));
    let limiter = limiter(&server, config.remembering_refusals(10));
    admit(&limiter, 2).await.unwrap();
    assert!(admit(&limiter, 1).await.is_err());
    assert!(limiter.reset_limit("anna", "small").await.unwrap());
    assert_eq!(peeked(&limiter).await, [2, 2, 7]);
    // What was remembered of the refusal is forgotten, too.
    assert!(admit(&limiter, 1).await.is_ok());
    assert!(limiter.reset_limit("anna", "all").await.unwrap());
    assert_eq!(peeked(&limiter).await, [1, 1, 9]);
    assert!(!limiter.reset_limit("anna", "none").await.unwrap());
    assert!(limiter.config().limit_names().eq(["large", "small", "all"]));
}

async fn settled(limiter: &RedisRateLimiter, permits: u64) {
    eventually(LIMIT, "draws have ended", || {
        limiter.snapshot().leased_permits == permits
    })
    .await;
}

/// In an outage the shares are one decision, too, and a refund goes where it was taken.
#[tokio::test]
async fn shares_are_taken_from_all_or_none_and_given_back() {
    let servers = RedisServers::standalone("redis://127.0.0.1:1/").unwrap();
    let store = RedisStore::connect_on(servers, &Handle::current());
    let local = Outage::Local {
        instances: 2,
        max_keys: 100,
    };
    let config = two_limits().and("most", burst(20)).on_outage(local);
    let limiter = RedisRateLimiter::new(&store, config).unwrap();
    let admitted = admit(&limiter, 1).await.unwrap();
    assert_eq!(left(&admitted), [("large", 1), ("small", 0), ("most", 9)]);
    for _ in 0..5 {
        let refused = admit(&limiter, 1).await.unwrap_err();
        assert!(refused.violated().eq(["small"]), "{refused}");
        assert_eq!(refused.limit(), "small");
    }
    admitted.give_back();
    // The refusals had taken nothing, and all of it is there again.
    let admitted = admit(&limiter, 1).await.unwrap();
    assert_eq!(left(&admitted), [("large", 1), ("small", 0), ("most", 9)]);
}

#[tokio::test]
async fn where_nobody_counts_there_is_nothing_to_tell_or_to_give_back() {
    let servers = RedisServers::standalone("redis://127.0.0.1:1/").unwrap();
    let store = RedisStore::connect_on(servers, &Handle::current());
    let limiter = |outage| {
        let config = two_limits().on_outage(outage);
        RedisRateLimiter::new(&store, config).unwrap()
    };
    let admitted = admit(&limiter(Outage::Open), 1).await.unwrap();
    assert_eq!((left(&admitted), admitted.status()), (vec![], None));
    admitted.give_back();

    let refused = admit(&limiter(Outage::Closed), 1).await.unwrap_err();
    assert_eq!(refused.violated().count(), 0);
    assert_eq!(refused.limit(), "");
    let said = refused.to_string();
    assert!(said.starts_with("redis could not be asked"), "{said}");
}
