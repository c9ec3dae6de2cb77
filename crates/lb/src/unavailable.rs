use std::error::Error;
use std::fmt;

/// Why no endpoint was picked. Nothing was counted, and nothing waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unavailable {
    /// There is no endpoint, or none that takes anything new: their weights are 0, or the operator
    /// drains or disabled them.
    NoEndpoints,
    /// There are endpoints, none is healthy, and panic does not pick the others.
    AllUnhealthy,
    /// There are healthy endpoints, and each has as many calls in flight as it may.
    Overloaded,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoEndpoints => "no endpoint takes new calls",
            Self::AllUnhealthy => "no endpoint is healthy",
            Self::Overloaded => "each endpoint has as many calls in flight as it may",
        })
    }
}

impl Error for Unavailable {}
