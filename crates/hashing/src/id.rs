//! Ids that a table keeps.

use std::fmt;

/// The id of a node, kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(Box<[u8]>);

impl Id {
    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Id {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// As text if it is text and people read the format, else as bytes.
#[cfg(feature = "serde")]
mod serde {
    use std::fmt;

    use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
    use serde::ser::{Serialize, Serializer};

    use super::Id;

    impl Serialize for Id {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match std::str::from_utf8(&self.0) {
                Ok(text) if serializer.is_human_readable() => serializer.serialize_str(text),
                _ => serializer.serialize_bytes(&self.0),
            }
        }
    }

    impl<'de> Deserialize<'de> for Id {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            if deserializer.is_human_readable() {
                deserializer.deserialize_any(TextOrBytes)
            } else {
                deserializer.deserialize_byte_buf(TextOrBytes)
            }
        }
    }

    struct TextOrBytes;

    impl<'de> Visitor<'de> for TextOrBytes {
        type Value = Id;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the id of a node, as text or bytes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
            Ok(Id::from(text.as_bytes()))
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Id, E> {
            Ok(Id::from(bytes))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Id, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = sequence.next_element::<u8>()? {
                bytes.push(byte);
            }
            Ok(Id(bytes.into()))
        }
    }
}
