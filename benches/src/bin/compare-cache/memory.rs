//! What an entry costs beyond its key and value, in a full cache.

use stanchion_benches::{Case, Contestant as Entry, Measure, Target, Unit, allocations, held};
use stanchion_cache::Cache;

use crate::peers::{Contestant, Quick};

const CAPACITIES: [(usize, &str); 2] = [
    (100_000, "heap of a full cache, 100 k"),
    (1_000_000, "heap of a full cache, 1 M"),
];
const PAYLOAD: f64 = 16.0;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = CAPACITIES
        .map(|(capacity, name)| heap(name, capacity))
        .into();
    cases.push(nothing_allocated());
    cases
}

fn heap(name: &'static str, capacity: usize) -> Case {
    Case::new(name, Unit::lower("bytes/entry, key and value included"))
        .rounds(1)
        .with(
            Entry::ours(
                "stanchion",
                of(capacity, move || Cache::new(capacity as u64)),
            )
            .must(Target::Reach(40.0 + PAYLOAD)),
        )
        .with(Entry::peer(
            "quick_cache",
            of(capacity, move || Quick::new(capacity)),
        ))
        .with(Entry::peer(
            "moka",
            of(capacity, move || moka::sync::Cache::new(capacity as u64)),
        ))
}

/// Twice as many keys as there is room for.
fn of<C: Contestant>(capacity: usize, build: impl Fn() -> C + 'static) -> Measure {
    held(move || {
        let cache = build();
        for key in 0..2 * capacity as u64 {
            cache.insert(key, key);
        }
        (cache, capacity)
    })
}

fn nothing_allocated() -> Case {
    Case::new("insert into a full cache, allocations", Unit::ALLOCATIONS)
        .rounds(1)
        .with(Entry::ours("stanchion", insertions(|| Cache::new(10_000))).must(Target::Zero))
        .with(Entry::peer(
            "quick_cache",
            insertions(|| Quick::new(10_000)),
        ))
        .with(Entry::peer(
            "moka",
            insertions(|| moka::sync::Cache::new(10_000)),
        ))
}

fn insertions<C: Contestant>(build: impl Fn() -> C + 'static) -> Measure {
    allocations(move || {
        let cache = build();
        let mut key = 0;
        for _ in 0..100_000 {
            key += 1;
            cache.insert(key, key);
        }
        move |iterations| {
            for _ in 0..iterations {
                key += 1;
                cache.insert(key, key);
            }
        }
    })
}
