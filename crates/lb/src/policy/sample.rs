//! Draws an index by weight in constant time.
//!
//! Each index owns a column of the same width. What of it its weight does not fill belongs to one
//! other index, its alias. A draw takes a column, then one of its two owners.
//!
//! Source: M. D. Vose, *A linear algorithm for generating random numbers with a given
//! distribution*, IEEE Transactions on Software Engineering 17 (1991), in whole numbers, so that
//! shares are exact.

use crate::Draw;
use crate::draw::scale;

#[derive(Debug)]
pub(super) enum Sampler {
    /// All weights are the same.
    Even(usize),
    Weighted {
        columns: Box<[Column]>,
        /// The sum of the weights: how much a column holds.
        width: u64,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// How much of it is its own index's.
    own: u64,
    alias: u32,
}

impl Sampler {
    pub(super) fn new(weights: impl ExactSizeIterator<Item = u32> + Clone) -> Self {
        let count = weights.len();
        let first = weights.clone().next();
        if weights.clone().all(|weight| Some(weight) == first) {
            return Self::Even(count);
        }
        let width: u64 = weights.clone().map(u64::from).sum();
        // With `count` columns of `width`, an index is owed `count` times its weight.
        let columns = weights.map(|weight| Column {
            own: u64::from(weight) * count as u64,
            alias: 0,
        });
        let mut columns: Box<[Column]> = columns.collect();
        fill(&mut columns, width);
        Self::Weighted { columns, width }
    }

    #[inline]
    pub(super) fn draw(&self, draw: &mut Draw) -> usize {
        match self {
            Self::Even(count) => draw.below(*count),
            Self::Weighted { columns, width } => {
                let index = draw.below(columns.len());
                let Some(column) = columns.get(index) else {
                    return index;
                };
                let point = (u128::from(draw.bits()) * u128::from(*width)) >> 64;
                if point < u128::from(column.own) {
                    index
                } else {
                    column.alias as usize
                }
            }
        }
    }

    /// Two different indices of at least two.
    #[inline]
    pub(super) fn draw_two(&self, draw: &mut Draw) -> (usize, usize) {
        match self {
            Self::Even(count) => even_pair(*count, draw),
            Self::Weighted { columns, .. } => self.draw_two_by_weight(columns.len(), draw),
        }
    }

    #[inline(never)]
    fn draw_two_by_weight(&self, count: usize, draw: &mut Draw) -> (usize, usize) {
        let first = self.draw(draw);
        for _ in 0..4 {
            let second = self.draw(draw);
            if second != first {
                return (first, second);
            }
        }
        // One holds nearly all of the weight: any other will do.
        let second = draw.below(count - 1);
        (first, second + usize::from(second >= first))
    }
}

/// Two different indices of `count`, which are at least two, each pair as likely as another.
#[inline]
pub(super) fn even_pair(count: usize, draw: &mut Draw) -> (usize, usize) {
    let bits = draw.bits();
    // Counts are far below 2³², so half of the bits is enough for each.
    let first = scale(bits, count);
    let second = scale(bits << 32, count - 1);
    (first, second + usize::from(second >= first))
}

/// Gives what columns lack to those that have too much, one by one.
fn fill(columns: &mut [Column], width: u64) {
    let indices = 0..u32::try_from(columns.len()).unwrap_or(u32::MAX);
    let (mut poor, mut rich): (Vec<u32>, Vec<u32>) =
        indices.partition(|&index| columns[index as usize].own < width);
    while let (Some(low), Some(&high)) = (poor.pop(), rich.last()) {
        let lack = width - columns[low as usize].own;
        columns[low as usize].alias = high;
        let left = &mut columns[high as usize].own;
        *left -= lack;
        if *left < width {
            rich.pop();
            poor.push(high);
        }
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How much of all columns each index owns.
    fn shares(sampler: &Sampler) -> Vec<u64> {
        let Sampler::Weighted { columns, width } = sampler else {
            panic!("weights differ")
        };
        let mut shares = vec![0; columns.len()];
        for (index, column) in columns.iter().enumerate() {
            let own = column.own.min(*width);
            shares[index] += own;
            shares[column.alias as usize] += width - own;
        }
        shares
    }

    proptest! {
        #[test]
        fn shares_are_exact(weights in proptest::collection::vec(1u32..=65_535, 2..50)) {
            prop_assume!(weights.iter().any(|weight| *weight != weights[0]));
            let sampler = Sampler::new(weights.iter().copied());
            let count = weights.len() as u64;
            let owed: Vec<u64> = weights.iter().map(|&weight| u64::from(weight) * count).collect();
            prop_assert_eq!(shares(&sampler), owed);
        }

        #[test]
        fn two_draws_differ(weights in proptest::collection::vec(1u32..=1000, 2..20), seed: u64) {
            let sampler = Sampler::new(weights.iter().copied());
            let mut draw = Draw::from_seed(seed);
            for _ in 0..100 {
                let (first, second) = sampler.draw_two(&mut draw);
                prop_assert!(first != second);
                prop_assert!(first.max(second) < weights.len());
            }
        }
    }

    #[test]
    fn even_pairs_are_even() {
        let sampler = Sampler::new([7u32; 5].into_iter());
        let mut draw = Draw::from_seed(1);
        let mut counts = [[0u32; 5]; 5];
        for _ in 0..20_000 {
            let (first, second) = sampler.draw_two(&mut draw);
            counts[first][second] += 1;
        }
        for (first, row) in counts.iter().enumerate() {
            for (second, &count) in row.iter().enumerate() {
                // 1000 expected; 6 standard deviations are 185.
                let expected = if first == second { 0..=0 } else { 815..=1185 };
                assert!(expected.contains(&count), "{first} {second}: {count}");
            }
        }
    }
}
