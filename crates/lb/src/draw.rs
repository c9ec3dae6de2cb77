use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// Random bits for one pick: `SplitMix64` from a seed.
///
/// Good for spreading load, and for no secret.
#[derive(Clone, Debug)]
pub struct Draw {
    state: u64,
}

const WEYL: u64 = 0x9e37_79b9_7f4a_7c15;

impl Draw {
    /// The sequence that begins at `seed`.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A sequence of this thread, which has its own from its first draw on.
    #[inline]
    pub(crate) fn of_thread() -> Self {
        thread_local! {
            static SEED: Cell<u64> = const { Cell::new(0) };
        }
        let seed = SEED.get();
        // 0 marks a new thread; who comes by it again draws another seed, which harms nothing.
        let seed = if seed == 0 { first_seed() } else { seed };
        // A pick draws less often than this, so no two picks share a part of the sequence.
        SEED.set(seed.wrapping_add(WEYL.wrapping_mul(64)));
        Self::from_seed(seed)
    }

    /// 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        // Steele, Lea, Flood 2014: a Weyl sequence, mixed.
        self.state = self.state.wrapping_add(WEYL);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number less than `bound`, each as likely as another; 0 if `bound` is.
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        scale(self.bits(), bound)
    }
}

#[cold]
fn first_seed() -> u64 {
    RandomState::new().hash_one(WEYL) | 1
}

/// `bits` of 2⁶⁴, as a share of `bound`.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the upper half of a product with a usize is less than it"
)]
pub(crate) fn scale(bits: u64, bound: usize) -> usize {
    ((u128::from(bits) * bound as u128) >> 64) as usize
}
