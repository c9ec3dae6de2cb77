use std::error::Error;
use std::fmt;

use super::EndpointId;
use crate::policy::InvalidTable;

/// A set of endpoints that a balancer cannot take; it keeps the one that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidEndpoints {
    /// Two endpoints have this id.
    Duplicate(EndpointId),
    /// There are so many, more than [`ENDPOINTS_MAX`](crate::ENDPOINTS_MAX).
    TooMany(usize),
    /// The policy can make no table of them.
    Table(InvalidTable),
}

impl From<InvalidTable> for InvalidEndpoints {
    fn from(invalid: InvalidTable) -> Self {
        Self::Table(invalid)
    }
}

impl fmt::Display for InvalidEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(id) => write!(f, "two endpoints have the id {:?}", id.as_str()),
            Self::TooMany(count) => write!(
                f,
                "{count} endpoints, at most {} are allowed",
                crate::ENDPOINTS_MAX
            ),
            Self::Table(invalid) => invalid.fmt(f),
        }
    }
}

impl Error for InvalidEndpoints {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Table(invalid) => invalid.source(),
            Self::Duplicate(_) | Self::TooMany(_) => None,
        }
    }
}
