//! The frozen functions: everything that a table decides rests on these three.

use xxhash_rust::xxh3::xxh3_64;

/// The version of the functions by which keys and nodes are placed.
///
/// Two processes that both have version 1 send equal keys over equal nodes to the same owner,
/// whatever their platform and release. The number changes if a placement ever does.
pub const HASH_VERSION: u32 = 1;

/// The hash of a key, for [`ConsistentHash::owner`](crate::ConsistentHash::owner): XXH3-64 with
/// seed 0 of exactly these bytes.
///
/// Frozen: part of [`HASH_VERSION`]. It is no secret; who chooses keys can choose where they go.
///
/// # Examples
///
/// ```
/// use stanchion_hashing::key_hash;
///
/// assert_eq!(key_hash(b"user:1000"), 0xfb68_41b2_068c_0c9f);
/// ```
#[must_use]
#[inline]
pub fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The hash of a node's id: XXH3-64 with seed 0, as for keys.
pub(crate) fn node_hash(id: &[u8]) -> u64 {
    xxh3_64(id)
}

/// One number of two: XXH3-64 of both as 8 little-endian bytes each.
///
/// XXH3 takes a seed, too, but for inputs of few bytes seeds differ as the bytes do: the ids `a01` and
/// `a02` would share most of their points.
#[inline]
pub(crate) fn pair_hash(first: u64, second: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hashed_as_version_1_has_it() {
        assert_eq!(HASH_VERSION, 1);
        for (key, hash) in [
            ("", 0x2d06_8005_38d3_94c2),
            ("a", 0xe6c6_32b6_1e96_4e1f),
            ("abc", 0x78af_5f94_892f_3950),
        ] {
            assert_eq!(key_hash(key.as_bytes()), hash, "{key:?}");
        }
    }
}
