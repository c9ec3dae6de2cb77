//! What becomes due by time alone, done by the future.

#![cfg(feature = "tokio")]

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stanchion_core::Outcome;
use stanchion_lb::{Config, FailurePercentage, Outliers, PickContext};
use testkit::drop_at_every_await_in;

use super::heard::Heard;

fn poll(upkeep: &mut Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
    upkeep
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// Four that succeed nine times in ten, and one that fails nine times in ten.
fn interval(heard: &Heard, worst: u32) {
    for place in 0..5 {
        let good = if place == worst { 1 } else { 9 };
        for _ in 0..10 {
            heard.calls(place, Outcome::Failure, 10 - good);
            heard.calls(place, Outcome::Success, good);
        }
    }
}

fn by_interval() -> Outliers {
    Outliers::default().without_consecutive()
}

#[test]
fn the_worst_of_five_is_out_after_the_interval() {
    let heard = Heard::new(by_interval(), 5);
    let mut upkeep = pin!(heard.balancer.upkeep());
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    interval(&heard, 3);
    heard.pass(9);
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    assert_eq!(heard.told(), [""; 0]);
    heard.pass(1);
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    assert_eq!(
        heard.told(),
        ["3: out for 30s, 1", "3: unknown to ejected, Eject"]
    );
    // While it is driven, picks leave it to do what is due.
    heard.pass(30);
    let _ = heard.balancer.pick(&PickContext::new());
    assert!(heard.is_out(3));
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    assert!(!heard.is_out(3));
}

#[test]
fn an_interval_with_too_few_calls_takes_nobody_out() {
    let heard = Heard::new(by_interval(), 5);
    let mut upkeep = pin!(heard.balancer.upkeep());
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    for place in 0..5 {
        heard.calls(place, Outcome::Success, 60);
    }
    heard.pass(10);
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    // The counts began anew: these alone are too few again.
    for place in 0..5 {
        let outcome = [Outcome::Success, Outcome::Failure][usize::from(place == 2)];
        heard.calls(place, outcome, 60);
    }
    heard.pass(10);
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    assert_eq!(heard.told(), [""; 0]);
}

#[test]
fn what_was_counted_before_anybody_looked_does_not_count() {
    let heard = Heard::new(by_interval(), 5);
    interval(&heard, 0);
    heard.pass(60);
    let mut upkeep = pin!(heard.balancer.upkeep());
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    heard.pass(10);
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    assert_eq!(heard.told(), [""; 0]);
}

#[test]
fn a_failure_percentage_is_heeded_from_the_moment_it_is_configured() {
    let heard = Heard::new(by_interval().without_success_rate(), 5);
    let mut upkeep = pin!(heard.balancer.upkeep());
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    let rule = FailurePercentage::default().with_percent(90).unwrap();
    let outliers = by_interval().with_failure_percentage(rule);
    let config = Config::default().with_outliers(outliers.without_success_rate());
    heard.balancer.set_config(config);
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    interval(&heard, 1);
    heard.pass(10);
    assert_eq!(poll(&mut upkeep), Poll::Pending);
    assert_eq!(heard.told()[0], "1: out for 30s, 1");
}

#[test]
fn it_ends_with_the_last_handle_and_can_be_dropped_anywhere() {
    let drops = drop_at_every_await_in(|| {
        let heard = Heard::new(Outliers::default(), 2);
        heard.calls(0, Outcome::Failure, 5);
        let upkeep = heard.balancer.upkeep();
        (std::cell::RefCell::new((Some(heard), 0)), upkeep)
    })
    .nudge(|world| {
        let (heard, nudges) = &mut *world.borrow_mut();
        *nudges += 1;
        if let Some(heard) = heard.as_ref().filter(|_| *nudges < 40) {
            heard.pass(1);
        } else {
            *heard = None;
        }
    })
    .check(|world| {
        let (heard, _) = &mut *world.borrow_mut();
        if let Some(heard) = heard.as_ref() {
            // Nobody drives it any more, so picks do again what is due.
            heard.time.advance(Duration::from_secs(30));
            let _ = heard.balancer.pick(&PickContext::new());
            assert!(!heard.is_out(0));
        }
    });
    assert!(drops > 5, "{drops}");
}
