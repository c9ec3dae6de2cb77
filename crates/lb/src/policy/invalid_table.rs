use std::error::Error;
use std::fmt;

/// Endpoints of which a policy can make no table: at which priority, and why.
///
/// The reason of [`ConsistentHash`](super::ConsistentHash) is its [`source`](Error::source), a
/// [`stanchion_hashing::InvalidTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTable {
    priority: u8,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    Hashing(stanchion_hashing::InvalidTable),
    Other(String),
}

impl InvalidTable {
    /// Because of `why`, which names what is wrong, its value, and what is allowed.
    pub fn new(why: impl Into<String>) -> Self {
        Self::because(Why::Other(why.into()))
    }

    const fn because(why: Why) -> Self {
        Self { priority: 0, why }
    }

    pub(crate) fn at(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// The level whose endpoints they are.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.priority
    }
}

impl From<stanchion_hashing::InvalidTable> for InvalidTable {
    fn from(why: stanchion_hashing::InvalidTable) -> Self {
        Self::because(Why::Hashing(why))
    }
}

impl fmt::Display for InvalidTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the policy can make no table of the endpoints at priority {}",
            self.priority
        )?;
        match &self.why {
            // It is the source.
            Why::Hashing(_) => Ok(()),
            Why::Other(why) => write!(f, ": {why}"),
        }
    }
}

impl Error for InvalidTable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            Why::Hashing(why) => Some(why),
            Why::Other(_) => None,
        }
    }
}
