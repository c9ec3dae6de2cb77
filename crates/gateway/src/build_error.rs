use std::error::Error;
use std::fmt;

use stanchion_breaker::InvalidConfig;
use stanchion_lb::InvalidEndpoints;
use stanchion_ratelimit::InvalidMaxKeys;
#[cfg(feature = "redis")]
use stanchion_ratelimit::{InvalidRedisConfig, InvalidServers};

/// A limit, or a breaker, that cannot be made. Of a configuration that was read there is none, but for
/// want of threads.
#[derive(Debug)]
pub(crate) enum BuildError {
    MaxKeys(InvalidMaxKeys),
    Breaker(InvalidConfig),
    Balancer(InvalidEndpoints),
    Balancing(stanchion_lb::InvalidConfig),
    #[cfg(feature = "redis")]
    Redis(InvalidRedisConfig),
    #[cfg(feature = "redis")]
    Servers(InvalidServers),
    #[cfg(feature = "redis")]
    Runtime(std::io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxKeys(error) => error.fmt(f),
            Self::Breaker(error) => error.fmt(f),
            Self::Balancer(error) => error.fmt(f),
            Self::Balancing(error) => error.fmt(f),
            #[cfg(feature = "redis")]
            Self::Redis(error) => error.fmt(f),
            #[cfg(feature = "redis")]
            Self::Servers(error) => error.fmt(f),
            #[cfg(feature = "redis")]
            Self::Runtime(error) => write!(f, "cannot start the thread for Redis: {error}"),
        }
    }
}

impl Error for BuildError {}
