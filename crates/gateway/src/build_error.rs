use std::error::Error;
use std::fmt;

use crate::affinity::InvalidSecret;
use stanchion_breaker::InvalidConfig;
use stanchion_lb::InvalidEndpoints;
use stanchion_ratelimit::InvalidMaxKeys;
#[cfg(feature = "redis")]
use stanchion_ratelimit::{InvalidRedisConfig, InvalidServers};

/// Something that cannot be made. Of a configuration that was read there is nothing of that kind, but for
/// want of a thread or of a secret.
#[derive(Debug)]
pub(crate) enum BuildError {
    MaxKeys(InvalidMaxKeys),
    Breaker(InvalidConfig),
    Balancer(InvalidEndpoints),
    Balancing(stanchion_lb::InvalidConfig),
    Policy(stanchion_lb::policy::InvalidPolicy),
    Secret(InvalidSecret),
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
            Self::Policy(error) => error.fmt(f),
            Self::Secret(error) => error.fmt(f),
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
