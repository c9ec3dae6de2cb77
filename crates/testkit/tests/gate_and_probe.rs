//! What the gate and the probe do on their own.

use std::convert::Infallible;
use std::task::{Context, Poll, Waker};

use testkit::{Gate, Probe};
use tokio::task::yield_now;
use tower::{Service, ServiceExt};

type Echo = Probe<u32, u32, Infallible>;

#[tokio::test]
async fn calls_pass_the_gate_one_at_a_time_in_order() {
    let gate = Gate::new();
    let service = gate.before(Echo::answering(Ok));
    let first = tokio::spawn(service.clone().oneshot(1));
    gate.until_waiting(1).await;
    let second = tokio::spawn(service.oneshot(2));
    gate.until_waiting(2).await;

    assert!(gate.open_one());
    assert_eq!(first.await.unwrap(), Ok(1));
    yield_now().await;
    assert!(!second.is_finished());
    assert_eq!(gate.waiting(), 1);
    assert!(gate.open_one());
    assert_eq!(second.await.unwrap(), Ok(2));
    assert!(!gate.open_one(), "nobody waits");
}

#[tokio::test]
async fn opening_for_all_leaves_the_gate_closed_for_who_comes_later() {
    let gate = Gate::new();
    let early = [gate.pass(), gate.pass()];
    assert_eq!(gate.open_all(), 2);
    let late = gate.pass();
    for pass in early {
        pass.await;
    }
    assert_eq!(gate.waiting(), 1);
    drop(late);
    assert_eq!(gate.waiting(), 0);
}

#[tokio::test]
async fn a_gate_that_stays_open_lets_all_pass_until_closed() {
    let gate = Gate::new();
    let early = gate.pass();
    gate.stay_open();
    early.await;
    gate.pass().await;
    gate.close();
    let held = gate.pass();
    assert_eq!(gate.waiting(), 1);
    drop(held);
}

#[tokio::test]
async fn a_probe_counts_and_records_for_all_its_clones() {
    let probe = Echo::replying(9).recording();
    assert_eq!(probe.clone().oneshot(1).await, Ok(9));
    assert_eq!(probe.clone().oneshot(2).await, Ok(9));
    assert_eq!(probe.calls(), 2);
    assert_eq!(probe.take_requests(), [1, 2]);
    assert!(probe.take_requests().is_empty());
}

#[test]
#[should_panic(expected = "keeps no requests")]
fn requests_of_a_probe_that_does_not_record_are_not_read_as_none() {
    let _ = Echo::replying(9).take_requests();
}

#[tokio::test]
async fn a_probe_answers_as_it_was_last_told() {
    let probe = Probe::<u32, u32, &str>::failing(|| "down");
    assert_eq!(probe.clone().oneshot(1).await, Err("down"));
    probe.answer_with(|request| Ok(request + 1));
    assert_eq!(probe.clone().oneshot(1).await, Ok(2));
    probe.fail_readiness(|| "gone");
    assert_eq!(probe.clone().oneshot(1).await, Err("gone"));
    assert_eq!(probe.calls(), 2);
}

#[tokio::test]
async fn every_clone_of_a_probe_that_waits_to_be_ready_is_woken() {
    let probe = Echo::answering(Ok);
    probe.not_ready();
    let calls = [1, 2].map(|request| tokio::spawn(probe.clone().oneshot(request)));
    yield_now().await;
    assert!(calls.iter().all(|call| !call.is_finished()));
    probe.ready();
    for (call, request) in calls.into_iter().zip([1, 2]) {
        assert_eq!(call.await.unwrap(), Ok(request));
    }
}

#[test]
fn a_probe_told_to_be_not_ready_stays_so_when_polled() {
    let mut probe = Echo::answering(Ok);
    probe.not_ready();
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(probe.poll_ready(&mut cx), Poll::Pending);
    assert_eq!(probe.poll_ready(&mut cx), Poll::Pending);
}
