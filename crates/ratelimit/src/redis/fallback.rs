//! What decides while Redis does not.

use stanchion_core::Clock;

use super::Outage;
use super::config::{InvalidRedisConfig, Limit};
use super::granted::{Granted, Refusal};
use super::terms::Terms;
use crate::{CompositeLimit, CompositeRateLimiter, InvalidMaxKeys, Quota};

pub(super) enum Fallback {
    Open,
    Closed,
    /// This instance's share of each limit.
    Local(CompositeRateLimiter<[u8]>),
}

impl Fallback {
    /// Whether [`new`](Self::new) would do; builds nothing.
    pub(super) fn check(outage: Outage, terms: &[Terms]) -> Result<(), InvalidRedisConfig> {
        if let Outage::Local {
            instances,
            max_keys,
        } = outage
        {
            for terms in terms {
                share(terms, instances)?;
            }
            InvalidMaxKeys::unless_valid(max_keys).map_err(|_| too_many(max_keys))?;
        }
        Ok(())
    }

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
            let share = share(terms, instances)?;
            Ok(if limit.shared {
                CompositeLimit::shared(&limit.name, share)
            } else {
                CompositeLimit::bytes(&limit.name, share.into(), max_keys)
            })
        };
        let limits = limits.iter().zip(terms).map(local);
        let limits: Vec<_> = limits.collect::<Result<_, _>>()?;
        // Their number and their names have been checked.
        let shares = CompositeRateLimiter::new(limits).map_err(|_| too_many(max_keys))?;
        Ok(Self::Local(shares.with_clock(clock.clone())))
    }

    /// Takes what Redis has admitted, so that an outage does not begin with full buckets.
    pub(super) fn keep_warm(&self, key: &[u8], cost: u64) {
        if let Self::Local(shares) = self {
            // One that has not as much left is empty enough.
            shares.take_from_each(key, cost);
        }
    }

    /// Decides by all limits, or takes from none.
    pub(super) fn decide(&self, key: &[u8], cost: u64) -> Result<Granted, Refusal> {
        match self {
            Self::Open => Ok(Granted::Uncounted),
            Self::Closed => Err(Refusal::unavailable(cost)),
            Self::Local(shares) => match shares.decide(key, cost) {
                Ok(standings) => Ok(Granted::Share(standings.iter().collect())),
                Err(refused) => Err(refused.into_refusal()),
            },
        }
    }

    /// Gives back what was taken here, or was kept warm.
    pub(super) fn refund(&self, key: &[u8], cost: u64) {
        if let Self::Local(shares) = self {
            shares.refund(key, cost);
        }
    }
}

fn share(terms: &Terms, instances: u32) -> Result<Quota, InvalidRedisConfig> {
    terms.share(instances).map_err(|error| {
        let allowed = format!("at least 1, and each share a quota ({error})");
        InvalidRedisConfig::new("instances", instances.to_string(), allowed)
    })
}

fn too_many(max_keys: usize) -> InvalidRedisConfig {
    InvalidRedisConfig::new("max_keys", max_keys.to_string(), "from 1 to 2³¹")
}
