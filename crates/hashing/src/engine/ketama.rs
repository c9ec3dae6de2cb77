//! Keys on the rings of libketama and nginx.

use md5::{Digest, Md5};

use crate::ring::widened;

/// Where `key` is on the ring of [`Ring::libketama`](crate::Ring::libketama): the first 32 bits of its
/// MD5, little-endian, in the upper half.
///
/// Needs feature `ketama`.
///
/// # Examples
///
/// ```
/// use stanchion_hashing::engine::libketama_hash;
///
/// assert_eq!(libketama_hash(b"0") >> 32, 2_216_742_351);
/// ```
#[must_use]
pub fn libketama_hash(key: &[u8]) -> u64 {
    let digest: [u8; 16] = Md5::digest(key).into();
    let [a, b, c, d, ..] = digest;
    widened(u32::from_le_bytes([a, b, c, d]))
}

/// Where `key` is on the ring of [`Ring::nginx`](crate::Ring::nginx): its CRC32, in the upper half.
///
/// Needs feature `ketama`.
///
/// # Examples
///
/// ```
/// use stanchion_hashing::engine::nginx_hash;
///
/// assert_eq!(nginx_hash(b"123456789") >> 32, 0xcbf4_3926);
/// ```
#[must_use]
pub fn nginx_hash(key: &[u8]) -> u64 {
    widened(crc32fast::hash(key))
}
