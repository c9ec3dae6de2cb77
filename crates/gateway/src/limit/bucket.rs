//! Where one policy of a limit is counted.

use std::error::Error;
use std::fmt;

#[cfg(feature = "redis")]
use stanchion_ratelimit::{Event, RedisRateLimiter};
use stanchion_ratelimit::{Policy, Status};

use super::Maker;
use super::local::Local;
use crate::build_error::BuildError;
use crate::config;

/// The buckets of all keys, by one policy; clones share.
#[derive(Clone, Debug)]
pub(super) enum Bucket {
    /// In this process.
    Local(Local),
    #[cfg(feature = "redis")]
    Redis(OnRedis),
}

/// One limit of a limiter on Redis.
#[cfg(feature = "redis")]
#[derive(Clone, Debug)]
pub(super) struct OnRedis {
    pub(super) limiter: RedisRateLimiter,
    /// Which of the limiter's limits this is.
    pub(super) place: usize,
}

/// Redis did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered;

impl Bucket {
    /// Empty, but for what was used of `before`, whose place it takes.
    pub(super) fn new(
        route: &str,
        config: &config::Limit,
        tier: Option<&str>,
        policy: Policy,
        maker: Maker<'_>,
        before: Option<&Self>,
    ) -> Result<Self, BuildError> {
        #[cfg(feature = "redis")]
        if let Some(redis) = config.on_redis(route, tier, policy)
            && let Some(store) = config.redis.as_ref().map(|redis| &redis.store)
            && let Some(store) = maker.stores.find(store)
        {
            let metrics = maker.metrics.limit(route, &config.name);
            let count = move |event: &Event| {
                if matches!(event, Event::FellBack) {
                    metrics.fell_back();
                }
            };
            let limiter = RedisRateLimiter::new(store, redis).map_err(BuildError::Redis)?;
            let limiter = limiter.with_observer(count);
            return Ok(Self::Redis(OnRedis { limiter, place: 0 }));
        }
        #[cfg(not(feature = "redis"))]
        let _ = (route, tier);
        let before = match before {
            Some(Self::Local(before)) => Some(before),
            _ => None,
        };
        let local = Local::new(policy, config.keys_max, maker.clock, before);
        local.map(Self::Local).map_err(BuildError::MaxKeys)
    }

    /// Gives one permit of `key` back, of those that are counted in this process.
    pub(super) fn refund(&self, key: &[u8]) {
        match self {
            Self::Local(limiter) => limiter.refund(key),
            #[cfg(feature = "redis")]
            Self::Redis(_) => {}
        }
    }

    /// Where `key` stands.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "Redis is waited for")
    )]
    pub(super) async fn peek(&self, key: &[u8]) -> Result<Status, Unanswered> {
        match self {
            Self::Local(limiter) => Ok(limiter.peek(key)),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => {
                let statuses = redis.limiter.peek(key).await.map_err(|_| Unanswered)?;
                statuses.get(redis.place).copied().ok_or(Unanswered)
            }
        }
    }

    /// Forgets what `key` has used.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "Redis is waited for")
    )]
    pub(super) async fn reset(&self, key: &[u8]) -> Result<(), Unanswered> {
        match self {
            Self::Local(limiter) => {
                limiter.reset(key);
                Ok(())
            }
            #[cfg(feature = "redis")]
            Self::Redis(OnRedis { limiter, place }) => {
                let limit = limiter.config().limit_names().nth(*place);
                let reset = limiter.reset_limit(key, limit.unwrap_or_default()).await;
                reset.map(drop).map_err(|_| Unanswered)
            }
        }
    }

    /// Requests that found no place for their key, and shared one.
    pub(super) fn overflowed(&self) -> u64 {
        match self {
            Self::Local(limiter) => limiter.overflowed(),
            #[cfg(feature = "redis")]
            Self::Redis(_) => 0,
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store of this limit did not answer in time")
    }
}

impl Error for Unanswered {}
