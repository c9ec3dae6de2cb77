//! The states of the keys, in the table that the policy asks for.

use std::sync::Arc;

use stanchion_core::{Clock, Instant};

use super::states::{Placed, States};
use super::table::Table;
use super::uniform::{Uniform, uniform};
use super::when_full::WhenFull;
use crate::gcra::Gcra;
use crate::token_bucket::TokenBucket;
use crate::{Policy, Quota, Status};

/// Tells the quota of a key.
type QuotaOf<K> = dyn Fn(&K) -> Option<Quota> + Send + Sync;

/// The states of the keys, by how they are limited.
pub(super) enum Keys<K: ?Sized> {
    /// One quota for all, without a lock.
    Buckets {
        policy: Policy,
        gcra: Gcra,
        table: Table,
    },
    /// Another algorithm with the same numbers for all.
    Uniform(Box<dyn Uniform>),
    /// A quota by key.
    PerKey {
        common: Quota,
        quota_of: Arc<QuotaOf<K>>,
        states: States<TokenBucket>,
    },
}

impl<K: ?Sized> Keys<K> {
    /// The states of up to `max_keys` keys under one policy.
    pub(super) fn of(policy: Policy, max_keys: usize) -> Self {
        match policy {
            policy @ Policy::TokenBucket(quota) => Self::Buckets {
                policy,
                gcra: Gcra::new(&quota),
                table: Table::new(max_keys),
            },
            policy @ Policy::LeakyBucket(bucket) => Self::Buckets {
                policy,
                gcra: Gcra::leaky(&bucket),
                table: Table::new(max_keys),
            },
            Policy::FixedWindow(window) => Self::Uniform(uniform(window, max_keys)),
            Policy::SlidingWindowCounter(window) => Self::Uniform(uniform(window, max_keys)),
            Policy::SlidingWindowLog(window) => Self::Uniform(uniform(window, max_keys)),
            Policy::StrictWindow(window) => Self::Uniform(uniform(window, max_keys)),
        }
    }

    /// The states of up to `max_keys` keys, each under the quota that is told for it.
    pub(super) fn by_key(common: Quota, quota_of: Arc<QuotaOf<K>>, max_keys: usize) -> Self {
        Self::PerKey {
            common,
            quota_of,
            states: States::new(max_keys, &TokenBucket::new(common)),
        }
    }

    /// The same with nothing used.
    #[cfg(feature = "tower")]
    pub(super) fn anew(&self, max_keys: usize) -> Self {
        match self {
            Self::PerKey {
                common, quota_of, ..
            } => Self::by_key(*common, quota_of.clone(), max_keys),
            Self::Buckets { .. } | Self::Uniform(_) => Self::of(self.policy(), max_keys),
        }
    }

    /// What is common to all keys without a quota of their own.
    pub(super) fn policy(&self) -> Policy {
        match self {
            Self::Buckets { policy, .. } => *policy,
            Self::Uniform(uniform) => uniform.policy(),
            Self::PerKey { common, .. } => (*common).into(),
        }
    }

    /// What `key` is told to have for its own.
    pub(super) fn own(&self, key: &K) -> Option<Quota> {
        match self {
            Self::PerKey { quota_of, .. } => quota_of(key),
            Self::Buckets { .. } | Self::Uniform(_) => None,
        }
    }

    /// `key` is `None` for requests that have none.
    pub(super) fn check(
        &self,
        key: Option<&K>,
        hash: u64,
        clock: &Clock,
        cost: u64,
        when_full: WhenFull,
    ) -> Placed<Status> {
        match self {
            Self::Buckets { gcra, table, .. } => {
                let decision = table.check(gcra, hash, || clock.now(), cost, when_full);
                (decision.into_result(gcra, cost), decision.place)
            }
            Self::Uniform(uniform) => uniform.check(hash, clock, cost, when_full),
            Self::PerKey { common, states, .. } => {
                let own = key.and_then(|key| self.own(key)).unwrap_or(*common);
                let (own, common) = (TokenBucket::new(own), TokenBucket::new(*common));
                states.check((&own, &common), hash, || clock.now(), cost, when_full)
            }
        }
    }

    pub(super) fn peek(&self, key: &K, hash: u64, now: Instant) -> Status {
        match self {
            Self::Buckets { gcra, table, .. } => Status::new(*gcra, table.peek(gcra, hash, now)),
            Self::Uniform(uniform) => uniform.peek(hash, now),
            Self::PerKey { common, states, .. } => {
                let own = TokenBucket::new(self.own(key).unwrap_or(*common));
                states.peek(&own, hash, now)
            }
        }
    }

    pub(super) fn reset(&self, hash: u64, now: Instant) {
        match self {
            Self::Buckets { gcra, table, .. } => table.reset(gcra, hash, now),
            Self::Uniform(uniform) => uniform.reset(hash),
            Self::PerKey { common, states, .. } => states.reset(&TokenBucket::new(*common), hash),
        }
    }

    /// Counts the keys that have used something.
    pub(super) fn live(&self, now: Instant) -> usize {
        match self {
            Self::Buckets { gcra, table, .. } => table.live(gcra, now),
            Self::Uniform(uniform) => uniform.live(now),
            Self::PerKey { states, .. } => states.live(now),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Buckets { table, .. } => table.bytes(),
            Self::Uniform(uniform) => uniform.bytes(),
            Self::PerKey { states, .. } => states.bytes(),
        }
    }
}
