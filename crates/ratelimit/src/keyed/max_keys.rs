use std::error::Error;
use std::fmt;

/// The most keys that one limiter can be built for.
const MAX_KEYS: usize = 1 << 31;

/// A number of keys that no limiter can be built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidMaxKeys {
    max_keys: usize,
}

impl InvalidMaxKeys {
    pub(crate) fn unless_valid(max_keys: usize) -> Result<usize, Self> {
        match max_keys {
            1..=MAX_KEYS => Ok(max_keys),
            _ => Err(Self { max_keys }),
        }
    }
}

impl fmt::Display for InvalidMaxKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "max_keys is {}, must be from 1 to {MAX_KEYS}",
            self.max_keys
        )
    }
}

impl Error for InvalidMaxKeys {}
