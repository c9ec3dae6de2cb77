//! Draining, on a clock that is moved by hand.

#![cfg(feature = "tokio")]

use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stanchion_core::{Clock, ManualClock};
use stanchion_lb::policy::RoundRobin;
use stanchion_lb::{Balancer, Drained, Endpoint, Health, Mark, PickContext, Picked};
use testkit::drop_at_every_await_in;

const MINUTE: Duration = Duration::from_secs(60);

fn balancer() -> (Balancer<u32>, ManualClock) {
    let (clock, time) = Clock::manual();
    let balancer = Balancer::new(RoundRobin::new()).with_clock(clock);
    balancer
        .update([Endpoint::new("a", 1), Endpoint::new("b", 2)])
        .expect("as it should be");
    (balancer, time)
}

fn bound(balancer: &Balancer<u32>) -> Picked<u32> {
    balancer
        .pick(&PickContext::new().with_affinity("a"))
        .expect("as it should be")
}

fn poll(drained: &mut Pin<&mut impl Future<Output = Drained>>) -> Poll<Drained> {
    drained
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn it_ends_with_the_last_call() {
    let (balancer, _time) = balancer();
    let (first, second) = (bound(&balancer), bound(&balancer));
    let mut drained = pin!(balancer.drain("a", MINUTE).unwrap());
    assert_eq!(balancer.health("a"), Some(Health::Draining));
    for _ in 0..4 {
        assert_eq!(*balancer.pick(&PickContext::new()).unwrap().address(), 2);
    }
    assert_eq!(poll(&mut drained), Poll::Pending);
    drop(first);
    // What is bound to it still goes there.
    let third = bound(&balancer);
    drop(second);
    assert_eq!(poll(&mut drained), Poll::Pending);
    // Removed or not, it is waited for.
    balancer.update([Endpoint::new("b", 2)]).unwrap();
    assert_eq!(poll(&mut drained), Poll::Pending);
    drop(third);
    assert_eq!(poll(&mut drained), Poll::Ready(Drained::Idle));
}

#[test]
fn it_ends_with_the_time_or_when_the_endpoint_is_used_again() {
    let (balancer, time) = balancer();
    let _calls = (bound(&balancer), bound(&balancer));
    let mut drained = pin!(balancer.drain("a", MINUTE).unwrap());
    time.advance(MINUTE - Duration::from_nanos(1));
    assert_eq!(poll(&mut drained), Poll::Pending);
    time.advance(Duration::from_nanos(1));
    assert_eq!(
        poll(&mut drained),
        Poll::Ready(Drained::Overdue { in_flight: 2 })
    );

    let mut again = pin!(balancer.drain("a", MINUTE).unwrap());
    assert_eq!(poll(&mut again), Poll::Pending);
    balancer.mark("a", Mark::Enable);
    assert_eq!(poll(&mut again), Poll::Ready(Drained::Resumed));
}

#[test]
fn one_without_calls_is_drained_at_once_and_one_that_is_not_there_never() {
    let (balancer, _time) = balancer();
    let mut drained = pin!(balancer.drain("b", Duration::ZERO).unwrap());
    assert_eq!(poll(&mut drained), Poll::Ready(Drained::Idle));
    assert!(balancer.drain("c", MINUTE).is_none());
    balancer.mark("a", Mark::Disable);
    let mut disabled = pin!(balancer.drain("a", MINUTE).unwrap());
    assert_eq!(balancer.health("a"), Some(Health::Disabled));
    assert_eq!(poll(&mut disabled), Poll::Ready(Drained::Idle));
}

/// The nudge ends one call after the other; that the last one wakes is the driver's to see.
#[test]
fn dropping_it_changes_nothing() {
    let drops = drop_at_every_await_in(|| {
        let (balancer, _time) = balancer();
        let calls: Vec<_> = (0..3).map(|_| bound(&balancer)).collect();
        let drained = balancer.drain("a", MINUTE).unwrap();
        (RefCell::new((balancer, calls)), drained)
    })
    .nudge(|world| drop(world.borrow_mut().1.pop()))
    .check(|world| {
        let (balancer, calls) = &mut *world.borrow_mut();
        assert_eq!(balancer.health("a"), Some(Health::Draining));
        let in_flight = balancer.snapshot().endpoints[0].in_flight;
        assert_eq!(in_flight as usize, calls.len());
        calls.clear();
        assert_eq!(balancer.snapshot().endpoints[0].in_flight, 0);
    });
    assert_eq!(drops, 3);
}

#[test]
fn several_may_wait() {
    let (balancer, _time) = balancer();
    let call = bound(&balancer);
    let mut one = pin!(balancer.drain("a", MINUTE).unwrap());
    let mut other = pin!(balancer.drain("a", MINUTE).unwrap());
    assert_eq!([poll(&mut one), poll(&mut other)], [Poll::Pending; 2]);
    drop(call);
    let idle = Poll::Ready(Drained::Idle);
    assert_eq!([poll(&mut one), poll(&mut other)], [idle; 2]);
}
