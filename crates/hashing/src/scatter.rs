//! All numbers below a bound, in an order that belongs to a hash: whoever comes next where the nodes
//! that follow the owner are to be any, each with the same chance.

use crate::hash::pair_hash;

/// The numbers below a power of two, once each.
///
/// A permutation: each round adds, multiplies by an odd number and folds the upper half of the bits
/// into the lower, and each of these can be undone. (To go on by a fixed stride would be simpler, but
/// where the numbers that are passed over stand together, those at their ends would come too often.)
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scatter {
    rounds: [u64; ROUNDS],
    bits: u32,
    next: u32,
}

const ROUNDS: usize = 3;

impl Scatter {
    /// The numbers below 2 to the power of `bits`, which is at most 31.
    pub(crate) fn new(hash: u64, bits: u32) -> Self {
        // Any second numbers do, that no bucket has.
        let rounds = [u64::MAX, u64::MAX - 1, u64::MAX - 2];
        Self {
            rounds: rounds.map(|round| pair_hash(hash, round)),
            bits,
            next: 0,
        }
    }
}

impl Iterator for Scatter {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let end = 1 << self.bits;
        if self.next == end {
            return None;
        }
        let mut number = self.next;
        self.next += 1;
        for round in self.rounds {
            let [a, b, c, d, e, f, g, h] = round.to_le_bytes();
            let (sum, factor) = (
                u32::from_le_bytes([a, b, c, d]),
                u32::from_le_bytes([e, f, g, h]),
            );
            number = number.wrapping_add(sum).wrapping_mul(factor | 1) & (end - 1);
            number ^= number >> self.bits.div_ceil(2).max(1);
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_once() {
        for bits in 0..12 {
            let mut numbers: Vec<u32> = Scatter::new(u64::from(bits), bits).collect();
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..1 << bits));
        }
    }

    /// Whichever are passed over: a block at the end, as beyond a number of nodes, and one more.
    #[test]
    fn each_number_that_is_wanted_comes_first_as_often() {
        for (bits, wanted) in [(3, 5), (4, 10), (5, 17), (6, 60), (8, 9)] {
            for but in [0, wanted / 2, wanted - 1] {
                let mut first = vec![0_u32; 1 << bits];
                let hashes = 20_000;
                for hash in 0..hashes {
                    let mut numbers = Scatter::new(hash, bits);
                    let found = numbers.find(|number| *number < wanted && *number != but);
                    first[found.unwrap() as usize] += 1;
                }
                first.truncate(wanted as usize);
                first.remove(but as usize);
                let fair = hashes as f64 / f64::from(wanted - 1);
                let worst = first.iter().map(|&times| (f64::from(times) - fair).abs());
                let worst = worst.fold(0.0, f64::max) / fair.sqrt();
                assert!(
                    worst < 6.0,
                    "{worst} deviations for {wanted} of 2^{bits} but {but}"
                );
            }
        }
    }
}
