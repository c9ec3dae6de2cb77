//! The peers, built alike.

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::io;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use pingora_load_balancing::LoadBalancer;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use tower::Service;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};

use crate::ours::address;

/// A balancer of so many backends of weight 1.
pub(crate) fn pingora<S>(endpoints: u16) -> LoadBalancer<S>
where
    S: BackendSelection<Iter: BackendIter> + 'static,
{
    LoadBalancer::try_from_iter((0..endpoints).map(address)).expect("valid addresses")
}

/// One candidate, by a key where the algorithm goes by one; the port tells that there was one.
#[inline(always)]
pub(crate) fn select<S>(balancer: &LoadBalancer<S>, key: &[u8]) -> u64
where
    S: BackendSelection<Iter: BackendIter> + 'static,
{
    let backend = balancer.select(key, 1);
    let address = backend.as_ref().and_then(|backend| backend.addr.as_inet());
    address.map_or(0, |address| u64::from(address.port()))
}

type Loaded = PendingRequests<Echo, CompleteOnResponse>;

/// tower's balancer, which goes by calls in flight.
pub(crate) type Tower = Balance<ServiceList<Vec<Loaded>>, u64>;

pub(crate) fn tower(endpoints: u16) -> Tower {
    let loaded = |_| PendingRequests::new(Echo, CompleteOnResponse::default());
    let mut balance = Balance::new(ServiceList::new::<u64>(
        (0..endpoints).map(loaded).collect(),
    ));
    let mut context = Context::from_waker(Waker::noop());
    assert!(Service::<u64>::poll_ready(&mut balance, &mut context).is_ready());
    balance
}

/// A call through a balancer that is behind a lock, which is held until the call is on its way.
#[inline(always)]
pub(crate) fn call_locked(balance: &Mutex<Tower>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let future = {
        let mut balance = balance.lock().expect("no thread panicked");
        while balance.poll_ready(&mut context).is_pending() {}
        balance.call(black_box(1))
    };
    is_done(future)
}

/// Makes one call, as one connection would: the same instance, made ready each time.
#[inline(always)]
pub(crate) fn call<S: Service<u64, Response = u64>>(service: &mut S) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    while service.poll_ready(&mut context).is_pending() {}
    is_done(service.call(black_box(1)))
}

#[inline(always)]
fn is_done<E>(future: impl Future<Output = Result<u64, E>>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let result = pin!(future).poll(&mut context);
    matches!(result, Poll::Ready(Ok(1)))
}

/// A service that is always ready, and done at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = io::Error;
    type Future = Ready<io::Result<u64>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}
