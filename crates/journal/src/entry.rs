//! One entry of a segment: a record, or an acknowledgement.
//!
//! ```text
//!  0  head_crc     u32      crc32c of the salt and the rest of the head
//!  4  body_crc     u32      crc32c of the salt and the body
//!  8  body_len     u32
//! 12  kept         u32      nothing that crashes tears lies before this offset in the segment
//! 16  seq          u64      of the record, or the first one that is acknowledged
//! 24  kind         u8       1: a record, its bytes are the body
//!                           2: an acknowledgement, the body is the last one acknowledged (u64)
//! 25  body
//! ```
//!
//! The head has a checksum of its own, so that its length can be believed when the body is damaged,
//! and the next entry be looked for at a cost that no body can drive up.

use crate::header::{u32_at, u64_at};

pub(crate) const HEAD_LEN: usize = 25;
/// How long an acknowledgement is.
pub(crate) const ACK_LEN: usize = HEAD_LEN + 8;

const RECORD: u8 = 1;
const ACK: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    Record {
        seq: u64,
        bytes: &'a [u8],
    },
    /// All from the first to the last.
    Ack {
        first: u64,
        last: u64,
    },
}

/// A head whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    body_crc: u32,
    pub(crate) body_len: usize,
    pub(crate) kept: u32,
    seq: u64,
    kind: u8,
}

impl Entry<'_> {
    /// Writes the entry at the end of `to`.
    pub(crate) fn encode(&self, salt: u64, kept: u32, to: &mut Vec<u8>) {
        let last_bytes;
        let (kind, seq, body) = match *self {
            Self::Record { seq, bytes } => (RECORD, seq, bytes),
            Self::Ack { first, last } => {
                last_bytes = last.to_le_bytes();
                (ACK, first, &last_bytes[..])
            }
        };
        // A record is shorter than a segment, which is 2³⁰ bytes at most.
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut head = [0; HEAD_LEN];
        head[4..8].copy_from_slice(&salted(salt, body).to_le_bytes());
        head[8..12].copy_from_slice(&len.to_le_bytes());
        head[12..16].copy_from_slice(&kept.to_le_bytes());
        head[16..24].copy_from_slice(&seq.to_le_bytes());
        head[24] = kind;
        let crc = salted(salt, &head[4..]);
        head[..4].copy_from_slice(&crc.to_le_bytes());
        to.extend_from_slice(&head);
        to.extend_from_slice(body);
    }
}

impl Head {
    /// The head at the beginning of `bytes`, if it is one.
    pub(crate) fn decode(salt: u64, bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD_LEN] = bytes.first_chunk()?;
        if salted(salt, &head[4..]) != u32_at(head, 0) {
            return None;
        }
        Some(Self {
            body_crc: u32_at(head, 4),
            body_len: usize::try_from(u32_at(head, 8)).ok()?,
            kept: u32_at(head, 12),
            seq: u64_at(head, 16),
            kind: head[24],
        })
    }

    /// The entry that this head and `body` make; `None` if the body is not what was written, or
    /// means nothing.
    pub(crate) fn entry<'a>(&self, salt: u64, body: &'a [u8]) -> Option<Entry<'a>> {
        if salted(salt, body) != self.body_crc {
            return None;
        }
        match self.kind {
            RECORD => Some(Entry::Record {
                seq: self.seq,
                bytes: body,
            }),
            ACK if body.len() == 8 => Some(Entry::Ack {
                first: self.seq,
                last: u64_at(body, 0),
            }),
            _ => None,
        }
    }
}

fn salted(salt: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x0123_4567_89ab_cdef;

    fn decode(bytes: &[u8]) -> Option<Entry<'_>> {
        let head = Head::decode(SALT, bytes)?;
        head.entry(SALT, bytes.get(HEAD_LEN..)?.get(..head.body_len)?)
    }

    fn encoded(entry: Entry<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        entry.encode(SALT, 40, &mut bytes);
        bytes
    }

    #[test]
    fn the_bytes_are_frozen() {
        let bytes = encoded(Entry::Record {
            seq: 7,
            bytes: b"abc",
        });
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex[16..], *"0300000028000000070000000000000001616263");
        assert_eq!(salted(0, b""), crc32c::crc32c(&[0; 8]));
        // The check value of CRC-32C.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn what_is_written_is_read_and_no_flipped_bit_goes_unseen() {
        let entries = [
            Entry::Record {
                seq: 7,
                bytes: b"abc",
            },
            Entry::Record {
                seq: u64::MAX,
                bytes: b"",
            },
            Entry::Ack { first: 3, last: 9 },
        ];
        for entry in entries {
            let bytes = encoded(entry);
            assert_eq!(decode(&bytes), Some(entry));
            for bit in 0..8 * bytes.len() {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&bytes), None, "bit {bit} of {entry:?}");
            }
            for len in 0..bytes.len() {
                assert_eq!(decode(&bytes[..len]), None);
            }
        }
    }

    #[test]
    fn another_salt_reads_nothing() {
        let bytes = encoded(Entry::Ack { first: 3, last: 9 });
        assert_eq!(bytes.len(), ACK_LEN);
        assert!(Head::decode(SALT ^ 1, &bytes).is_none());
    }
}
