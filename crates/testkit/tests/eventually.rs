//! Waiting ends when the condition holds, or with a panic that says what was waited for.

use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use testkit::{eventually, eventually_async, eventually_blocking};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(30);

#[test]
fn the_blocking_form_waits_for_another_thread() {
    let (sender, receiver) = sync_channel(0);
    let other = thread::spawn(move || sender.send(()));
    eventually_blocking(LONG, "the other thread sends", || {
        receiver.try_recv().is_ok()
    });
    other.join().unwrap().unwrap();
}

#[tokio::test]
async fn the_condition_is_looked_at_until_it_holds() {
    let looks = AtomicU32::new(0);
    eventually(LONG, "the fifth look", || {
        looks.fetch_add(1, Ordering::Relaxed) == 4
    })
    .await;
    assert_eq!(looks.into_inner(), 5);
}

#[tokio::test]
async fn other_tasks_run_while_it_waits() {
    let (sender, mut receiver) = tokio::sync::oneshot::channel();
    tokio::spawn(async move { sender.send(7) });
    eventually(LONG, "the other task sends", || {
        receiver.try_recv() == Ok(7)
    })
    .await;
}

#[tokio::test]
async fn an_asynchronous_condition_is_awaited() {
    let mut looks = 0;
    eventually_async(LONG, "the third look", async || {
        tokio::task::yield_now().await;
        looks += 1;
        looks == 3
    })
    .await;
    assert_eq!(looks, 3);
}

#[tokio::test]
#[should_panic(expected = "not within 30ms: a look that hangs ends (waited for at")]
async fn a_look_that_hangs_ends_with_the_limit() {
    eventually_async(SHORT, "a look that hangs ends", pending).await;
}

#[tokio::test]
#[should_panic(expected = "not within 30ms: pigs fly (waited for at crates/testkit/tests/")]
async fn the_limit_says_what_was_waited_for_and_where() {
    eventually(SHORT, "pigs fly", || false).await;
}

#[test]
#[should_panic(expected = "not within 30ms: pigs fly (waited for at crates/testkit/tests/")]
fn the_blocking_form_says_so_too() {
    eventually_blocking(SHORT, "pigs fly", || false);
}
