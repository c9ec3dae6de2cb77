//! How the traffic of a group is split between the zones that its endpoints stand in.
//!
//! ```text
//! clients are taken to be spread evenly over the zones that have endpoints, so each zone has
//! 1/zones of the traffic to give, and its endpoints can take their part of all weights
//!
//! the local zone can take its part or more:  all stays there
//! else:  as much stays as it can take, and the rest goes to the zones that can take more than
//!        their part, by how much more
//! ```
//!
//! Source: Envoy's *zone aware routing*, which is told where the clients are.

/// The whole traffic of a group.
pub(super) const WHOLE: u64 = 10_000;

/// The parts of the traffic, of [`WHOLE`], that go to zones with these weights, if the client stands
/// in the zone at `local`.
pub(super) fn split(weights: &[u64], local: usize) -> Vec<u64> {
    let zones = weights.len() as u64;
    let all: u64 = weights.iter().sum();
    let own = weights.get(local).copied().unwrap_or(0);
    let mut parts = vec![0; weights.len()];
    let Some(part) = parts.get_mut(local) else {
        return parts;
    };
    // What a zone can take beyond its part, times zones · all.
    let surplus = |weight: u64| (weight * zones).saturating_sub(all);
    let surpluses: u64 = weights.iter().copied().map(surplus).sum();
    if own * zones >= all || surpluses == 0 {
        *part = WHOLE;
        return parts;
    }
    *part = (WHOLE * own * zones).checked_div(all).unwrap_or(WHOLE);
    let rest = WHOLE - *part;
    let mut given = 0;
    let mut largest = local;
    for (zone, &weight) in weights.iter().enumerate() {
        if zone != local {
            parts[zone] = rest * surplus(weight) / surpluses;
            given += parts[zone];
            if surplus(weight) > surplus(weights[largest]) {
                largest = zone;
            }
        }
    }
    // What dividing lost.
    parts[largest] += rest - given;
    parts
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn traffic_stays_while_the_zone_can_take_its_part() {
        assert_eq!(split(&[3, 3, 3], 0), [WHOLE, 0, 0]);
        assert_eq!(split(&[4, 1, 1], 0), [WHOLE, 0, 0]);
        // A quarter of the endpoints for half of the clients: half of the traffic goes over.
        assert_eq!(split(&[1, 3], 0), [5_000, 5_000]);
        assert_eq!(split(&[1, 3], 1), [0, WHOLE]);
        // 4/4/3 costs the smallest zone a little only.
        assert_eq!(
            split(&[4, 4, 3], 2),
            [910, 909, 8_181].map(|part: u64| part)
        );
    }

    proptest! {
        /// If the clients of all zones split so, no endpoint gets more than its share.
        #[test]
        fn all_zones_together_load_endpoints_evenly(
            weights in proptest::collection::vec(1u64..1000, 1..8),
        ) {
            let zones = weights.len() as u64;
            let all: u64 = weights.iter().sum();
            let mut loads = vec![0; weights.len()];
            for local in 0..weights.len() {
                let parts = split(&weights, local);
                prop_assert_eq!(parts.iter().sum::<u64>(), WHOLE);
                for (load, part) in loads.iter_mut().zip(parts) {
                    *load += part;
                }
            }
            for (load, weight) in loads.iter().zip(weights) {
                // Of each zone's clients rounding may move one part in a zone.
                let fair = WHOLE * zones * weight / all;
                prop_assert!(load.abs_diff(fair) <= 2 * zones * zones, "{} {}", load, fair);
            }
        }
    }
}
