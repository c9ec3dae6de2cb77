//! Calls whose endpoint is not ready at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use stanchion_lb::{Patience, Rejected};
use testkit::drop_at_every_await_in;
use tower::{Service, ServiceExt};

use crate::fleet::{Broken, MS, World, at_once, poll, ready_and_call};

fn not_ready(world: &World) {
    world
        .servers
        .iter()
        .for_each(|server| server.probe.not_ready());
}

#[test]
fn a_call_waits_for_its_endpoint() {
    let world = World::new(2);
    not_ready(&world);
    let mut balance = world.balance();
    let mut call = Box::pin(ready_and_call(&mut balance, 1));
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!((world.in_flight(), balance.waiting()), (1, 1));
    world.time.advance(99 * MS);
    assert!(poll(call.as_mut()).is_pending());
    world.servers.iter().for_each(|server| server.probe.ready());
    assert_eq!(at_once(call).unwrap(), 2);
    assert_eq!(balance.waiting(), 0);
    world.assert_idle();
}

#[test]
fn an_endpoint_that_is_not_ready_in_time_is_left_for_another() {
    let world = World::new(2);
    for stuck in [0, 1] {
        world.servers[stuck].probe.not_ready();
        world.servers[1 - stuck].probe.ready();
        let mut balance = world.balance();
        // One of two in turn meets the stuck one.
        let mut calls = [1, 2].map(|request| Box::pin(ready_and_call(&mut balance, request)));
        let mut waiting = calls.iter_mut().filter_map(|call| {
            let pending = poll(call.as_mut()).is_pending();
            pending.then_some(call)
        });
        let call = waiting.next().unwrap();
        assert!(waiting.next().is_none());
        world.time.advance(100 * MS);
        at_once(call.as_mut()).unwrap();
        assert_eq!(balance.waiting(), 0);
    }
    assert_eq!(world.calls(), [2, 2]);
    world.assert_idle();
}

#[test]
fn a_call_that_finds_none_ready_is_refused_in_the_end() {
    let world = World::new(5);
    not_ready(&world);
    let mut balance = world.balance();
    let mut call = pin!(ready_and_call(&mut balance, 1));
    for _ in 0..2 {
        assert!(poll(call.as_mut()).is_pending());
        world.time.advance(100 * MS);
    }
    let error = at_once(call).unwrap_err();
    assert_eq!(*error.downcast::<Rejected>().unwrap(), Rejected::NotReady);
    assert!(Rejected::NotReady.is_overloaded());
    assert_eq!((balance.waiting(), world.calls()), (0, vec![0; 5]));
    world.assert_idle();
}

#[test]
fn a_single_endpoint_is_not_waited_for_twice() {
    let world = World::new(1);
    not_ready(&world);
    let mut call = pin!(ready_and_call(&mut world.balance(), 1));
    assert!(poll(call.as_mut()).is_pending());
    world.time.advance(100 * MS);
    let error = at_once(call).unwrap_err();
    assert_eq!(*error.downcast::<Rejected>().unwrap(), Rejected::NotReady);
    world.assert_idle();
}

#[test]
fn a_failed_readiness_is_tried_elsewhere_at_once() {
    let world = World::new(2);
    world.servers[0].probe.fail_readiness(|| Broken);
    for request in 1..=10 {
        let answer = at_once(ready_and_call(&mut world.balance(), request));
        assert_eq!(answer.unwrap(), request * 2);
    }
    assert_eq!(world.calls(), [0, 10]);
    world.servers[1].probe.fail_readiness(|| Broken);
    let error = at_once(ready_and_call(&mut world.balance(), 1)).unwrap_err();
    assert!(error.is::<Broken>());
    // As many reservations as picks: none was tried twice.
    world.assert_idle();
}

#[test]
fn no_more_endpoints_are_tried_than_allowed() {
    let world = World::new(5);
    for server in &world.servers {
        server.probe.fail_readiness(|| Broken);
    }
    at_once(ready_and_call(&mut world.balance(), 1)).unwrap_err();
    let tried = |world: &World| -> usize {
        let reservations = world
            .servers
            .iter()
            .map(|server| server.strict.reservations());
        reservations.sum()
    };
    assert_eq!(tried(&world), 2);
    let patience = Patience::default().with_picks_max(16).unwrap();
    at_once(ready_and_call(
        &mut world.balance().with_patience(patience),
        1,
    ))
    .unwrap_err();
    assert_eq!(tried(&world), 2 + 5, "each once");
}

#[test]
fn so_many_wait_and_no_more() {
    let world = World::new(2);
    not_ready(&world);
    let patience = Patience::default().with_max_pending(2);
    let mut balance = world.balance().with_patience(patience);
    let mut waiting = [1, 2].map(|request| Box::pin(ready_and_call(&mut balance.clone(), request)));
    for call in &mut waiting {
        assert!(poll(call.as_mut()).is_pending());
    }
    let error = at_once(ready_and_call(&mut balance, 3)).unwrap_err();
    assert_eq!(
        *error.downcast::<Rejected>().unwrap(),
        Rejected::TooManyPending
    );
    drop(waiting);
    let mut call = pin!(ready_and_call(&mut balance, 4));
    assert!(poll(call.as_mut()).is_pending(), "there is a place again");
    assert_eq!(world.in_flight(), 1);
}

#[test]
fn dropped_anywhere_it_gives_back_what_it_held() {
    let drops = drop_at_every_await_in(|| {
        let world = World::new(3);
        world.gate.close();
        not_ready(&world);
        let balance = world.balance();
        let mut service = balance.clone();
        let call = async move { service.ready().await.unwrap().call(1).await };
        ((world, balance), call)
    })
    .nudge(|(world, _)| {
        // First the deadline of one, then the readiness of another, then its answer.
        world.time.advance(60 * MS);
        if world.time.now().as_nanos() > 150_000_000 {
            world.servers.iter().for_each(|server| server.probe.ready());
        }
        world.gate.open_one();
    })
    .check(|(world, balance)| {
        assert_eq!(balance.waiting(), 0);
        world.assert_idle();
    });
    assert!(drops >= 6, "{drops}");
}

#[test]
fn a_panic_while_waiting_leaves_nothing_behind() {
    let world = World::new(1);
    world.servers[0]
        .probe
        .fail_readiness(|| panic!("on purpose"));
    let mut balance = world.balance();
    let call = AssertUnwindSafe(|| drop(ready_and_call(&mut balance, 1)));
    assert!(catch_unwind(call).is_err());
    assert_eq!(world.in_flight(), 0);

    world.servers[0].probe.not_ready();
    let mut call = Box::pin(ready_and_call(&mut balance, 1));
    assert!(poll(call.as_mut()).is_pending());
    world.servers[0]
        .probe
        .fail_readiness(|| panic!("on purpose"));
    let polled = AssertUnwindSafe(|| poll(call.as_mut()).is_ready());
    assert!(catch_unwind(polled).is_err());
    drop(call);
    assert_eq!((world.in_flight(), balance.waiting()), (0, 0));
}
