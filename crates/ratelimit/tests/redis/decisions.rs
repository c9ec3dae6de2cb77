//! What is admitted, refused, looked at, given back and forgotten.

use std::net::{IpAddr, Ipv4Addr};

use stanchion_ratelimit::{FixedWindow, Outage, Reason, SlidingWindowCounter};

use super::*;

#[tokio::test]
async fn a_burst_is_admitted_and_the_next_is_told_when_to_come_back() {
    let Some(server) = redis() else { return };
    let limiter = limiter(&server, patient("3/h".parse::<Quota>().unwrap()));
    for left in [2, 1, 0] {
        let status = limiter.check("anna").await.unwrap().unwrap();
        assert_eq!((status.limit(), status.remaining()), (3, left));
    }
    let rejected = limiter.check("anna").await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Exceeded);
    let wait = rejected.retry_after().unwrap();
    // A third of an hour less what the calls took.
    assert!(wait <= HOUR / 3 && wait > HOUR / 3 - LIMIT, "{wait:?}");
    assert!(limiter.check("bela").await.is_ok());
    assert!(
        limiter
            .check(&IpAddr::from(Ipv4Addr::LOCALHOST))
            .await
            .is_ok()
    );

    let never = limiter.check_n("anna", 4).await.unwrap_err();
    assert_eq!(never.reason(), Reason::CostAboveBurst);
    assert_eq!(never.retry_after(), None);
    assert!(limiter.check_n("anna", 0).await.is_ok());
    let snapshot = limiter.snapshot();
    assert_eq!(
        (snapshot.calls, snapshot.rejected, snapshot.fell_back),
        (8, 2, 0)
    );
}

#[tokio::test]
async fn two_limiters_with_the_same_prefix_and_quota_share_and_others_do_not() {
    let Some(server) = redis() else { return };
    let one = limiter(&server, patient(burst(3)));
    let same = limiter(&server, patient(burst(3)));
    let other_quota = limiter(&server, patient(burst(4)));
    let other_prefix = RedisConfig::new("other", burst(3)).with_deadline(LIMIT);
    let other_prefix = limiter(&server, other_prefix);
    assert_eq!(admitted(&one, "anna", 2).await, 2);
    assert_eq!(admitted(&same, "anna", 2).await, 1);
    assert_eq!(admitted(&other_quota, "anna", 9).await, 4);
    assert_eq!(admitted(&other_prefix, "anna", 9).await, 3);
}

#[tokio::test]
async fn a_request_passes_all_limits_or_takes_from_none() {
    let Some(server) = redis() else { return };
    let config = patient(burst(5))
        .and("small", burst(2))
        .and("large", burst(9));
    let limiter = limiter(&server, config);
    let status = limiter.check_n("anna", 2).await.unwrap().unwrap();
    assert_eq!((status.limit(), status.remaining()), (2, 0));
    for _ in 0..3 {
        let rejected = limiter.check("anna").await.unwrap_err();
        assert_eq!(rejected.status().unwrap().limit(), 2);
    }
    let standings = limiter.peek("anna").await.unwrap();
    let left: Vec<_> = standings.iter().map(|status| status.remaining()).collect();
    assert_eq!(left, [3, 0, 7]);
}

#[tokio::test]
async fn a_limit_that_all_keys_share_is_decided_with_those_of_a_key() {
    let Some(server) = redis() else { return };
    let config = patient(burst(3)).in_one_slot().and_shared("all", burst(5));
    let limiter = limiter(&server, config);
    assert_eq!(admitted(&limiter, "anna", 9).await, 3);
    assert_eq!(admitted(&limiter, "bela", 9).await, 2);
    // Cleo's own limit has lost nothing to the one that refused her.
    assert!(!admits(&limiter, "cleo").await);
    assert_eq!(limiter.peek("cleo").await.unwrap()[0].remaining(), 3);
    // Forgetting a key leaves what all share.
    limiter.reset("anna").await.unwrap();
    let left: Vec<_> = limiter.peek("anna").await.unwrap();
    assert_eq!((left[0].remaining(), left[1].remaining()), (3, 0));
}

#[tokio::test]
async fn permits_are_given_back_up_to_the_burst_and_keys_forgotten() {
    let Some(server) = redis() else { return };
    let limiter = limiter(&server, patient(burst(4)));
    let left = async || limiter.peek("anna").await.unwrap()[0].remaining();
    assert_eq!(left().await, 4);
    assert!(limiter.check_n("anna", 3).await.is_ok());
    limiter.refund("anna", 2).await.unwrap();
    assert_eq!(left().await, 3);
    limiter.refund("anna", 99).await.unwrap();
    assert_eq!(left().await, 4);
    assert_eq!(server.ask("DBSIZE").unwrap(), "0");

    assert!(limiter.check_n("anna", 4).await.is_ok());
    assert_eq!(left().await, 0);
    limiter.reset("anna").await.unwrap();
    assert_eq!(left().await, 4);
}

/// Windows of 36 years, whose turn no test will see.
#[tokio::test]
async fn windows_are_counted_too() {
    let Some(server) = redis() else { return };
    let years = Duration::from_secs(36 * 365 * 86_400);
    let fixed = FixedWindow::new(5, years).unwrap();
    let counter = SlidingWindowCounter::new(7, years).unwrap();
    let limiter = limiter(&server, patient(fixed).and("counter", counter));
    assert!(limiter.check_n("anna", 2).await.is_ok());
    let standings = limiter.peek("anna").await.unwrap();
    let left: Vec<_> = standings.iter().map(|status| status.remaining()).collect();
    assert_eq!(left, [3, 5]);
    let rejected = limiter.check_n("anna", 4).await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Exceeded);
    let status = rejected.status().unwrap();
    assert_eq!(rejected.retry_after(), Some(status.reset_after()));
    assert!(rejected.retry_after().unwrap() < years);
    assert_eq!(admitted(&limiter, "anna", 9).await, 3);
    limiter.refund("anna", 1).await.unwrap();
    assert_eq!(admitted(&limiter, "anna", 9).await, 1);
}

/// No byte of a key reaches into the name's own parts.
#[tokio::test]
async fn any_bytes_are_a_key_of_their_own() {
    let Some(server) = redis() else { return };
    let limiter = limiter(&server, patient(burst(1)));
    let keys: Vec<Vec<u8>> = vec![
        vec![],
        b"}".to_vec(),
        b"{}".to_vec(),
        b"\r\n".to_vec(),
        vec![0],
        vec![0, 0],
        vec![0xff; 300],
        vec![0xfe; 300],
        b"a".repeat(1_000_000),
    ];
    for key in &keys {
        assert!(
            limiter.check(key).await.is_ok(),
            "{:?}",
            &key[..key.len().min(9)]
        );
    }
    for key in &keys {
        assert!(limiter.check(key).await.is_err());
    }
}

/// A server that lost its scripts says that it did not run one.
#[tokio::test]
async fn a_lost_script_is_brought_again() {
    let Some(mut server) = redis() else { return };
    let limiter = limiter(&server, patient(burst(3)).on_outage(Outage::Closed));
    assert!(admits(&limiter, "anna").await);
    assert_eq!(server.ask("SCRIPT FLUSH").unwrap(), "OK");
    assert!(admits(&limiter, "anna").await);
    server.restart();
    testkit::eventually_async(LIMIT, "the restarted server is asked", async || {
        limiter.peek("anna").await.is_ok()
    })
    .await;
    assert_eq!(limiter.peek("anna").await.unwrap()[0].remaining(), 1);
    assert_eq!(admitted(&limiter, "anna", 9).await, 1);
}

/// Foreign state under our name is an error of that key, and no outage.
#[tokio::test]
async fn an_error_of_one_key_is_no_outage_for_others() {
    let Some(server) = redis() else { return };
    let limiter = limiter(&server, patient(burst(3)).on_outage(Outage::Closed));
    let foreign = "RPUSH {test:anna}:1:gcra-1-3600000000-3 x";
    assert_eq!(server.ask(foreign).unwrap(), "1");
    for _ in 0..9 {
        let rejected = limiter.check("anna").await.unwrap_err();
        assert_eq!(rejected.reason(), Reason::Unavailable);
    }
    assert_eq!(admitted(&limiter, "bela", 9).await, 3);
    let snapshot = limiter.store().snapshot();
    assert!(snapshot.connected);
    assert_eq!((snapshot.failed, snapshot.not_asked), (9, 0));
}

/// In a bucket of Redis, which is of all instances.
#[cfg(feature = "tower")]
#[tokio::test]
async fn requests_without_a_key_can_share_one_bucket() {
    use stanchion_ratelimit::{AsyncRateLimitLayer, MissingKey};
    use tower::{Layer, ServiceExt, service_fn};

    let Some(server) = redis() else { return };
    let services = [1, 2].map(|_instance| {
        let named = |name: &&'static str| (!name.is_empty()).then(|| (*name).to_owned());
        AsyncRateLimitLayer::keyed(limiter(&server, patient(burst(2))), named)
            .on_missing_key(MissingKey::Share)
            .layer(service_fn(async |name: &'static str| {
                Ok::<_, std::convert::Infallible>(name)
            }))
    });
    let mut admitted = Vec::new();
    for request in ["", "", "", "anna"] {
        for service in &services {
            admitted.push(service.clone().oneshot(request).await.is_ok());
        }
    }
    assert_eq!(
        admitted,
        [true, true, false, false, false, false, true, true]
    );
}
