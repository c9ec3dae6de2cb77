//! Names of keys in Redis: frozen, since they outlive the process and are shared by versions.
//!
//! ```text
//! {api:anna}:1:gcra-1-10000-20        prefix, key, version of the format, the limit's own terms
//! {api}:anna:1:gcra-1-10000-20        in one slot
//! {api:~ba78…15ad}:1:gcra-1-10000-20  a long key, by its SHA-256
//! ```
//!
//! What stands in braces decides the slot in a cluster. Bytes of the key other than letters,
//! digits and `-._@/` are written as `%` and two capital hexadecimal digits, so no key can
//! close the braces, and different keys have different names. Names longer than [`ESCAPED_MAX`] are
//! hashed.
//!
//! The terms stand in the name, so that state which was written for another quota is not read
//! with this one: a changed quota begins with full buckets.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::terms::Terms;

/// Of the layout of names and states.
const VERSION: u32 = 1;
/// Escaped keys longer than this are hashed.
const ESCAPED_MAX: usize = 128;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Whether keys of one limiter spread over a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// Each key in a slot of its own.
    Slots,
    /// All in the slot of the prefix.
    OneSlot,
}

/// What names of one limiter begin with.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    spread: Spread,
}

/// The names of one key's limits, all in one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// What decides the slot.
    tag: String,
    /// The key, where the tag does not hold it.
    key: String,
}

impl Names {
    /// `prefix` has been checked by [`valid_prefix`].
    pub(super) fn new(prefix: &str, spread: Spread) -> Self {
        Self {
            prefix: prefix.to_owned(),
            spread,
        }
    }

    pub(super) fn name(&self, key: &[u8]) -> Name {
        let key = escaped(key);
        match self.spread {
            Spread::Slots => Name {
                tag: [&self.prefix, ":", &key].concat(),
                key: String::new(),
            },
            Spread::OneSlot => Name {
                tag: self.prefix.clone(),
                key: format!(":{key}"),
            },
        }
    }

    /// The name of what all keys share; only in one slot does it lie with them.
    pub(super) fn shared(&self) -> Name {
        Name {
            tag: self.prefix.clone(),
            key: String::new(),
        }
    }
}

impl Name {
    /// The name of the state of the limit whose names end so.
    pub(super) fn of(&self, ending: &str) -> String {
        ["{", &self.tag, "}", &self.key, ending].concat()
    }

    /// The slot of a cluster that all these names lie in.
    pub(super) fn slot(&self) -> u16 {
        crc16(self.tag.as_bytes()) % 16_384
    }
}

/// What the names of a limit with these terms end in.
pub(super) fn ending(terms: &Terms) -> String {
    let ([a, b, c], kind) = (terms.numbers(), terms.kind());
    format!(":{VERSION}:{kind}-{a}-{b}-{c}")
}

/// A prefix is 1 to 64 bytes of what stands in names as it is.
pub(super) fn valid_prefix(prefix: &str) -> bool {
    (1..=64).contains(&prefix.len()) && prefix.bytes().all(plain)
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._@/".contains(&byte)
}

fn escaped(key: &[u8]) -> String {
    let mut escaped = String::with_capacity(key.len());
    for &byte in key {
        if plain(byte) {
            escaped.push(char::from(byte));
        } else {
            let digit = |four: u8| char::from(HEX[usize::from(four)]);
            escaped.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
        if escaped.len() > ESCAPED_MAX {
            return hashed(key);
        }
    }
    escaped
}

/// `~` begins no escaped key.
fn hashed(key: &[u8]) -> String {
    let mut name = String::from("~");
    for byte in Sha256::digest(key) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// CRC-16/XMODEM, by which Redis Cluster finds the slot of a key.
///
/// Source: Redis Cluster specification, appendix A.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |crc, byte| {
        let mut crc = crc ^ (u16::from(*byte) << 8);
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms::new("token-bucket 100/s burst 20".parse().unwrap()).unwrap()
    }

    fn named(key: &[u8]) -> String {
        Names::new("api", Spread::Slots)
            .name(key)
            .of(&ending(&terms()))
    }

    /// These names are in use: a change here forgets the state of every limit.
    #[test]
    fn names_are_frozen() {
        for (key, name) in [
            ("anna", "{api:anna}:1:gcra-1-10000-20"),
            ("", "{api:}:1:gcra-1-10000-20"),
            ("2001:db8::1", "{api:2001%3Adb8%3A%3A1}:1:gcra-1-10000-20"),
            ("a}{b%~", "{api:a%7D%7Bb%25%7E}:1:gcra-1-10000-20"),
            ("\u{e9}", "{api:%C3%A9}:1:gcra-1-10000-20"),
        ] {
            assert_eq!(named(key.as_bytes()), name);
        }
        // The one-million-`a` vector of SHA-256 (FIPS 180-4, examples).
        assert_eq!(
            named(&b"a".repeat(1_000_000)),
            "{api:~cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0}\
             :1:gcra-1-10000-20"
        );
        let one_slot = Names::new("api", Spread::OneSlot);
        assert_eq!(
            one_slot.name(b"anna").of(&ending(&terms())),
            "{api}:anna:1:gcra-1-10000-20"
        );
        assert_eq!(
            one_slot.shared().of(&ending(&terms())),
            "{api}:1:gcra-1-10000-20"
        );
    }

    #[test]
    fn names_are_bounded_and_different_for_different_keys() {
        let keys: Vec<Vec<u8>> = vec![
            b"a".repeat(128),
            b"a".repeat(129),
            b"a".repeat(130),
            b"%".repeat(42),
            b"%".repeat(43),
            vec![0; 1_000],
            hashed(&b"a".repeat(129)).into_bytes(),
        ];
        let names: std::collections::HashSet<_> = keys.iter().map(|key| named(key)).collect();
        assert_eq!(names.len(), keys.len());
        assert!(names.iter().all(|name| name.len() < 200));
    }

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        let slot = |prefix: &str| Names::new(prefix, Spread::OneSlot).name(b"any").slot();
        // As `CLUSTER KEYSLOT` tells.
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("somekey"), 11_058);
    }

    #[test]
    fn prefixes_are_short_and_plain() {
        assert!(valid_prefix("api/v1.2_x-y@z"));
        for prefix in ["", "a b", "a:b", "{a}", "\u{e9}", &"a".repeat(65)] {
            assert!(!valid_prefix(prefix), "{prefix:?}");
        }
    }
}
