//! Our balancers, built alike.

use std::net::SocketAddr;

use stanchion_core::Outcome;
use stanchion_lb::policy::Policy;
use stanchion_lb::{Balancer, Endpoint, PickContext, Picked, Unavailable};

/// The address of an endpoint, which is its name, too.
pub(crate) fn address(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 80))
}

pub(crate) fn endpoint(number: u16) -> Endpoint<SocketAddr> {
    let address = address(number);
    Endpoint::new(address.to_string(), address)
}

/// A balancer of so many endpoints of the same weight.
pub(crate) fn balancer(
    policy: impl Policy<SocketAddr> + 'static,
    endpoints: u16,
) -> Balancer<SocketAddr> {
    of(policy, (0..endpoints).map(endpoint))
}

pub(crate) fn of<A: PartialEq>(
    policy: impl Policy<A> + 'static,
    endpoints: impl IntoIterator<Item = Endpoint<A>>,
) -> Balancer<A> {
    let balancer = Balancer::new(policy);
    balancer.update(endpoints).expect("names differ");
    balancer
}

/// A call like any other.
pub(crate) const ANY: &PickContext<'static> = &PickContext::new();

/// The call succeeds; the port tells that there was one.
#[inline(always)]
pub(crate) fn succeeds(picked: Result<Picked<SocketAddr>, Unavailable>) -> u64 {
    let Ok(picked) = picked else { return 0 };
    let port = picked.address().port();
    picked.record(Outcome::Success);
    u64::from(port)
}
