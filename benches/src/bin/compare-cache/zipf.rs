//! Keys drawn by a Zipf law.

use std::sync::Arc;

use stanchion_benches::Random;

pub(crate) const EXPONENT: f64 = 0.99;
const DRAWS: usize = 1 << 20;
const SEED: u64 = 0x7A69_7066;

/// A million keys below `keys`, key `r` as often as `1 / (r + 1)^0.99`.
pub(crate) fn draws(keys: usize) -> Arc<[u64]> {
    let mut sum = 0.0;
    let mut below: Vec<f64> = Vec::with_capacity(keys);
    for rank in 1..=keys {
        sum += (rank as f64).powf(-EXPONENT);
        below.push(sum);
    }
    let mut random = Random::new(SEED);
    let mut draw = || {
        let at = random.unit() * sum;
        below.partition_point(|upto| *upto < at) as u64
    };
    (0..DRAWS).map(|_| draw()).collect()
}
