//! The head of a segment.
//!
//! ```text
//!  0  magic        8 bytes  "STANCHJ\n"
//!  8  version      u32      1; numbers are little-endian
//! 12  number       u64      of the segment, as in the name of its file; one more than its predecessor's
//! 20  first_seq    u64      of the first record in it, or of the next one appended if it has none
//! 28  salt         u64      random: begins all checksums in the segment
//! 36  crc32c       u32      of the above
//! ```

pub(crate) const LEN: usize = 40;

const MAGIC: [u8; 8] = *b"STANCHJ\n";
const VERSION: u32 = 1;

/// Beyond this no honest journal comes, and sums of numbers do not overflow.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: u64,
    pub(crate) first_seq: u64,
    /// What a record holds cannot pass for a record: its writer does not know the salt. And what
    /// another segment left on the disk does not either.
    pub(crate) salt: u64,
}

/// Why the head of a segment cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Damaged,
    /// It is whole, and of a version that is not known here.
    Version(u32),
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.number.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes: &[u8; LEN] = bytes.first_chunk().ok_or(BadHeader::Damaged)?;
        let whole = crc32c::crc32c(&bytes[..36]) == u32_at(bytes, 36);
        if bytes[..8] != MAGIC || !whole {
            return Err(BadHeader::Damaged);
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(BadHeader::Version(version));
        }
        let header = Self {
            number: u64_at(bytes, 12),
            first_seq: u64_at(bytes, 20),
            salt: u64_at(bytes, 28),
        };
        if header.number.max(header.first_seq) > NUMBER_MAX {
            return Err(BadHeader::Damaged);
        }
        Ok(header)
    }
}

/// The number that stands `at` there; what is beyond the end counts as 0.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..).and_then(<[u8]>::first_chunk);
    u32::from_le_bytes(four.copied().unwrap_or_default())
}

/// As [`u32_at`].
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..).and_then(<[u8]>::first_chunk);
    u64::from_le_bytes(eight.copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        number: 3,
        first_seq: 0x1122_3344,
        salt: 0x0123_4567_89ab_cdef,
    };

    #[test]
    fn the_bytes_are_frozen() {
        let expected = "5354414e43484a0a 01000000 0300000000000000 4433221100000000 \
                        efcdab8967452301";
        let bytes = HEADER.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex[..72], expected.replace(' ', ""));
        assert_eq!(Header::decode(&bytes), Ok(HEADER));
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        for bit in 0..8 * LEN {
            let mut bytes = HEADER.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), Err(BadHeader::Damaged), "bit {bit}");
        }
        assert_eq!(
            Header::decode(&HEADER.encode()[..39]),
            Err(BadHeader::Damaged)
        );
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = HEADER.encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(BadHeader::Version(2)));
    }

    #[test]
    fn numbers_that_would_overflow_are_damage() {
        let number = NUMBER_MAX + 1;
        let header = Header { number, ..HEADER };
        assert_eq!(Header::decode(&header.encode()), Err(BadHeader::Damaged));
    }
}
