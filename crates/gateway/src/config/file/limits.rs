//! The limits as they are written, with the tiers and the Redis servers that they name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use stanchion_ratelimit::{LeakyBucket, MissingKey, Policy, Quota};
use toml::Spanned;

use super::values::listed;
use super::{Reader, Written};
use crate::config::text::{Algorithm, FromText, KeyHash, Name, Text};
use crate::config::{LIMITS_MAX, Limit, LimitBy, Outage, Redis, RedisLimit, Tier};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitTable {
    name: Option<Written<Name>>,
    by: Spanned<Text<LimitBy>>,
    #[serde(default)]
    algorithm: Text<Algorithm>,
    rate: Spanned<String>,
    burst: Option<Spanned<u64>>,
    queue: Option<Spanned<u64>>,
    wait_max: Option<Written<Duration>>,
    #[serde(default)]
    tiers: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    listed_only: Option<Spanned<bool>>,
    #[serde(default)]
    missing: Missing,
    keys_max: Option<Spanned<usize>>,
    store: Option<Spanned<String>>,
    deadline: Option<Written<Duration>>,
    outage: Option<Spanned<Text<Outage>>>,
    instances: Option<Spanned<usize>>,
    lease: Option<Spanned<usize>>,
    lease_ttl: Option<Written<Duration>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missing {
    #[default]
    Refuse,
    Share,
    Pass,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TierTable {
    api_keys: Spanned<Vec<Spanned<Text<KeyHash>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedisTable {
    servers: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    cluster: bool,
}

/// The names that limits may use.
pub(super) struct Known {
    tiers: Vec<String>,
    redis: Vec<String>,
}

const TIERS_MAX: usize = 64;
const TIER_KEYS_MAX: usize = 100_000;
const REDIS_MAX: usize = 16;
const SERVERS_MAX: usize = 64;
const DEADLINE: Duration = Duration::from_millis(10);
/// What a call to Redis may last: longer, and it is no limiter's.
const DEADLINES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a request may be held up: longer, and its client has left.
const WAITS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);
const LEASE_TTL: Duration = Duration::from_millis(100);
const LEASE_TTLS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3_600);

impl Known {
    pub(super) fn new(tiers: &[Tier], redis: &[Redis]) -> Self {
        Self {
            tiers: tiers.iter().map(|tier| tier.name.to_string()).collect(),
            redis: redis.iter().map(|redis| redis.name.to_string()).collect(),
        }
    }
}

impl Reader<'_> {
    pub(super) fn tiers(&mut self, tables: BTreeMap<Spanned<String>, TierTable>) -> Vec<Tier> {
        let mut seen = HashMap::new();
        let mut tiers = Vec::with_capacity(tables.len());
        for (name, table) in tables {
            self.name(&name);
            if tiers.len() == TIERS_MAX {
                self.mistake(&name.span(), format!("there are at most {TIERS_MAX} tiers"));
            }
            let span = table.api_keys.span();
            let keys = table.api_keys.into_inner();
            self.count(&span, keys.len(), 0..=TIER_KEYS_MAX);
            let keys = keys.into_iter().map(|key| {
                let span = key.span();
                let hash = key.into_inner().0.0;
                self.unique(&mut seen, hash, &span, "this key");
                hash
            });
            tiers.push(Tier {
                keys: keys.collect(),
                name: name.into_inner().into(),
            });
        }
        tiers
    }

    pub(super) fn redis(&mut self, tables: BTreeMap<Spanned<String>, RedisTable>) -> Vec<Redis> {
        let mut all = Vec::with_capacity(tables.len());
        for (name, table) in tables {
            self.name(&name);
            if all.len() == REDIS_MAX {
                self.mistake(&name.span(), format!("at most {REDIS_MAX} are allowed"));
            }
            let span = table.servers.span();
            let servers = table.servers.into_inner();
            let most = if table.cluster { SERVERS_MAX } else { 1 };
            self.count(&span, servers.len(), 1..=most);
            let redis = Redis {
                name: name.get_ref().as_str().into(),
                servers: servers
                    .into_iter()
                    .map(|server| server.into_inner().into())
                    .collect(),
                cluster: table.cluster,
            };
            self.check_servers(&span, &redis);
            all.push(redis);
        }
        all
    }

    #[cfg(feature = "redis")]
    fn check_servers(&mut self, span: &Range<usize>, redis: &Redis) {
        if let Err(error) = crate::limit::servers(redis) {
            self.mistake(span, error.to_string());
        }
    }

    #[cfg(not(feature = "redis"))]
    fn check_servers(&mut self, span: &Range<usize>, _redis: &Redis) {
        let message = "this gateway was built without its feature \"redis\"";
        self.mistake(span, message.to_owned());
    }

    pub(super) fn limits(
        &mut self,
        tables: Vec<Spanned<LimitTable>>,
        route: &str,
        known: &Known,
    ) -> Vec<Limit> {
        let mut names = HashMap::new();
        let mut limits = Vec::with_capacity(tables.len());
        for (place, table) in tables.into_iter().enumerate() {
            let span = table.span();
            if place == LIMITS_MAX {
                self.mistake(&span, format!("a route has at most {LIMITS_MAX} limits"));
            }
            let limit = self.limit(table.into_inner(), &span, &mut names, known);
            self.check_on_redis(&span, route, &limit);
            limits.push(limit);
        }
        limits
    }

    fn limit(
        &mut self,
        mut table: LimitTable,
        span: &Range<usize>,
        names: &mut HashMap<Arc<str>, usize>,
        known: &Known,
    ) -> Limit {
        let redis = self.redis_limit(&mut table, known);
        let (by_span, by) = (table.by.span(), table.by.into_inner().0);
        let (name, name_span) = match table.name {
            Some(name) => (name.get_ref().0.0.clone(), name.span()),
            None => (by.to_string().into(), span.clone()),
        };
        let what = format!("the name {name:?}");
        self.unique(names, name.clone(), &name_span, &what);
        let algorithm = table.algorithm.0;
        let policy = self.policy(algorithm, &table.rate);
        let policy = self.with_burst(policy, table.burst);
        let policy = self.with_queue(policy, table.queue);
        let wait_max = self.wait_max(policy, table.wait_max);
        let tiers = table.tiers.into_iter().map(|(tier, rate)| {
            self.known(&tier, &known.tiers, "tier");
            (tier.into_inner().into(), self.policy(algorithm, &rate))
        });
        let tiers = tiers.collect();
        let listed_only = table.listed_only.is_some_and(|listed| {
            let listed = *listed.get_ref();
            if listed && by != LimitBy::ApiKey {
                let message = "true given, which is only for a limit by \"api-key\"";
                self.mistake(&by_span, format!("listed_only: {message}"));
            }
            listed
        });
        Limit {
            name,
            by,
            policy,
            tiers,
            listed_only,
            missing: match table.missing {
                Missing::Refuse => MissingKey::Refuse,
                Missing::Share => MissingKey::Share,
                Missing::Pass => MissingKey::Pass,
            },
            keys_max: self.number(table.keys_max, 100_000, 1..=100_000_000),
            wait_max,
            redis,
        }
    }

    /// A rate in the terms of an algorithm.
    fn policy(&mut self, algorithm: Algorithm, rate: &Spanned<String>) -> Policy {
        let text = format!("{algorithm} {}", rate.get_ref().trim());
        text.parse()
            .unwrap_or_else(|error: stanchion_ratelimit::InvalidQuota| {
                self.mistake(&rate.span(), error.to_string());
                stand_in()
            })
    }

    fn with_burst(&mut self, policy: Policy, burst: Option<Spanned<u64>>) -> Policy {
        let Some(burst) = burst else {
            return policy;
        };
        match policy {
            Policy::TokenBucket(quota) => match quota.with_burst(*burst.get_ref()) {
                Ok(quota) => return quota.into(),
                Err(error) => self.mistake(&burst.span(), error.to_string()),
            },
            _ => self.only_for(&burst.span(), "token-bucket", policy),
        }
        policy
    }

    fn with_queue(&mut self, policy: Policy, queue: Option<Spanned<u64>>) -> Policy {
        let Some(queue) = queue else {
            return policy;
        };
        match policy {
            Policy::LeakyBucket(bucket) => {
                let (count, period) = (bucket.count(), bucket.period());
                match LeakyBucket::new(count, period, *queue.get_ref()) {
                    Ok(bucket) => return bucket.into(),
                    Err(error) => self.mistake(&queue.span(), error.to_string()),
                }
            }
            _ => self.only_for(&queue.span(), "leaky-bucket", policy),
        }
        policy
    }

    fn wait_max(&mut self, policy: Policy, given: Option<Written<Duration>>) -> Option<Duration> {
        if let Policy::LeakyBucket(_) = policy {
            return Some(self.duration(given, WAIT_MAX, WAITS));
        }
        if let Some(given) = given {
            self.only_for(&given.span(), "leaky-bucket", policy);
        }
        None
    }

    fn only_for(&mut self, span: &Range<usize>, algorithm: &str, policy: Policy) {
        let given = policy.algorithm();
        let message = format!("given, which is only for a {algorithm}, and this is a {given}");
        self.mistake(span, message);
    }

    fn redis_limit(&mut self, table: &mut LimitTable, known: &Known) -> Option<RedisLimit> {
        let instances = table.instances.take();
        let lease = table.lease.take();
        let Some(store) = table.store.take() else {
            for span in [
                table.deadline.as_ref().map(Spanned::span),
                table.outage.as_ref().map(Spanned::span),
                instances.as_ref().map(Spanned::span),
                lease.as_ref().map(Spanned::span),
                table.lease_ttl.as_ref().map(Spanned::span),
            ]
            .into_iter()
            .flatten()
            {
                let message = "given, which is only for a limit with a store";
                self.mistake(&span, message.to_owned());
            }
            return None;
        };
        self.known(&store, &known.redis, "Redis");
        let outage = table.outage.as_ref();
        let outage_span = outage.map_or(store.span(), Spanned::span);
        let outage = outage.map_or_else(Outage::default, |outage| outage.get_ref().0);
        if outage == Outage::Local && instances.is_none() {
            let message =
                "\"local\" given, which needs instances: how many gateways share the limit";
            self.mistake(&outage_span, message.to_owned());
        }
        let instances = instances.map(|given| self.number(Some(given), 1, 1..=10_000));
        let lease = lease.map(|given| self.number(Some(given), 1, 1..=1_000_000_000));
        Some(RedisLimit {
            store: store.get_ref().as_str().into(),
            deadline: self.duration(table.deadline.take(), DEADLINE, DEADLINES),
            outage,
            instances: instances.map(|instances| u32::try_from(instances).unwrap_or(u32::MAX)),
            lease: lease.map(|lease| lease as u64),
            lease_ttl: self.duration(table.lease_ttl.take(), LEASE_TTL, LEASE_TTLS),
        })
    }

    #[cfg(feature = "redis")]
    fn check_on_redis(&mut self, span: &Range<usize>, route: &str, limit: &Limit) {
        let common = limit.on_redis(route, None, limit.policy);
        let tiers = limit
            .tiers
            .iter()
            .map(|(tier, policy)| limit.on_redis(route, Some(tier), *policy));
        for config in [common].into_iter().chain(tiers).flatten() {
            if let Err(error) = config.validate() {
                self.mistake(span, format!("in Redis, {error}"));
            }
        }
    }

    #[cfg(not(feature = "redis"))]
    #[expect(clippy::unused_self, reason = "the one with the feature uses it")]
    fn check_on_redis(&mut self, _span: &Range<usize>, _route: &str, _limit: &Limit) {}

    /// That a table has a name that can be used as one.
    pub(super) fn name(&mut self, name: &Spanned<String>) {
        if Name::from_text(name.get_ref()).is_none() {
            let message = format!("{:?} given, expected {}", name.get_ref(), Name::EXPECTED);
            self.mistake(&name.span(), message);
        }
    }

    /// That something of this name is there.
    fn known(&mut self, name: &Spanned<String>, known: &[String], what: &str) {
        if !known.contains(name.get_ref()) {
            let there = match known {
                [] => "there is none".to_owned(),
                known => format!("there are {}", listed(known)),
            };
            let message = format!("{:?} given, which is no {what}; {there}", name.get_ref());
            self.mistake(&name.span(), message);
        }
    }

    pub(super) fn count(
        &mut self,
        span: &Range<usize>,
        count: usize,
        allowed: RangeInclusive<usize>,
    ) {
        if !allowed.contains(&count) {
            let (low, high) = allowed.into_inner();
            let message = format!("{count} given, from {low} to {high} are allowed");
            self.mistake(span, message);
        }
    }
}

/// Goes on in the place of a policy that is wrong.
fn stand_in() -> Policy {
    let quota = Quota::new(1, Duration::from_secs(1));
    quota.expect("one a second is a quota").into()
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
