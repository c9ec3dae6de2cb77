use std::error::Error;
use std::fmt;

use crate::discover::BoxError;

/// What is asked of DNS makes no sense: which field, its value, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDns {
    field: &'static str,
    value: String,
    allowed: String,
}

impl InvalidDns {
    pub(super) fn new(
        field: &'static str,
        value: impl fmt::Debug,
        allowed: impl Into<String>,
    ) -> Self {
        Self {
            field,
            value: format!("{value:?}"),
            allowed: allowed.into(),
        }
    }

    /// The field, named as the argument or as its method without `with_`.
    #[must_use]
    pub fn field(&self) -> &str {
        self.field
    }
}

impl fmt::Display for InvalidDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            value,
            allowed,
        } = self;
        write!(f, "{field} is {value}, must be {allowed}")
    }
}

impl Error for InvalidDns {}

/// Why DNS did not tell which endpoints there are; those that were found last stay.
#[derive(Debug)]
#[non_exhaustive]
pub enum DnsError {
    /// No server gave a usable answer: that there is no such name is one.
    Failed {
        /// What was asked for.
        name: String,
        /// Why not.
        source: BoxError,
    },
    /// There are more endpoints than are allowed.
    TooMany {
        /// What was asked for.
        name: String,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { name, .. } => write!(f, "looking up {name} failed"),
            Self::TooMany { name, found, max } => {
                write!(f, "{name} has {found} records, at most {max} are allowed")
            }
        }
    }
}

impl Error for DnsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed { source, .. } => Some(&**source),
            Self::TooMany { .. } => None,
        }
    }
}
