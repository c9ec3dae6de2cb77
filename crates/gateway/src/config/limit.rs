//! The limits of a route, the tiers of clients that they know, and where they are counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use serde::Serialize;
use stanchion_ratelimit::{MissingKey, Policy};
#[cfg(feature = "redis")]
use stanchion_ratelimit::{Outage as RedisOutage, RedisConfig, RedisLease};

use super::show;

/// The most limits on one route.
pub(crate) const LIMITS_MAX: usize = 4;

/// One limit on the requests of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Limit {
    /// The policy's name in fields, metrics and the log.
    #[serde(serialize_with = "show::name")]
    pub(crate) name: Arc<str>,
    pub(crate) by: LimitBy,
    /// Of clients that are in no tier with a policy of its own.
    #[serde(flatten, serialize_with = "show::policy")]
    pub(crate) policy: Policy,
    /// The policies of tiers, by their names.
    #[serde(serialize_with = "show::tiers")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tiers: BTreeMap<Arc<str>, Policy>,
    /// An API key that is in no tier is none.
    pub(crate) listed_only: bool,
    #[serde(serialize_with = "show::missing")]
    pub(crate) missing: MissingKey,
    /// Of each policy.
    pub(crate) keys_max: usize,
    /// How long a leaky bucket has a request wait.
    #[serde(serialize_with = "show::maybe_duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wait_max: Option<Duration>,
    /// Where it is counted, if not in this process.
    #[serde(flatten)]
    pub(crate) redis: Option<RedisLimit>,
}

/// Whose requests a limit counts together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LimitBy {
    Address,
    ApiKey,
    Header(HeaderName),
}

/// Clients that are known by their API keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Tier {
    #[serde(skip)]
    pub(crate) name: Arc<str>,
    /// The SHA-256 of each key; a key is in one tier at most.
    #[serde(rename = "api_keys", serialize_with = "show::hashes")]
    pub(crate) keys: Vec<[u8; 32]>,
}

/// A Redis that limits are counted in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Redis {
    #[serde(skip)]
    pub(crate) name: Arc<str>,
    /// One, or some nodes of a cluster.
    #[serde(serialize_with = "show::servers")]
    pub(crate) servers: Vec<Box<str>>,
    pub(crate) cluster: bool,
}

/// How a limit is counted in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RedisLimit {
    /// The name of the Redis.
    #[serde(serialize_with = "show::name")]
    pub(crate) store: Arc<str>,
    #[serde(serialize_with = "show::duration")]
    pub(crate) deadline: Duration,
    pub(crate) outage: Outage,
    /// How many gateways share the limit; what one of them admits alone is its share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instances: Option<u32>,
    /// How many permits are drawn at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<u64>,
    #[serde(serialize_with = "show::duration")]
    pub(crate) lease_ttl: Duration,
}

/// Who decides while Redis does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outage {
    /// Nobody: requests pass.
    #[default]
    Open,
    /// Nobody: requests are refused.
    Closed,
    /// This process, with its share.
    Local,
}

#[cfg(feature = "redis")]
impl Limit {
    /// What one policy of this limit is on Redis; `None` if it is counted in this process.
    pub(crate) fn on_redis(
        &self,
        route: &str,
        tier: Option<&str>,
        policy: Policy,
    ) -> Option<RedisConfig> {
        let mut prefix = format!("{route}/{}", self.name);
        if let Some(tier) = tier {
            prefix.push('/');
            prefix.push_str(tier);
        }
        self.with_redis(RedisConfig::new(&prefix, policy).named(&self.name))
    }

    /// What these limits are on Redis, where one step decides on all of them: they count by the same
    /// key, in the same way, and differ in their policies. `None` where it cannot.
    pub(crate) fn together_on_redis(route: &str, limits: &[&Self]) -> Option<RedisConfig> {
        let (first, others) = limits.split_first()?;
        let names: Vec<&str> = limits.iter().map(|limit| &*limit.name).collect();
        // No name has an @.
        let prefix = format!("{route}/{}", names.join("@"));
        let config = RedisConfig::new(&prefix, first.policy).named(&first.name);
        let config = others.iter().fold(config, |config, limit| {
            config.and(&limit.name, limit.policy)
        });
        let config = first.with_redis(config)?;
        config.validate().is_ok().then_some(config)
    }

    /// Whether one step on Redis could decide on both.
    pub(crate) fn goes_with(&self, other: &Self) -> bool {
        let alike = |limit: &Self| {
            let Self {
                by,
                listed_only,
                missing,
                keys_max,
                redis,
                ..
            } = limit.clone();
            (by, listed_only, missing, keys_max, redis)
        };
        let alone = |limit: &Self| limit.redis.is_none() || !limit.tiers.is_empty();
        // Two of the same policy would share one state.
        !alone(self) && !alone(other) && self.policy != other.policy && alike(self) == alike(other)
    }

    fn with_redis(&self, config: RedisConfig) -> Option<RedisConfig> {
        let redis = self.redis.as_ref()?;
        let config = config
            .with_deadline(redis.deadline)
            .on_outage(match redis.outage {
                Outage::Open => RedisOutage::Open,
                Outage::Closed => RedisOutage::Closed,
                Outage::Local => RedisOutage::Local {
                    instances: redis.instances.unwrap_or(1),
                    max_keys: self.keys_max,
                },
            });
        let lease = |batch| RedisLease::new(batch, redis.lease_ttl).with_max_keys(self.keys_max);
        Some(match redis.lease {
            None => config,
            Some(batch) => config.leased(lease(batch)),
        })
    }
}

impl fmt::Display for LimitBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::ApiKey => f.write_str("api-key"),
            Self::Header(name) => f.write_str(name.as_str()),
        }
    }
}
