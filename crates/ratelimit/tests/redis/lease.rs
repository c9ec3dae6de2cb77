//! Permits drawn in batches.

use stanchion_ratelimit::{Outage, Reason, RedisLease};
use testkit::eventually;

use super::*;

const TTL: Duration = Duration::from_secs(1);

fn leased(quota: Quota, batch: u64) -> RedisConfig {
    let config = patient(quota).on_outage(Outage::Closed);
    config.leased(RedisLease::new(batch, TTL))
}

/// What Redis holds to be left, this process's leases taken off.
async fn left(limiter: &RedisRateLimiter) -> u64 {
    limiter.peek("anna").await.unwrap()[0].remaining()
}

/// No draw is under way any more.
async fn settled(limiter: &RedisRateLimiter, draws: u64, permits: u64) {
    eventually(LIMIT, "draws have ended", || {
        let snapshot = limiter.snapshot();
        (snapshot.draws, snapshot.leased_permits) == (draws, permits)
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_spent_here_and_the_next_drawn_before_it_is_gone() {
    let Some(server) = redis() else { return };
    let (limiter, _time) = by_hand(&server, leased(burst(100), 10));
    assert!(admits(&limiter, "anna").await);
    settled(&limiter, 1, 10).await;
    assert_eq!(left(&limiter).await, 89);
    for _ in 0..4 {
        assert!(admits(&limiter, "anna").await);
    }
    settled(&limiter, 1, 6).await;
    // At half a batch the rest of one is drawn, so that at most a batch is held.
    assert!(admits(&limiter, "anna").await);
    settled(&limiter, 2, 10).await;
    assert_eq!(left(&limiter).await, 84);
    assert_eq!(limiter.store().snapshot().asked, 4);
}

/// Everything is admitted in the end, and nothing twice.
#[tokio::test]
async fn all_permits_are_spent_whole_batches_or_not() {
    let Some(server) = redis() else { return };
    let limiter = limiter(&server, leased(burst(25), 10));
    assert_eq!(admitted(&limiter, "anna", 40).await, 25);
    assert_eq!(left(&limiter).await, 0);
    let rejected = limiter.check("anna").await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Exceeded);
    assert!(rejected.retry_after().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_share_one_draw() {
    let Some(server) = redis() else { return };
    let limiter = limiter(&server, leased(burst(640), 64));
    let calls: Vec<_> = (0..64)
        .map(|_| tokio::spawn(limiter.check("anna")))
        .collect();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    // One for all, and one ahead when half was spent; each 64 calls begin one.
    let snapshot = limiter.snapshot();
    assert!(snapshot.draws <= 3, "{snapshot:?}");
}

/// The server stands still until all have come, so their order is certain.
#[tokio::test]
async fn those_who_wait_are_served_in_their_order() {
    let Some(server) = redis() else { return };
    let (limiter, _time) = by_hand(&server, leased(burst(3), 2));
    assert_eq!(limiter.peek("anna").await.unwrap().len(), 1);
    server.freeze();
    let calls: Vec<_> = (0..5).map(|_| limiter.check("anna")).collect();
    server.thaw();
    let mut admitted = Vec::new();
    for call in calls {
        admitted.push(call.await.is_ok());
    }
    assert_eq!(admitted, [true, true, true, false, false]);
}

#[tokio::test]
async fn costs_are_paid_whole_and_above_a_batch_too() {
    let Some(server) = redis() else { return };
    let (limiter, _time) = by_hand(&server, leased(burst(50), 10));
    assert!(limiter.check_n("anna", 7).await.is_ok());
    assert!(limiter.check_n("anna", 35).await.is_ok());
    let left = 50 - 42;
    eventually(LIMIT, "draws have ended", || {
        limiter.snapshot().leased_permits <= left
    })
    .await;
    let rejected = limiter.check_n("anna", left + 1).await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Exceeded);
    assert!(limiter.check_n("anna", left).await.is_ok());
    assert!(!admits(&limiter, "anna").await);
}

#[tokio::test]
async fn what_is_not_spent_in_time_lapses() {
    let Some(server) = redis() else { return };
    let (limiter, time) = by_hand(&server, leased(burst(100), 10));
    assert!(admits(&limiter, "anna").await);
    settled(&limiter, 1, 10).await;
    time.advance(TTL - Duration::from_nanos(1));
    assert!(admits(&limiter, "anna").await);
    settled(&limiter, 1, 9).await;
    time.advance(Duration::from_nanos(1));
    assert_eq!(limiter.snapshot().leased_permits, 0);
    assert!(admits(&limiter, "anna").await);
    settled(&limiter, 2, 10).await;
    assert_eq!(left(&limiter).await, 78);
}

/// What is held is bounded: who finds no room asks Redis.
#[tokio::test]
async fn keys_without_room_ask_each_time_until_others_lapse() {
    let Some(server) = redis() else { return };
    let config = patient(burst(100)).leased(RedisLease::new(10, TTL).with_max_keys(1));
    let (limiter, time) = by_hand(&server, config);
    assert!(admits(&limiter, "anna").await);
    settled(&limiter, 1, 10).await;
    for _ in 0..3 {
        assert!(admits(&limiter, "bela").await);
    }
    settled(&limiter, 1, 10).await;
    assert_eq!(limiter.peek("bela").await.unwrap()[0].remaining(), 97);
    time.advance(TTL);
    assert!(admits(&limiter, "bela").await);
    settled(&limiter, 2, 10).await;
    assert_eq!(limiter.snapshot().leased_keys, 1);
}

#[tokio::test]
async fn to_forget_a_key_lets_go_of_its_lease() {
    let Some(server) = redis() else { return };
    let (limiter, _time) = by_hand(&server, leased(burst(20), 10));
    assert!(admits(&limiter, "anna").await);
    settled(&limiter, 1, 10).await;
    limiter.reset("anna").await.unwrap();
    assert_eq!(limiter.snapshot().leased_permits, 0);
    assert_eq!(left(&limiter).await, 20);
}
