//! Refusals that are remembered instead of asked for again.

use stanchion_ratelimit::Reason;

use super::*;

#[tokio::test]
async fn a_key_that_was_refused_asks_no_more_until_its_moment() {
    let Some(server) = redis() else { return };
    let config = patient(burst(2)).remembering_refusals(100);
    let (limiter, time) = by_hand(&server, config);
    assert_eq!(admitted(&limiter, "anna", 2).await, 2);
    let first = limiter.check("anna").await.unwrap_err();
    let asked = limiter.store().snapshot().asked;
    time.advance(Duration::from_millis(400));
    let second = limiter.check("anna").await.unwrap_err();
    assert_eq!(second.reason(), Reason::Exceeded);
    let sooner = first.retry_after().unwrap() - second.retry_after().unwrap();
    assert_eq!(sooner, Duration::from_millis(400));
    assert_eq!(admitted(&limiter, "anna", 50).await, 0);
    assert_eq!(limiter.store().snapshot().asked, asked);
    assert_eq!(limiter.snapshot().remembered, 51);
    // Another key is asked for, and this one again after a second.
    assert!(admits(&limiter, "bela").await);
    time.advance(Duration::from_millis(600));
    assert!(!admits(&limiter, "anna").await);
    assert_eq!(limiter.store().snapshot().asked, asked + 2);
}

#[tokio::test]
async fn what_this_instance_gives_back_or_resets_shows_at_once() {
    let Some(server) = redis() else { return };
    let config = patient(burst(2)).remembering_refusals(100);
    let (limiter, _time) = by_hand(&server, config);
    assert_eq!(admitted(&limiter, "anna", 3).await, 2);
    limiter.refund("anna", 1).await.unwrap();
    assert_eq!(admitted(&limiter, "anna", 3).await, 1);
    limiter.reset("anna").await.unwrap();
    assert_eq!(admitted(&limiter, "anna", 3).await, 2);
}
