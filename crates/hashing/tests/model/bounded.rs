//! Bounded loads against their definition, with exact fractions.

use proptest::prelude::*;
use stanchion_hashing::{Bounded, ConsistentHash, LoadFactor, Rendezvous, Ring, key_hash};

use crate::nodes::{self, some};

/// ⌈c · (m + 1) · w / W⌉, for a factor in 2⁻²⁰.
fn capacity(factor: LoadFactor, total: u64, weight: u32, sum: u64) -> u128 {
    let steps = factor.get() * f64::from(1 << 20);
    let steps: u128 = format!("{steps:.0}").parse().unwrap();
    (steps * (u128::from(total) + 1) * u128::from(weight)).div_ceil(u128::from(sum) << 20)
}

proptest! {
    #[test]
    fn nobody_gets_more_than_its_bound_and_everybody_is_taken(
        named in some(0_u32..6), factor in 1.01_f64..3.0, hot in 1_u64..50, keys in 1_u64..300,
    ) {
        let table = Ring::new(&nodes::of(&named)).unwrap();
        let bounded = Bounded::new(table, LoadFactor::new(factor).unwrap());
        let mut loads = vec![0; named.len()];
        for total in 0..keys {
            let hash = key_hash(&(total % hot).to_le_bytes());
            let node = bounded.owner(hash, total, |node| loads[node]).unwrap();
            let room = |node: usize| {
                let (weight, sum) = (named[node].1, bounded.table().weight_sum());
                u128::from(loads[node]) < capacity(bounded.factor(), total, weight, sum)
            };
            let first = bounded.table().owners(hash).find(|&node| room(node));
            prop_assert_eq!(Some(node), first);
            loads[node] += 1;
        }
    }

    #[test]
    fn capacities_of_all_are_more_than_what_comes(
        named in some(prop_oneof![0_u32..6, any::<u32>()]), total: u64, factor in 1.000_001_f64..1000.0,
    ) {
        let table = Rendezvous::new(&nodes::of(&named)).unwrap();
        let bounded = Bounded::new(&table, LoadFactor::new(factor).unwrap());
        let capacities = bounded.capacities(total);
        let each = named.iter().map(|(_, weight)| u128::from(capacities.of(*weight)));
        prop_assert!(each.sum::<u128>() > u128::from(total));
        let heaviest = named.iter().map(|(_, weight)| *weight).max().unwrap();
        let exact = capacity(bounded.factor(), total, heaviest, table.weight_sum());
        prop_assert_eq!(u128::from(capacities.of(heaviest)), exact.min(u64::MAX.into()));
    }
}

#[test]
fn what_can_be_used_has_the_room_of_what_cannot() {
    let named = [("a", 1), ("b", 1), ("c", 2)].map(|(id, weight)| (id.to_owned(), weight));
    let table = Ring::new(&nodes::of(&named)).unwrap();
    let bounded = Bounded::new(table, LoadFactor::default());
    assert_eq!(bounded.capacities(7).of(1), 3);
    assert_eq!(bounded.capacities(7).of(2), 5);
    let without_c = bounded.capacities_among(7, 2);
    assert_eq!(without_c.of(1), 5);
    let loads = [5, 2, u64::MAX];
    let owner = bounded.owners(0, without_c, |node| loads[node]).next();
    assert_eq!(owner, Some(1));
    assert_eq!(bounded.owner(0, 7, |_| u64::MAX), None);
    // Nothing can be used: there is no share, and no division by it either.
    assert_eq!(bounded.capacities_among(7, 0).of(1), 10);
}

#[test]
fn factors_that_bound_nothing_or_leave_no_room_are_refused() {
    for factor in [1.0, 0.5, 1000.1, -2.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            LoadFactor::new(factor).unwrap_err().to_string(),
            format!("load factor is {factor:?}, must be more than 1 and at most 1000")
        );
    }
    assert!(LoadFactor::new(1.0 + f64::EPSILON).unwrap().get() > 1.0);
    assert!(LoadFactor::new(1.25).unwrap() == LoadFactor::default());
}
