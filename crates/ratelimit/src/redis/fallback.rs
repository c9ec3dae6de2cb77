//! What decides while Redis does not.

use stanchion_core::Clock;

use super::Outage;
use super::config::{InvalidRedisConfig, Limit};
use super::terms::Terms;
use crate::{KeyedRateLimiter, RateLimiter, Rejected, Status};

pub(super) enum Fallback {
    Open,
    Closed,
    Local(Vec<Local>),
}

/// This instance's share of one limit.
pub(super) enum Local {
    Keyed(KeyedRateLimiter<[u8]>),
    Shared(RateLimiter),
}

impl Fallback {
    pub(super) fn new(
        outage: Outage,
        limits: &[Limit],
        terms: &[Terms],
        clock: &Clock,
    ) -> Result<Self, InvalidRedisConfig> {
        let Outage::Local {
            instances,
            max_keys,
        } = outage
        else {
            return Ok(match outage {
                Outage::Closed => Self::Closed,
                _ => Self::Open,
            });
        };
        let local = |(limit, terms): (&Limit, &Terms)| {
            let share = terms.share(instances).map_err(|error| {
                let allowed = format!("at least 1, and each share a quota ({error})");
                InvalidRedisConfig::new("instances", instances.to_string(), allowed)
            })?;
            if limit.shared {
                return Ok(Local::Shared(
                    RateLimiter::new(share).with_clock(clock.clone()),
                ));
            }
            let keyed = KeyedRateLimiter::new(share, max_keys).map_err(|_| {
                InvalidRedisConfig::new("max_keys", max_keys.to_string(), "from 1 to 2³¹")
            })?;
            Ok(Local::Keyed(keyed.with_clock(clock.clone())))
        };
        let limits = limits.iter().zip(terms);
        limits.map(local).collect::<Result<_, _>>().map(Self::Local)
    }

    /// Takes what Redis has admitted, so that an outage does not begin with full buckets.
    pub(super) fn keep_warm(&self, key: &[u8], cost: u64) {
        if let Self::Local(limits) = self {
            for limit in limits {
                // One that has not as much left is empty enough.
                let _ = limit.check_n(key, cost);
            }
        }
    }

    pub(super) fn decide(&self, key: &[u8], cost: u64) -> Result<Option<Status>, Rejected> {
        match self {
            Self::Open => Ok(None),
            Self::Closed => Err(Rejected::unavailable(cost)),
            Self::Local(limits) => {
                // Who is refused by one has taken from none, unless another came in between.
                for limit in limits {
                    if limit.peek(key).remaining() < cost {
                        limit.check_n(key, cost)?;
                    }
                }
                let mut tightest = None;
                for limit in limits {
                    tightest = super::tighter(tightest, limit.check_n(key, cost)?);
                }
                Ok(tightest)
            }
        }
    }
}

impl Local {
    fn peek(&self, key: &[u8]) -> Status {
        match self {
            Self::Keyed(limiter) => limiter.peek(key),
            Self::Shared(limiter) => limiter.peek(),
        }
    }

    fn check_n(&self, key: &[u8], cost: u64) -> Result<Status, Rejected> {
        match self {
            Self::Keyed(limiter) => limiter.check_n(key, cost),
            Self::Shared(limiter) => limiter.check_n(cost),
        }
    }
}
