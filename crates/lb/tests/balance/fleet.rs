//! Some endpoints with all that moves and watches them.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stanchion_core::{Clock, ManualClock};
use stanchion_lb::policy::{Policy, RoundRobin};
use stanchion_lb::{Backend, Balance, Balancer, Endpoint, Patience};
use testkit::{Gate, Gated, Probe, Strict, StrictHandle};
use tower::Service;

pub(crate) type Inner = Strict<Gated<Probe<u32, u32, Broken>>>;
pub(crate) type Fleet = Balancer<Backend<usize, Inner>>;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// The error of the inner services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

pub(crate) struct World {
    pub(crate) balancer: Fleet,
    pub(crate) time: ManualClock,
    pub(crate) gate: Gate,
    pub(crate) servers: Vec<Server>,
}

/// One endpoint's service: it doubles its requests.
pub(crate) struct Server {
    pub(crate) probe: Probe<u32, u32, Broken>,
    pub(crate) strict: StrictHandle,
}

impl World {
    /// So many endpoints in turn, named by their places, behind an open gate.
    pub(crate) fn new(count: usize) -> Self {
        Self::with_policy(count, RoundRobin::new())
    }

    pub(crate) fn with_policy(
        count: usize,
        policy: impl Policy<Backend<usize, Inner>> + 'static,
    ) -> Self {
        let (clock, time) = Clock::manual();
        let gate = Gate::new();
        gate.stay_open();
        let balancer = Balancer::new(policy).with_clock(clock);
        let mut servers = Vec::new();
        let endpoint = |place: usize| {
            let probe = Probe::answering(|request: u32| Ok(request * 2));
            let inner = Strict::new(gate.before(probe.clone()));
            let strict = inner.handle();
            servers.push(Server { probe, strict });
            Endpoint::new(place.to_string(), Backend::new(place, inner))
        };
        balancer.update((0..count).map(endpoint)).unwrap();
        Self {
            balancer,
            time,
            gate,
            servers,
        }
    }

    /// A balance that waits 100 ms for each of two endpoints.
    pub(crate) fn balance(&self) -> Balance<Backend<usize, Inner>> {
        let patience = Patience::default().with_ready_within(100 * MS).unwrap();
        let patience = patience.with_picks_max(2).unwrap();
        Balance::new(self.balancer.clone()).with_patience(patience)
    }

    pub(crate) fn in_flight(&self) -> u32 {
        let endpoints = self.balancer.snapshot().endpoints;
        endpoints.iter().map(|endpoint| endpoint.in_flight).sum()
    }

    pub(crate) fn calls(&self) -> Vec<usize> {
        let calls = |server: &Server| server.probe.calls();
        self.servers.iter().map(calls).collect()
    }

    /// Nothing is in flight, and no readiness was lost.
    #[track_caller]
    pub(crate) fn assert_idle(&self) {
        assert_eq!(self.in_flight(), 0);
        for server in &self.servers {
            server.strict.assert_idle();
        }
    }
}

pub(crate) fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future has to be ready at once"),
    }
}

pub(crate) fn ready_and_call<Sv: Service<Req>, Req>(service: &mut Sv, request: Req) -> Sv::Future {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    service.call(request)
}
