//! The hash of a key, with secrets that are drawn when the limiter is built.
//!
//! Numbers go through multilinear hashing: each has a secret 128-bit multiplier by its position,
//! and the upper half of the sum is the hash. For any two different keys, whoever chose them
//! without knowing the secrets, the chance that they collide is 2⁻⁶⁴; and it takes a handful of
//! instructions, so that a processor can work on several keys at once. Bytes, and what follows
//! them, go through SipHash, whose result is one more number.
//!
//! Source: D. Lemire, O. Kaser, *Strongly universal string hashing is fast*, The Computer Journal
//! 57 (2014), section 3; J.-P. Aumasson, D. J. Bernstein, *SipHash* (2012).

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

/// Numbers at the front of a key that have a multiplier of their own; the others go through SipHash.
const NUMBERS: usize = 6;

#[derive(Clone, Debug)]
pub(crate) struct KeyHash {
    sip: RandomState,
    offset: u128,
    multipliers: [u128; NUMBERS],
    sip_multiplier: u128,
}

impl KeyHash {
    pub(crate) fn new() -> Self {
        // SipHash under a random key is a pseudo-random function: its values are the secrets.
        let random = RandomState::new();
        let secret = |index: usize| {
            let half = |low: bool| u128::from(random.hash_one((index, low)));
            (half(false) << 64) | half(true)
        };
        Self {
            sip: RandomState::new(),
            offset: secret(NUMBERS),
            multipliers: std::array::from_fn(secret),
            sip_multiplier: secret(NUMBERS + 1),
        }
    }

    #[inline]
    pub(crate) fn hash<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        let mut hasher = KeyHasher {
            secrets: self,
            sum: self.offset,
            numbers: 0,
            bytes: None,
        };
        key.hash(&mut hasher);
        hasher.finish()
    }
}

/// What stands for the key of requests that have none: bytes that no string or slice writes, since they
/// write where they end, too.
pub(super) struct NoKey;

impl Hash for NoKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(b"no key");
    }
}

struct KeyHasher<'a> {
    secrets: &'a KeyHash,
    sum: u128,
    numbers: usize,
    bytes: Option<DefaultHasher>,
}

impl KeyHasher<'_> {
    #[inline]
    fn number(&mut self, number: u64) {
        let multiplier = match &self.bytes {
            None => self.secrets.multipliers.get(self.numbers),
            // Between bytes a number may say where a string ends: its place counts.
            Some(_) => None,
        };
        match multiplier {
            Some(multiplier) => {
                let product = multiplier.wrapping_mul(u128::from(number));
                self.sum = self.sum.wrapping_add(product);
                self.numbers += 1;
            }
            None => self.bytes().write_u64(number),
        }
    }

    fn bytes(&mut self) -> &mut DefaultHasher {
        self.bytes
            .get_or_insert_with(|| self.secrets.sip.build_hasher())
    }
}

impl Hasher for KeyHasher<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.bytes().write(bytes);
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.number(number.into());
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.number(number.into());
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.number(number.into());
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.number(number);
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the upper half follows")]
    fn write_u128(&mut self, number: u128) {
        self.number(number as u64);
        self.number((number >> 64) as u64);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.number(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        let sum = match &self.bytes {
            None => self.sum,
            Some(bytes) => {
                let product = self
                    .secrets
                    .sip_multiplier
                    .wrapping_mul(u128::from(bytes.finish()));
                self.sum.wrapping_add(product)
            }
        };
        let hash = (sum >> 64) as u64;
        // Numbers in a row give hashes in a row of equal steps; this one-to-one mix scatters them.
        let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^ (hash >> 32)
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use std::collections::HashSet;
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn different_keys_have_different_hashes() {
        let hash = KeyHash::new();
        let mut seen = HashSet::new();
        for number in 0_u64..10_000 {
            assert!(seen.insert(hash.hash(&number)));
            assert!(seen.insert(hash.hash(&(number + 10_000, number))));
            assert!(seen.insert(hash.hash(&number.to_string())));
            assert!(seen.insert(hash.hash(&[number; 9])));
            let [.., third, fourth] = number.to_be_bytes();
            assert!(seen.insert(hash.hash(&IpAddr::from([1, 2, third, fourth]))));
        }
    }

    /// The byte that ends a string was hashed as a number, apart from the strings' bytes: where the
    /// first of two strings ended did not count, and one client could spend another's bucket.
    #[test]
    fn where_one_string_ends_and_the_next_begins_counts() {
        let hash = KeyHash::new();
        assert_ne!(hash.hash(&("ab", "c")), hash.hash(&("a", "bc")));
        assert_ne!(hash.hash(&("ab", "")), hash.hash(&("", "ab")));
        assert_ne!(hash.hash(&("a", 1_u8, "b")), hash.hash(&("ab", 1_u8, "")));
        assert_ne!(hash.hash(&(1, "a", 2, "b")), hash.hash(&(1, "ab", 2, "")));
        assert_ne!(hash.hash(&["ab", "c"][..]), hash.hash(&["a", "bc"][..]));
    }

    #[test]
    fn every_number_of_a_long_key_counts() {
        let hash = KeyHash::new();
        let key = [7_u128; 5];
        let whole = |key: [u128; 5]| {
            let parts = (key[0], key[1], key[2], key[3], key[4]);
            hash.hash(&parts)
        };
        for place in 0..5 {
            for bit in 0..128 {
                let mut other = key;
                other[place] ^= 1 << bit;
                assert_ne!(whole(key), whole(other), "bit {bit} of number {place}");
            }
        }
    }

    /// Whatever the step between the keys, they spread over the lines of a table.
    #[test]
    fn keys_in_a_row_are_scattered() {
        for step in [
            1_u64,
            2,
            3,
            256,
            65_536,
            1 << 32,
            1 << 40,
            0x1_0001,
            u64::MAX / 3,
        ] {
            let hash = KeyHash::new();
            let mut lines = [0_u32; 1_024];
            for index in 0..65_536_u64 {
                lines[(hash.hash(&index.wrapping_mul(step)) >> 54) as usize] += 1;
            }
            // 64 each on average, with a standard deviation of 8.
            assert!(
                lines.iter().all(|count| (8..160).contains(count)),
                "step {step}"
            );
        }
    }

    #[test]
    fn two_limiters_hash_differently() {
        let (one, other) = (KeyHash::new(), KeyHash::new());
        assert_ne!(one.hash(&1_u64), other.hash(&1_u64));
        assert_ne!(one.hash("a"), other.hash("a"));
    }
}
