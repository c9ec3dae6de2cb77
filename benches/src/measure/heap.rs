//! What a contestant takes from the heap. For programs whose allocator is
//! [`CountingOnDemand`](crate::CountingOnDemand).

use super::{Measure, figure};
use crate::counting_on_demand::counting;

/// Operations before counting starts, so that what is made once is made.
const SETTLING: u64 = 1_000;
/// Operations that are counted.
const COUNTED: u64 = 1_000;

/// Counts the heap allocations of one operation, over a thousand of them.
///
/// `build` makes the contestant and returns its batch runner, as for [`single`](crate::single).
///
/// # Panics
/// When run, if the program's allocator does not count.
#[must_use]
pub fn allocations<B, F>(build: B) -> Measure
where
    B: Fn() -> F + 'static,
    F: FnMut(u64) + 'static,
{
    figure(move || {
        let mut run = build();
        run(SETTLING);
        let counted = counting(|| testkit::allocations(|| run(COUNTED)));
        counted.allocations as f64 / COUNTED as f64
    })
}

/// Counts the bytes of heap for one key that a structure holds, as asked for: without what the
/// allocator adds.
///
/// `build` returns the structure and how many keys it holds.
///
/// # Panics
/// When run, if the program's allocator does not count.
#[must_use]
pub fn held<B, T>(build: B) -> Measure
where
    B: Fn() -> (T, usize) + 'static,
{
    figure(move || {
        counting(|| {
            let before = testkit::live_bytes();
            let (structure, keys) = build();
            let after = testkit::live_bytes();
            drop(structure);
            after.saturating_sub(before) as f64 / keys as f64
        })
    })
}
