//! Calls whose endpoint is ready at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

use stanchion_core::{Classify, Outcome, Verdict};
use stanchion_lb::policy::{Choice, InvalidTable, Member, PeakEwma, Policy, Table};
use stanchion_lb::{Backend, Balance, Balancer, Draw, Endpoint, Mark, Rejected, Unavailable};
use testkit::drop_at_every_await_in;
use tower::{Service, ServiceExt, service_fn};

use crate::fleet::{Broken, MS, World, at_once, poll, ready_and_call};

#[test]
fn calls_go_to_each_endpoint_and_count_there_until_they_are_over() {
    let world = World::new(3);
    world.gate.close();
    let mut balance = world.balance();
    let mut calls: Vec<_> = (1..=6)
        .map(|request| Box::pin(ready_and_call(&mut balance, request)))
        .collect();
    for call in &mut calls {
        assert!(poll(call.as_mut()).is_pending());
    }
    let endpoints = world.balancer.snapshot().endpoints;
    let in_flight: Vec<u32> = endpoints.iter().map(|each| each.in_flight).collect();
    assert_eq!(in_flight, [2, 2, 2]);
    world.gate.stay_open();
    for (call, request) in calls.into_iter().zip(1..) {
        assert_eq!(at_once(call).unwrap(), request * 2);
    }
    world.assert_idle();
}

#[test]
fn an_error_of_a_called_endpoint_stands() {
    let world = World::new(3);
    for server in &world.servers {
        server.probe.answer_with(|_| Err(Broken));
    }
    let error = at_once(ready_and_call(&mut world.balance(), 1)).unwrap_err();
    assert!(error.is::<Broken>());
    assert_eq!(world.calls().iter().sum::<usize>(), 1);
    world.assert_idle();
}

#[test]
fn each_refusal_says_why() {
    let world = World::new(0);
    let mut balance = world.balance();
    let mut refusal = || {
        let error = at_once(ready_and_call(&mut balance, 1)).unwrap_err();
        let rejected = *error.downcast::<Rejected>().unwrap();
        (rejected, rejected.is_overloaded())
    };
    let none = Rejected::Unavailable(Unavailable::NoEndpoints);
    assert_eq!(refusal(), (none, false));

    let one = |max: u32| {
        let probe = testkit::Probe::answering(|request: u32| Ok(request));
        let gate = testkit::Gate::new();
        gate.stay_open();
        let inner = testkit::Strict::new(gate.before(probe));
        Endpoint::new("only", Backend::new(0, inner)).with_in_flight_max(max.try_into().unwrap())
    };
    world.balancer.update([one(1)]).unwrap();
    world.balancer.mark("only", Mark::Hold);
    let unhealthy = Rejected::Unavailable(Unavailable::AllUnhealthy);
    assert_eq!(refusal(), (unhealthy, false));

    world.balancer.mark("only", Mark::Release);
    let _taken = world
        .balancer
        .pick(&stanchion_lb::PickContext::new())
        .unwrap();
    let overloaded = Rejected::Unavailable(Unavailable::Overloaded);
    assert_eq!(refusal(), (overloaded, true));
}

#[test]
fn respond_with_hears_the_refusal_and_leaves_the_error_type_alone() {
    let world = World::new(1);
    let respond = |rejected: &Rejected, request: u32| {
        assert_eq!(*rejected, Rejected::Unavailable(Unavailable::NoEndpoints));
        request + 1_000
    };
    let mut balance = world.balance().respond_with(respond);
    world.servers[0].probe.answer_with(|_| Err(Broken));
    assert_eq!(at_once(ready_and_call(&mut balance, 1)), Err(Broken));
    world.balancer.update([]).unwrap();
    assert_eq!(at_once(ready_and_call(&mut balance, 7)), Ok(1_007));
}

/// The latency that the only endpoint is thought to have after a call of 10 ms.
fn latency_after(call: impl FnOnce(&World)) -> Duration {
    let world = World::with_policy(1, PeakEwma::new());
    world.gate.close();
    call(&world);
    world.balancer.snapshot().endpoints[0].latency.unwrap()
}

#[test]
fn verdicts_reach_the_balancer() {
    let finish = |world: &World, call: std::pin::Pin<&mut dyn Future<Output = ()>>| {
        let mut call = call;
        assert!(poll(Box::pin(async { call.as_mut().await }).as_mut()).is_pending());
        world.time.advance(10 * MS);
        world.gate.open_all();
        at_once(call);
    };
    let plain = |world: &World| {
        let call = ready_and_call(&mut world.balance(), 1);
        finish(world, pin!(async { drop(call.await) }));
    };
    let success = latency_after(plain);
    assert_eq!(success, 10 * MS);
    let failure = latency_after(|world| {
        world.servers[0].probe.answer_with(|_| Err(Broken));
        plain(world);
    });
    assert!(failure > success, "{failure:?}");
    let judged = latency_after(|world| {
        let odd = |_: Result<&u32, &Broken>| Outcome::Failure;
        let call = ready_and_call(&mut world.balance().classify(odd), 1);
        finish(world, pin!(async { drop(call.await) }));
    });
    assert_eq!(judged, failure);
    let deferred = latency_after(|world| {
        let call = ready_and_call(&mut world.balance().classify(Deferred), 1);
        finish(world, pin!(async { drop(call.await) }));
    });
    assert_eq!(deferred, success);
    let asked = latency_after(|world| {
        let read = |_: Result<&u32, &Broken>| Some(Duration::from_secs(30));
        let overload = |_: Result<&u32, &Broken>| Outcome::Overload;
        let mut balance = world.balance().classify(overload).retry_after(read);
        let call = ready_and_call(&mut balance, 1);
        finish(world, pin!(async { drop(call.await) }));
    });
    assert!(asked > failure, "{asked:?}");
}

/// Defers all to the end of the body.
struct Deferred;

impl<Res, Err> Classify<Res, Err> for Deferred {
    fn classify(&self, _result: Result<&Res, &Err>) -> Verdict {
        Verdict::AtEnd
    }
}

#[test]
fn dropped_anywhere_it_gives_back_what_it_held() {
    let drops = drop_at_every_await_in(|| {
        let world = World::new(2);
        world.gate.close();
        let mut balance = world.balance();
        let call = async move { balance.ready().await.unwrap().call(1).await };
        (world, call)
    })
    .nudge(|world| {
        world.gate.open_one();
    })
    .check(World::assert_idle);
    assert!(drops >= 2, "{drops}");
}

#[test]
fn a_panic_of_an_endpoint_leaves_nothing_in_flight() {
    let world = World::new(1);
    world.servers[0].probe.answer_with(|_| panic!("on purpose"));
    let mut balance = world.balance();
    let call = AssertUnwindSafe(|| drop(ready_and_call(&mut balance, 1)));
    assert!(catch_unwind(call).is_err());
    assert_eq!(world.in_flight(), 0);

    let later = service_fn(|_: u32| async {
        match std::hint::black_box(true) {
            true => panic!("on purpose"),
            false => Ok::<u32, Broken>(1),
        }
    });
    let balancer = Balancer::new(PeakEwma::new());
    balancer
        .update([Endpoint::new("only", Backend::new(0, later))])
        .unwrap();
    let mut balance = Balance::new(balancer.clone());
    let call = AssertUnwindSafe(|| at_once(ready_and_call(&mut balance, 1)).is_ok());
    assert!(catch_unwind(call).is_err());
    assert_eq!(balancer.snapshot().endpoints[0].in_flight, 0);
}

/// Chooses by the hash alone.
#[derive(Debug)]
struct Modulo;

impl<A> Policy<A> for Modulo {
    fn table(
        &self,
        _members: &[Member<A>],
        _draw: &mut Draw,
    ) -> Result<Box<dyn Table<A>>, InvalidTable> {
        Ok(Box::new(Self))
    }
}

impl<A> Table<A> for Modulo {
    fn choose(&self, choice: &mut Choice<'_, A>) -> Option<usize> {
        let count = choice.members().len() as u64;
        usize::try_from(choice.hash().expect("a key") % count).ok()
    }
}

#[test]
fn a_key_and_a_session_decide() {
    let world = World::with_policy(4, Modulo);
    let mut balance = world
        .balance()
        .hash_by(|request: &u32| Some(request.to_be_bytes()));
    for _ in 0..5 {
        at_once(ready_and_call(&mut balance, 3)).unwrap();
    }
    let expected = stanchion_hashing::key_hash(&3_u32.to_be_bytes()) % 4;
    assert_eq!(world.calls()[expected as usize], 5);

    let mut bound = balance.affinity_by(|request: &u32| Some(request.to_string()));
    for request in [0, 1, 1, 2, 2, 2] {
        at_once(ready_and_call(&mut bound, request)).unwrap();
    }
    let mut calls = vec![1, 2, 3, 0];
    calls[expected as usize] += 5;
    assert_eq!(world.calls(), calls);
    world.assert_idle();
}

#[test]
fn an_endpoint_may_be_removed_while_it_is_called() {
    let world = World::new(1);
    world.gate.close();
    let mut call = Box::pin(ready_and_call(&mut world.balance(), 4));
    assert!(poll(call.as_mut()).is_pending());
    world.balancer.update([]).unwrap();
    world.gate.open_all();
    assert_eq!(at_once(call).unwrap(), 8);
    world.assert_idle();
}
