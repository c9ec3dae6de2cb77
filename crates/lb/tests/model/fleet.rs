//! Random endpoints, and the balancer that has them.

use proptest::prelude::*;
use stanchion_lb::policy::Policy;
use stanchion_lb::{Balancer, Endpoint, Mark};

/// Any mark that says something of an endpoint.
pub(crate) fn marks() -> impl Strategy<Value = Mark> {
    prop_oneof![
        Just(Mark::Unknown),
        Just(Mark::Healthy),
        Just(Mark::Degraded),
        Just(Mark::Unhealthy),
        Just(Mark::Eject),
        Just(Mark::Readmit),
        Just(Mark::Hold),
        Just(Mark::Release),
        Just(Mark::Drain),
        Just(Mark::Disable),
        Just(Mark::Enable),
    ]
}

/// Endpoints named by their places, with these weights.
pub(crate) fn balancer(
    policy: impl Policy<usize> + 'static,
    weights: impl IntoIterator<Item = u16>,
) -> Balancer<usize> {
    let balancer = Balancer::new(policy);
    let endpoint = |(place, weight)| Endpoint::new(name(place), place).with_weight(weight);
    let endpoints = weights.into_iter().enumerate().map(endpoint);
    balancer.update(endpoints).expect("names differ");
    balancer
}

pub(crate) fn name(place: usize) -> String {
    format!("e{place}")
}
