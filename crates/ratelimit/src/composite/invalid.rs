use std::error::Error;
use std::fmt;

use super::LIMITS_MAX;
use crate::keyed::InvalidMaxKeys;

/// A set of limits that makes no sense; its message names what is wrong and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidComposite {
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Count(usize),
    Name(String),
    Twice(String),
    MaxKeys(String, InvalidMaxKeys),
}

impl InvalidComposite {
    pub(super) fn count(count: usize) -> Self {
        Self {
            problem: Problem::Count(count),
        }
    }

    pub(super) fn twice(name: &str) -> Self {
        Self {
            problem: Problem::Twice(name.to_owned()),
        }
    }

    pub(super) fn max_keys(name: &str, invalid: InvalidMaxKeys) -> Self {
        Self {
            problem: Problem::MaxKeys(name.to_owned(), invalid),
        }
    }

    /// A name that a field of HTTP can carry too.
    pub(super) fn unless_name(name: &str) -> Result<(), Self> {
        if !is_name(name) {
            return Err(Self {
                problem: Problem::Name(name.to_owned()),
            });
        }
        Ok(())
    }
}

/// Whether a field of HTTP can carry this name of a limit, too.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    !name.is_empty() && name.bytes().all(allowed)
}

impl fmt::Display for InvalidComposite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Count(count) => {
                write!(f, "limits are {count}, must be from 1 to {LIMITS_MAX}")
            }
            Problem::Name(name) => write!(
                f,
                "name is {name:?}, must be printable ASCII without quotes and backslashes"
            ),
            Problem::Twice(name) => write!(f, "name is {name:?} twice, names must differ"),
            Problem::MaxKeys(name, _) => write!(f, "limit {name:?} has an invalid number of keys"),
        }
    }
}

impl Error for InvalidComposite {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.problem {
            Problem::MaxKeys(_, invalid) => Some(invalid),
            _ => None,
        }
    }
}
