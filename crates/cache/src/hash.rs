//! One 64-bit hash of a key, and which of its bits decide what.
//!
//! | bits | decide |
//! |---|---|
//! | 63–58 | the shard |
//! | 41–32 | whether the key is in the tuner's sample |
//! | 31–0 | the place in the shard's table, and what policies remember the key by |

use std::hash::{BuildHasher, Hash};

/// The most shards that a cache has.
pub(crate) const SHARDS_MAX: usize = 64;

/// The most that a sample is thinned out: one key of this many.
pub(crate) const THINNING_MAX: usize = 1024;

/// The hash of `key`, with every bit as good as any other even if the hasher's are not.
#[inline]
pub(crate) fn hash<Q: Hash + ?Sized>(hasher: &impl BuildHasher, key: &Q) -> u64 {
    let product = u128::from(hasher.hash_one(key)) * 0x9E37_79B9_7F4A_7C15;
    fold(product)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves are what is wanted"
)]
#[inline]
const fn fold(product: u128) -> u64 {
    product as u64 ^ (product >> 64) as u64
}

/// The shard of `hash` among `shards`, a power of two.
#[inline]
pub(crate) const fn shard(hash: u64, shards: usize) -> usize {
    (hash >> 58) as usize & (shards - 1)
}

/// Whether `hash` is in the sample of keys that have none of the bits of `mask`.
#[inline]
pub(crate) const fn is_sampled(hash: u64, mask: u32) -> bool {
    (hash >> 32) & mask as u64 == 0
}

/// The part by which shards and policies know the key.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
#[inline]
pub(crate) const fn short(hash: u64) -> u32 {
    hash as u32
}

/// A short hash with its bits spread over 64, as a hash table and a sketch need them.
#[inline]
pub(crate) const fn spread(short: u32) -> u64 {
    (short as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, Hasher};

    use super::*;

    /// A hasher that hands the number through.
    #[derive(Default)]
    struct Identity(u64);

    impl Hasher for Identity {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, _bytes: &[u8]) {}
        fn write_u64(&mut self, number: u64) {
            self.0 = number;
        }
    }

    #[test]
    fn dense_numbers_reach_all_shards_and_the_sample_under_a_poor_hasher() {
        let hasher = BuildHasherDefault::<Identity>::default();
        let mut by_shard = [0_u32; SHARDS_MAX];
        let mut sampled = 0;
        for key in 0..64_000_u64 {
            let hash = hash(&hasher, &key);
            by_shard[shard(hash, SHARDS_MAX)] += 1;
            sampled += u32::from(is_sampled(hash, 63));
        }
        assert!(by_shard.iter().all(|keys| (850..1150).contains(keys)));
        assert!((900..1100).contains(&sampled), "{sampled}");
    }
}
