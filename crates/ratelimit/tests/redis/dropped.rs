//! Futures that are dropped before they are done.

use stanchion_ratelimit::{Outage, RedisLease};
use testkit::{drop_at_every_await, eventually, eventually_async};

use super::*;

/// A runtime to be run from outside a future, which the driver of drops polls itself.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Lets the runtime's own tasks go on.
fn turn(runtime: &tokio::runtime::Runtime) {
    runtime.block_on(tokio::time::sleep(Duration::from_millis(1)));
}

#[test]
fn a_call_dropped_anywhere_leaves_the_limiter_as_good_as_before() {
    let Some(server) = redis() else { return };
    let runtime = runtime();
    let _entered = runtime.enter();
    let (limiter, _time) = by_hand(&server, patient(burst(1_000)));
    assert!(runtime.block_on(limiter.check("anna")).is_ok());
    let drops = drop_at_every_await(|| limiter.check("anna"))
        .nudge(|()| turn(&runtime))
        .check(|()| {
            assert!(runtime.block_on(limiter.check("bela")).is_ok());
            assert!(limiter.store().snapshot().connected);
        });
    assert_eq!(drops, 3);
    let left = runtime.block_on(limiter.peek("anna")).unwrap()[0].remaining();
    // What was polled may have been taken; what was not has not.
    assert!((996..=998).contains(&left), "{left}");
}

#[test]
fn a_batch_is_not_lost_with_the_call_that_began_to_draw_it() {
    let Some(server) = redis() else { return };
    let runtime = runtime();
    let _entered = runtime.enter();
    let config = patient(burst(1_000)).leased(RedisLease::new(10, LIMIT));
    let (limiter, _time) = by_hand(&server, config);
    assert!(runtime.block_on(limiter.check("warm")).is_ok());
    let keys = std::cell::Cell::new(0_u32);
    let drops = drop_at_every_await(|| {
        keys.set(keys.get() + 1);
        limiter.check(&keys.get())
    })
    .nudge(|()| turn(&runtime))
    .check(|()| {
        let key = keys.get();
        let permits = u64::from(key) * 10 + 10;
        runtime.block_on(eventually(LIMIT, "the batch is there", || {
            limiter.snapshot().leased_permits == permits
        }));
        let left = runtime.block_on(limiter.peek(&key)).unwrap()[0].remaining();
        assert_eq!(left, 989);
    });
    assert_eq!(drops, 3);
}

/// A call waits for the first connection; dropping it then leaves nothing, and no server is needed.
#[tokio::test]
async fn a_call_dropped_while_the_store_connects_holds_nothing() {
    let Some(server) = redis() else { return };
    server.freeze();
    let (limiter, _time) = by_hand(&server, patient(burst(3)).on_outage(Outage::Closed));
    let call = limiter.check("anna");
    let polled = tokio::select! {
        biased;
        _ = call => true,
        () = std::future::ready(()) => false,
    };
    assert!(!polled);
    server.thaw();
    eventually(LIMIT, "the connection is there", || {
        limiter.store().snapshot().connected
    })
    .await;
    assert_eq!(limiter.store().snapshot().asked, 0);
    assert_eq!(admitted(&limiter, "anna", 9).await, 3);
}

/// With the last handle the task ends, and the connection is closed.
#[tokio::test]
async fn the_connection_is_closed_with_the_last_handle() {
    let Some(server) = redis() else { return };
    let first = limiter(&server, patient(burst(3)));
    let clients = || server.ask("INFO clients").unwrap();
    assert!(admits(&first, "anna").await);
    assert!(
        clients().contains("connected_clients:2\r\n"),
        "{}",
        clients()
    );
    let second = RedisRateLimiter::new(first.store(), patient(burst(4))).unwrap();
    drop(first);
    assert!(admits(&second, "anna").await);
    drop(second);
    eventually_async(LIMIT, "our connection is gone", async || {
        clients().contains("connected_clients:1\r\n")
    })
    .await;
}
