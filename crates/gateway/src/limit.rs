//! The limits of a route, as they run.

mod bucket;
mod key;
mod local;
mod passage;
mod refuse;
mod service;
#[cfg(feature = "redis")]
mod stores;
mod tiers;
#[cfg(feature = "redis")]
mod together;

use std::sync::Arc;

use stanchion_core::Clock;
use stanchion_ratelimit::http::TooManyRequests;
use stanchion_ratelimit::{Policy, Status};

use crate::build_error::BuildError;
use crate::config;
use crate::metrics::{LimitMetrics, Metrics};
use bucket::Bucket;
use refuse::Refuse;

pub(crate) use bucket::Unanswered;
pub(crate) use key::LimitKey;
pub(crate) use refuse::NO_KEY;
pub(crate) use service::LimitsLayer;
#[cfg(feature = "redis")]
pub(crate) use stores::{StoreThread, Stores, servers};
pub(crate) use tiers::{TierId, Tiers};

/// Stands for the key of requests without one, where these share a budget: no address, field or API
/// key is this.
const SHARED: &[u8] = b"\0";

/// What limits are made from, besides their configuration.
#[derive(Clone, Copy)]
pub(crate) struct Maker<'a> {
    pub(crate) metrics: &'a Metrics,
    pub(crate) clock: &'a Clock,
    pub(crate) tiers: &'a Tiers,
    #[cfg(feature = "redis")]
    pub(crate) stores: &'a Stores,
}

/// One limit of one route; clones share the buckets.
#[derive(Clone, Debug)]
pub(crate) struct Limit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: config::Limit,
    key: LimitKey,
    metrics: LimitMetrics,
    tiers: Tiers,
    /// First that of all who are in no tier with a policy of its own.
    grades: Box<[Grade]>,
    /// The grade of each tier.
    of_tiers: Box<[usize]>,
    /// Where one step on Redis decides on it and others.
    #[cfg(feature = "redis")]
    together: Option<together::Together>,
}

/// A policy of a limit, for one tier or for the rest.
#[derive(Debug)]
struct Grade {
    tier: Option<Arc<str>>,
    policy: Policy,
    bucket: Bucket,
    answer: TooManyRequests<Refuse>,
}

/// Where a key stands, by one policy of a limit.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) tier: Option<Arc<str>>,
    pub(crate) policy: Policy,
    pub(crate) status: Result<Status, Unanswered>,
}

impl Limit {
    /// The limits of a route, in the order of the configuration; those that were there `before` go on
    /// from what was counted.
    pub(crate) fn of_route(
        route: &config::Route,
        maker: Maker<'_>,
        before: &[Self],
    ) -> Result<Vec<Self>, BuildError> {
        #[cfg(feature = "redis")]
        let mut together = together::of_route(&route.id, &route.limits, maker, before)?.into_iter();
        let limits = route.limits.iter().map(|limit| {
            let mut before = before.iter();
            let before = before.find(|old| old.config().name == limit.name);
            Self::new(
                &route.id,
                limit,
                maker,
                before,
                #[cfg(feature = "redis")]
                together.next().flatten(),
            )
        });
        limits.collect()
    }

    /// A limit; where `before` is the same one, with the buckets of that. Where it has another
    /// policy, or place for other numbers of keys, it goes on from these.
    fn new(
        route: &str,
        config: &config::Limit,
        maker: Maker<'_>,
        before: Option<&Self>,
        #[cfg(feature = "redis")] together: Option<together::Together>,
    ) -> Result<Self, BuildError> {
        let same = before.filter(|before| before.0.config.counts_as(config));
        #[cfg(feature = "redis")]
        let same = same.filter(|same| same.0.together.is_none());
        // Whose keys mean the same.
        let before = before.filter(|before| before.0.config.by == config.by);
        let grade = |tier: Option<&Arc<str>>, policy: Policy| {
            let kept = same.and_then(|same| same.0.bucket(tier, Some(policy)));
            #[cfg(feature = "redis")]
            let shared = together.as_ref().map(|together| together.counted.clone());
            #[cfg(feature = "redis")]
            let kept = shared.map(Bucket::Redis).or(kept);
            let bucket = match kept {
                Some(bucket) => bucket,
                None => {
                    let before = before.and_then(|before| before.0.bucket(tier, None));
                    let tier = tier.map(|tier| &**tier);
                    Bucket::new(route, config, tier, policy, maker, before.as_ref())?
                }
            };
            Ok(Grade {
                tier: tier.cloned(),
                policy,
                bucket,
                answer: Refuse::answer(&config.name, policy),
            })
        };
        let common = [grade(None, config.policy)];
        let tiers = config.tiers.iter();
        let tiers = tiers.map(|(tier, policy)| grade(Some(tier), *policy));
        let grades = common.into_iter().chain(tiers);
        let grades = grades.collect::<Result<Box<[Grade]>, BuildError>>()?;
        let of_tiers = maker.tiers.names().map(|name| {
            let own = |grade: &Grade| grade.tier.as_deref() == Some(name);
            grades.iter().position(own).unwrap_or(0)
        });
        Ok(Self(Arc::new(Inner {
            key: LimitKey::new(&config.by),
            metrics: maker.metrics.limit(route, &config.name),
            tiers: maker.tiers.clone(),
            of_tiers: of_tiers.collect(),
            #[cfg(feature = "redis")]
            together,
            config: config.clone(),
            grades,
        })))
    }

    pub(crate) fn config(&self) -> &config::Limit {
        &self.0.config
    }

    /// Where a key stands, by each policy.
    pub(crate) async fn inspect(&self, key: &[u8]) -> Vec<Standing> {
        let mut standings = Vec::with_capacity(self.0.grades.len());
        for grade in &self.0.grades {
            standings.push(Standing {
                tier: grade.tier.clone(),
                policy: grade.policy,
                status: grade.bucket.peek(key).await,
            });
        }
        standings
    }

    /// Forgets what a key has used, by every policy.
    pub(crate) async fn reset(&self, key: &[u8]) -> Result<(), Unanswered> {
        for grade in &self.0.grades {
            grade.bucket.reset(key).await?;
        }
        Ok(())
    }

    /// The key that operators write as this.
    pub(crate) fn key_of(&self, text: &str) -> Option<Vec<u8>> {
        key::from_text(&self.0.config.by, text)
    }

    /// Requests that found no place for their key, and shared one.
    pub(crate) fn overflowed(&self) -> u64 {
        let grades = self.0.grades.iter();
        grades.map(|grade| grade.bucket.overflowed()).sum()
    }

    pub(crate) fn metrics(&self) -> &LimitMetrics {
        &self.0.metrics
    }
}

impl Inner {
    /// The bucket of a tier, if need be only by this policy.
    fn bucket(&self, tier: Option<&Arc<str>>, policy: Option<Policy>) -> Option<Bucket> {
        let mut grades = self.grades.iter();
        let same = |grade: &&Grade| {
            grade.tier.as_ref() == tier && policy.is_none_or(|policy| grade.policy == policy)
        };
        grades.find(same).map(|grade| grade.bucket.clone())
    }

    /// The policy for a client of this tier.
    fn grade(&self, tier: Option<TierId>) -> &Grade {
        let place = tier.map_or(0, |tier| self.of_tiers[tier.0]);
        &self.grades[place]
    }

    /// Whether it makes a difference who asks.
    fn needs_tier(&self) -> bool {
        self.grades.len() > 1 || self.config.listed_only
    }
}

impl config::Limit {
    /// Whether what was counted by this holds for another one.
    fn counts_as(&self, other: &Self) -> bool {
        let same = |limit: &Self| {
            let Self {
                name,
                by,
                keys_max,
                redis,
                ..
            } = limit.clone();
            (name, by, keys_max, redis)
        };
        same(self) == same(other)
    }
}
