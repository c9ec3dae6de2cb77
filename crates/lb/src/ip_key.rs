use std::net::IpAddr;

use stanchion_hashing::key_hash;

use crate::policy::InvalidPolicy;

/// Hashes a client's address, for [`PickContext::with_hash`](crate::PickContext::with_hash): with
/// [`ConsistentHash`](crate::policy::ConsistentHash) calls of one network go to one endpoint.
///
/// Only the leading bits count: of IPv4 24 and of IPv6 64 by default, since a client may come by another
/// address of the same network next time, and owns all of an IPv6 network. An IPv4 address that is
/// written as IPv6 (`::ffff:192.0.2.1`) counts as IPv4.
///
/// Behind a proxy, the peer's address is the proxy's: find out the client's first, from a header that
/// only trusted proxies write.
///
/// The hash is frozen: [`key_hash`] of the masked address, 4 or 16 bytes in network order, and a byte
/// with the prefix.
///
/// # Examples
///
/// ```
/// use stanchion_lb::IpKey;
///
/// let key = IpKey::new();
/// let hash = |text: &str| key.hash(text.parse().unwrap());
/// assert_eq!(hash("192.0.2.1"), hash("192.0.2.77"));
/// assert_eq!(hash("192.0.2.1"), hash("::ffff:192.0.2.1"));
/// assert_ne!(hash("192.0.2.1"), hash("192.0.3.1"));
/// assert_eq!(hash("2001:db8::1"), hash("2001:db8::2:3:4:5"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpKey {
    v4_prefix: u8,
    v6_prefix: u8,
}

impl IpKey {
    /// The first 24 bits of IPv4, as in nginx's `ip_hash`, and 64 of IPv6.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            v4_prefix: 24,
            v6_prefix: 64,
        }
    }

    /// So many leading bits of an IPv4 address. Default: 24.
    ///
    /// # Errors
    ///
    /// If `bits` is not from 1 to 32.
    pub fn with_v4_prefix(mut self, bits: u8) -> Result<Self, InvalidPolicy> {
        if !(1..=32).contains(&bits) {
            return Err(InvalidPolicy::new("v4_prefix", bits, "from 1 to 32"));
        }
        self.v4_prefix = bits;
        Ok(self)
    }

    /// So many leading bits of an IPv6 address. Default: 64.
    ///
    /// # Errors
    ///
    /// If `bits` is not from 1 to 128.
    pub fn with_v6_prefix(mut self, bits: u8) -> Result<Self, InvalidPolicy> {
        if !(1..=128).contains(&bits) {
            return Err(InvalidPolicy::new("v6_prefix", bits, "from 1 to 128"));
        }
        self.v6_prefix = bits;
        Ok(self)
    }

    /// The hash of the network that `ip` is in.
    #[must_use]
    pub fn hash(&self, ip: IpAddr) -> u64 {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let masked = ip.to_bits() & (u32::MAX << (32 - u32::from(self.v4_prefix)));
                let [a, b, c, d] = masked.to_be_bytes();
                key_hash(&[a, b, c, d, self.v4_prefix])
            }
            IpAddr::V6(ip) => {
                let masked = ip.to_bits() & (u128::MAX << (128 - u32::from(self.v6_prefix)));
                let mut bytes = [self.v6_prefix; 17];
                bytes[..16].copy_from_slice(&masked.to_be_bytes());
                key_hash(&bytes)
            }
        }
    }
}

impl Default for IpKey {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    /// Frozen: these may never change.
    #[test]
    fn hashes_are_those_of_all_releases() {
        let hash = |ip: &str| IpKey::new().hash(ip.parse().unwrap());
        assert_eq!(hash("192.0.2.1"), 0xec8b_9217_4d4a_2cce);
        assert_eq!(hash("2001:db8::1"), 0xe9be_d99d_8a23_2646);
    }

    #[test]
    fn prefixes_decide_what_counts() {
        let hash = |key: IpKey, ip: &str| key.hash(ip.parse().unwrap());
        let whole = IpKey::new()
            .with_v4_prefix(32)
            .unwrap()
            .with_v6_prefix(128)
            .unwrap();
        assert_ne!(hash(whole, "192.0.2.1"), hash(whole, "192.0.2.2"));
        assert_ne!(hash(whole, "2001:db8::1"), hash(whole, "2001:db8::2"));
        let wide = IpKey::new().with_v6_prefix(56).unwrap();
        assert_eq!(hash(wide, "2001:db8:1:2::"), hash(wide, "2001:db8:1:3::"));
        assert_ne!(
            hash(IpKey::new(), "2001:db8:1:2::"),
            hash(IpKey::new(), "2001:db8:1:3::")
        );
        for bits in [0, 33] {
            let error = IpKey::new().with_v4_prefix(bits).unwrap_err().to_string();
            assert_eq!(error, format!("v4_prefix is {bits}, must be from 1 to 32"));
        }
        assert!(IpKey::new().with_v6_prefix(129).is_err());
    }
}
