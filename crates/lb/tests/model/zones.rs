//! Which zones, and which subset, calls go to.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use stanchion_lb::policy::{P2c, RoundRobin};
use stanchion_lb::{Balancer, Config, Endpoint, Locality, Mark, PickContext};

use crate::fleet::{balancer, name};

/// Endpoints in these zones, and how many of 2000 picks each zone gets.
fn picks(
    zones: &[&'static str],
    config: Config,
    marks: &[(usize, Mark)],
) -> impl Fn(&str) -> usize {
    let balancer = Balancer::new(P2c::new()).with_config(config);
    let endpoint = |(place, zone): (usize, &&'static str)| {
        Endpoint::new(name(place), *zone).with_locality(Locality::zone(*zone))
    };
    let endpoints = zones.iter().enumerate().map(endpoint);
    balancer.update(endpoints).expect("names differ");
    for (place, mark) in marks {
        balancer.mark(&name(*place), *mark);
    }
    let pick = |seed| {
        let picked = balancer.pick(&PickContext::new().with_random(seed));
        *picked.expect("there is one").address()
    };
    let picked: Vec<&str> = (0..2000).map(pick).collect();
    move |zone| picked.iter().filter(|of| **of == zone).count()
}

#[test]
fn calls_stay_in_their_zone_while_it_can_take_them() {
    let local = Config::default().with_local_zone("a");
    let even = ["a", "a", "b", "b", "c", "c"];
    assert_eq!(picks(&even, local.clone(), &[])("a"), 2000);
    // Half of what the clients of `a` send is more than a quarter of the endpoints can take.
    let few = ["a", "a", "b", "b", "b", "b", "b", "b"];
    let stayed = picks(&few, local.clone(), &[])("a");
    assert!((870..1130).contains(&stayed), "{stayed}");
    // One of two failed, so the zone can take three fifths of its part.
    let fewer = local.clone().with_zone_endpoints_min(5);
    let stayed = picks(&even, fewer, &[(0, Mark::Unhealthy)])("a");
    assert!((1070..1330).contains(&stayed), "{stayed}");
    // A zone that is gone, one that nobody is in, and few endpoints: zones do not matter.
    for (zones, config) in [
        (&even[..], Config::default().with_local_zone("d")),
        (&even[..], Config::default()),
        (&even[1..], local),
    ] {
        let picks = picks(zones, config, &[]);
        assert!(picks("b") > 500 && picks("c") > 500);
    }
}

#[test]
fn in_panic_zones_do_not_matter() {
    let marks = [1, 2, 3, 4].map(|place| (place, Mark::Unhealthy));
    let local = Config::default().with_local_zone("a");
    let picks = picks(&["a", "a", "b", "b", "c", "c"], local, &marks);
    assert!(["a", "b", "c"].iter().all(|zone| picks(zone) > 500));
}

#[test]
fn a_zone_that_is_full_leaves_calls_to_the_others() {
    let config = Config::default()
        .with_local_zone("a")
        .with_zone_endpoints_min(2);
    let balancer = Balancer::new(P2c::new()).with_config(config);
    let endpoint = |zone: &'static str| {
        Endpoint::new(zone, zone)
            .with_locality(Locality::zone(zone))
            .with_in_flight_max(NonZeroU32::MIN)
    };
    balancer.update([endpoint("b"), endpoint("a")]).unwrap();
    let first = balancer.pick(&PickContext::new()).unwrap();
    let second = balancer.pick(&PickContext::new()).unwrap();
    assert_eq!((*first.address(), *second.address()), ("a", "b"));
}

#[test]
fn a_subset_is_used_and_replaced_one_by_one() {
    let size = NonZeroU32::new(3).unwrap();
    let balancer = balancer(RoundRobin::new(), [1; 20]);
    balancer.set_config(Config::default().with_subset(7, size));
    let used = || -> BTreeSet<usize> {
        let pick = |_| *balancer.pick(&PickContext::new()).unwrap().address();
        (0..60).map(pick).collect()
    };
    let before = used();
    assert_eq!(before.len(), 3);
    let lost = *before.first().unwrap();
    balancer.mark(&name(lost), Mark::Unhealthy);
    let after = used();
    assert_eq!(after.len(), 3);
    assert_eq!(before.intersection(&after).count(), 2);
    balancer.mark(&name(lost), Mark::Unknown);
    assert_eq!(used(), before);
}
