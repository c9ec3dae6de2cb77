//! What tower discovers.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures::channel::mpsc::unbounded;
use stanchion_core::Clock;
use stanchion_lb::policy::RoundRobin;
use stanchion_lb::{Balance, Balancer, PickContext};
use tower::ServiceExt;
use tower::discover::Change;

#[tokio::test]
async fn changes_arrive_and_a_key_keeps_its_calls() {
    type Doubling = testkit::Probe<u32, u32, std::io::Error>;
    let multiply = |by: u32| Doubling::answering(move |request| Ok(request * by));
    let (clock, time) = Clock::manual();
    let (tell, told) = unbounded::<Result<Change<u16, Doubling>, std::io::Error>>();
    let balancer = Balancer::new(RoundRobin::new()).with_clock(clock);
    let (balance, discovery) = Balance::from_discover(balancer.clone(), told);
    let mut run = pin!(discovery.run());
    let mut go_on = || {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = run.as_mut().poll(&mut cx).is_ready();
        time.advance(std::time::Duration::from_millis(50));
        assert_eq!(run.as_mut().poll(&mut cx), Poll::Pending);
    };
    let tell = |change| tell.unbounded_send(Ok(change)).unwrap();
    let in_flight = || -> Vec<u32> {
        let endpoints = balancer.snapshot().endpoints;
        endpoints.iter().map(|each| each.in_flight).collect()
    };

    tell(Change::Insert(7, multiply(2)));
    go_on();
    assert_eq!(balance.clone().oneshot(21).await.unwrap(), 42);
    let call = balancer.pick(&PickContext::new()).unwrap();
    assert_eq!(call.id().as_str(), "7");

    // Inserted anew: another service, the same endpoint.
    tell(Change::Insert(7, multiply(3)));
    go_on();
    assert_eq!(balance.clone().oneshot(21).await.unwrap(), 63);
    assert_eq!(in_flight(), [1]);

    // Gone and back in one batch.
    tell(Change::Remove(7));
    tell(Change::Insert(7, multiply(4)));
    go_on();
    assert_eq!(balance.clone().oneshot(21).await.unwrap(), 84);
    assert_eq!(in_flight(), [1]);

    tell(Change::Remove(7));
    go_on();
    assert!(balance.clone().oneshot(21).await.is_err());
    assert_eq!(in_flight(), [0; 0]);
    drop(call);

    // Keys that are gone are forgotten, however many there were.
    for key in 0..1_000 {
        tell(Change::Insert(key, multiply(5)));
        tell(Change::Remove(key));
        if key % 100 == 0 {
            go_on();
        }
    }
    tell(Change::Insert(1, multiply(5)));
    go_on();
    assert_eq!(balance.oneshot(21).await.unwrap(), 105);
}
