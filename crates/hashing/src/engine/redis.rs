//! CRC16, as Redis Cluster has it.

/// As many slots as a Redis Cluster has.
pub const REDIS_SLOTS: u16 = 16_384;

/// The slot of a Redis Cluster that `key` belongs to: its CRC16 modulo 16384.
///
/// If the key has a hash tag, that alone is hashed: what is between the first `{` and the first `}` behind
/// it, unless that is nothing. So keys of one tag are in one slot, and can be used in one command.
///
/// # Source
///
/// The Redis Cluster specification, "Key distribution model" and "Hash tags".
///
/// # Examples
///
/// ```
/// use stanchion_hashing::engine::redis_slot;
///
/// assert_eq!(redis_slot(b"foo"), 12_182);
/// assert_eq!(redis_slot(b"{user:1000}.cart"), redis_slot(b"{user:1000}.orders"));
/// ```
#[must_use]
pub fn redis_slot(key: &[u8]) -> u16 {
    crc16(hashed_part(key)) % REDIS_SLOTS
}

fn hashed_part(key: &[u8]) -> &[u8] {
    let position = |bytes: &[u8], wanted| bytes.iter().position(|&byte| byte == wanted);
    let tag = position(key, b'{').and_then(|open| {
        let behind = &key[open + 1..];
        Some(&behind[..position(behind, b'}')?])
    });
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// The variant XMODEM: polynomial 0x1021, from 0, bits in their order.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, &byte| {
        let [high, low] = crc.to_be_bytes();
        u16::from_be_bytes([low, 0]) ^ TABLE[usize::from(high ^ byte)]
    })
}

static TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u16;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a redis-server 7.0 answers `CLUSTER KEYSLOT`.
    #[test]
    fn slots_are_those_of_a_server() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        let long = "x".repeat(100);
        for (key, slot) in [
            ("", 0),
            ("foo", 12_182),
            ("bar", 5_061),
            ("hello", 866),
            ("123456789", 12_739),
            ("{user1000}.following", 3_443),
            ("foo{}{bar}", 8_363),
            ("foo{bar}{zap}", 5_061),
            ("foo{{bar}}zap", 4_015),
            ("}", 12_090),
            ("a{b", 13_340),
            ("日本", 10_949),
            (&long, 2_134),
        ] {
            assert_eq!(redis_slot(key.as_bytes()), slot, "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn the_table_does_what_the_polynomial_says(bytes: Vec<u8>) {
            let mut crc = 0_u32;
            for byte in &bytes {
                crc ^= u32::from(*byte) << 8;
                for _ in 0..8 {
                    crc <<= 1;
                    if crc & 0x1_0000 != 0 {
                        crc ^= 0x1_1021;
                    }
                }
            }
            prop_assert_eq!(u32::from(crc16(&bytes)), crc);
        }
    }
}
