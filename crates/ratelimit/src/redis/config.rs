//! What a limiter on Redis is told once.

#[cfg(feature = "serde")]
mod serde;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::fallback::Fallback;
use super::terms::Terms;
use crate::Policy;
use crate::composite::is_name;

/// How a limiter on Redis limits, how long it waits, and what it does when Redis is away.
///
/// All instances that share a limit give it the same prefix and the same quotas. With other quotas
/// they count apart, so while a change is rolled out the old and the new instances together may
/// admit both quotas.
///
/// It is checked when a [`RedisRateLimiter`](crate::RedisRateLimiter) is built with it.
///
/// With feature `serde` it is read from a file, as a table:
///
/// ```toml
/// prefix = "api"
/// limits = [{ policy = "100/s" }, { name = "daily", policy = "100000/d" }]  # up to 8; also: shared
/// one_slot = false
/// deadline = "10ms"
/// lease = { batch = 50, ttl = "100ms", ahead = 4, max_keys = 10000 }        # default: none
/// refusals = 1000                                                           # default: none
/// outage = { local = { instances = 3, max_keys = 10000 } }                  # "open" or "closed"
/// ```
///
/// All but `prefix` and `limits` may be left out.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_ratelimit::{Outage, Quota, RedisConfig, RedisLease};
///
/// // Two limits on each key, both or neither; 50 permits at a time are spent in this process.
/// let config = RedisConfig::new("api", "100/s".parse::<Quota>()?)
///     .and("daily", "100000/d".parse::<Quota>()?)
///     .with_deadline(Duration::from_millis(5))
///     .leased(RedisLease::new(50, Duration::from_millis(100)))
///     .on_outage(Outage::Local { instances: 3, max_keys: 10_000 });
/// # Ok::<(), stanchion_ratelimit::InvalidQuota>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(::serde::Deserialize, ::serde::Serialize))]
#[cfg_attr(
    feature = "serde",
    serde(try_from = "serde::ConfigTable", into = "serde::ConfigTable")
)]
#[must_use = "a configuration does nothing until a limiter is built with it"]
pub struct RedisConfig {
    pub(super) prefix: String,
    pub(super) limits: Vec<Limit>,
    pub(super) one_slot: bool,
    pub(super) deadline: Duration,
    pub(super) lease: Option<RedisLease>,
    /// How many keys' refusals are remembered.
    pub(super) refusals: Option<usize>,
    pub(super) outage: Outage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) name: String,
    pub(super) policy: Policy,
    /// All keys together have one.
    pub(super) shared: bool,
}

/// Permits drawn a batch at a time, and spent without asking Redis.
///
/// What is drawn counts as spent in Redis at once. So in any stretch of time the instances together
/// admit more than the quota by no more than they had drawn before: of each instance one `batch` of a
/// key, and up to four ([`drawing_ahead`](Self::drawing_ahead)) of one that is used faster than batches
/// come.
/// Unspent permits lapse when the `ttl` of the last draw is over, so less may be admitted where
/// keys are rarely used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisLease {
    pub(super) batch: u64,
    /// Batches that a busy key may hold, where that is said.
    pub(super) ahead: Option<u64>,
    pub(super) ttl: Duration,
    pub(super) max_keys: usize,
}

/// Batches that a busy key may hold, where it is not said, and the smallest limit has room for them.
const AHEAD: u64 = 4;

impl RedisLease {
    /// Draws up to `batch` permits of a key, from 1 to the smallest burst or limit, to be spent within `ttl`.
    #[must_use]
    pub const fn new(batch: u64, ttl: Duration) -> Self {
        Self {
            batch,
            ahead: None,
            ttl,
            max_keys: 10_000,
        }
    }

    /// Lets a key that is used faster than batches come hold up to `batches` of them, so that nobody
    /// waits for a round trip: from 1, and together at most the smallest burst or limit. Default: 4, or
    /// as many as that has room for.
    ///
    /// A key begins with one batch. That doubles each time that it ran out before the next draw was
    /// answered, and it is one batch again once permits lapsed unspent.
    #[must_use]
    pub const fn drawing_ahead(mut self, batches: u64) -> Self {
        self.ahead = Some(batches);
        self
    }

    /// The most permits that a key may hold, where the smallest limit is `limit`.
    pub(super) fn stock_max(&self, limit: u64) -> u64 {
        let room = (limit / self.batch.max(1)).max(1);
        let ahead = self.ahead.unwrap_or(AHEAD.min(room));
        self.batch.saturating_mul(ahead)
    }

    /// How many keys may hold permits at once; others ask Redis on each call. Default: 10,000. A key
    /// takes some 200 bytes.
    #[must_use]
    pub const fn with_max_keys(mut self, max_keys: usize) -> Self {
        self.max_keys = max_keys;
        self
    }
}

/// What becomes of a request on which Redis does not decide in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(::serde::Deserialize, ::serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Outage {
    /// It is admitted, uncounted: nobody is locked out, and nothing is limited.
    #[default]
    Open,
    /// It is refused, with [`Reason::Unavailable`](crate::Reason::Unavailable).
    Closed,
    /// Token buckets in this process decide, with this instance's share of each limit: the same count
    /// in `instances` times the period, and as much less at once (but at least 1).
    ///
    /// It is kept warm: what Redis admits is taken from it too, so a client that has used its share
    /// does not begin anew when Redis goes.
    Local {
        /// How many instances share the limits.
        instances: u32,
        /// How many keys the limiter is built for; see [`KeyedRateLimiter`](crate::KeyedRateLimiter).
        max_keys: usize,
    },
}

/// What a limit is called that was given no name.
const UNNAMED: &str = "default";
/// The most limits that one limiter has.
const LIMITS_MAX: usize = 8;
const DEADLINE: Duration = Duration::from_millis(10);
const DEADLINE_MAX: Duration = Duration::from_secs(60);
const TTL_MAX: Duration = Duration::from_secs(3_600);

impl RedisConfig {
    /// One limit on each key: a [`Quota`](crate::Quota), a [`FixedWindow`](crate::FixedWindow) or a
    /// [`SlidingWindowCounter`](crate::SlidingWindowCounter). The other policies keep their state in
    /// one process.
    ///
    /// `prefix` begins the names of all keys in Redis: 1 to 64 letters, digits and `-._@/`.
    pub fn new(prefix: &str, policy: impl Into<Policy>) -> Self {
        let limit = Limit {
            name: UNNAMED.to_owned(),
            policy: policy.into(),
            shared: false,
        };
        Self {
            prefix: prefix.to_owned(),
            limits: vec![limit],
            one_slot: false,
            deadline: DEADLINE,
            lease: None,
            refusals: None,
            outage: Outage::default(),
        }
    }

    /// Names the limit that the configuration began with. Default: `default`.
    ///
    /// A refusal tells the names of the limits that were violated
    /// ([`admit`](crate::RedisRateLimiter::admit)). They are printable ASCII without `"` and `\`, and
    /// each is used once.
    pub fn named(mut self, name: &str) -> Self {
        if let Some(first) = self.limits.first_mut() {
            name.clone_into(&mut first.name);
        }
        self
    }

    /// The names of the limits, in their order.
    pub fn limit_names(&self) -> impl Iterator<Item = &str> {
        self.limits.iter().map(|limit| &*limit.name)
    }

    /// One more limit on each key; a request passes all limits, or takes from none. Up to 8.
    pub fn and(self, name: &str, policy: impl Into<Policy>) -> Self {
        self.with_limit(name, policy.into(), false)
    }

    /// One more limit, on all keys together. Takes [`in_one_slot`](Self::in_one_slot), since
    /// what is decided in one step has to lie on one node.
    pub fn and_shared(self, name: &str, policy: impl Into<Policy>) -> Self {
        self.with_limit(name, policy.into(), true)
    }

    fn with_limit(mut self, name: &str, policy: Policy, shared: bool) -> Self {
        self.limits.push(Limit {
            name: name.to_owned(),
            policy,
            shared,
        });
        self
    }

    /// Keeps all keys of this limiter in one slot, so that in a cluster one node has all its work.
    /// Default: each key has a slot of its own.
    pub fn in_one_slot(mut self) -> Self {
        self.one_slot = true;
        self
    }

    /// How long a call waits for Redis, which is never asked twice: more than 0, up to a minute.
    /// Default: 10 ms. (Tokio's timer may add one.)
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Draws permits in batches. Default: each call asks Redis.
    pub fn leased(mut self, lease: RedisLease) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Asks Redis no more about a key that it has just refused, until the moment at which it said that
    /// the request would pass, and for a second at most; of up to `max_keys` keys, which take some 150
    /// bytes each. Default: each call asks Redis.
    ///
    /// So who is over his limit costs no round trips. What other instances give back or reset shows
    /// up to a second later; what this one does, at once.
    pub fn remembering_refusals(mut self, max_keys: usize) -> Self {
        self.refusals = Some(max_keys);
        self
    }

    /// What becomes of a request when Redis does not decide in time. Default: [`Outage::Open`].
    pub fn on_outage(mut self, outage: Outage) -> Self {
        self.outage = outage;
        self
    }

    /// Tells whether a limiter can be built with it; asks no Redis.
    ///
    /// # Errors
    ///
    /// As [`RedisRateLimiter::new`](crate::RedisRateLimiter::new).
    pub fn validate(&self) -> Result<(), InvalidRedisConfig> {
        self.check()?;
        Fallback::check(self.outage, &self.terms()?)
    }

    /// The policies in Redis's terms.
    pub(super) fn terms(&self) -> Result<Vec<Terms>, InvalidRedisConfig> {
        let terms = self.limits.iter().map(|limit| {
            Terms::new(limit.policy).map_err(|problem| {
                InvalidRedisConfig::new("policy", problem.value(), problem.to_string())
            })
        });
        terms.collect()
    }

    /// The smallest burst or limit.
    pub(super) fn smallest_limit(&self) -> u64 {
        let limits = self.limits.iter().map(|limit| limit.policy.limit());
        limits.min().unwrap_or(u64::MAX)
    }

    /// Checks all that can be checked without the terms of the policies.
    pub(super) fn check(&self) -> Result<(), InvalidRedisConfig> {
        let wrong = |field: &'static str, value: String, allowed: &str| {
            Err(InvalidRedisConfig::new(field, value, allowed))
        };
        if !super::key::valid_prefix(&self.prefix) {
            let allowed = "1 to 64 letters, digits and \"-._@/\"";
            return wrong("prefix", format!("{:?}", self.prefix), allowed);
        }
        if !(1..=LIMITS_MAX).contains(&self.limits.len()) {
            return wrong("limits", self.limits.len().to_string(), "from 1 to 8");
        }
        for (index, limit) in self.limits.iter().enumerate() {
            if !is_name(&limit.name) {
                let allowed = "printable ASCII without quotes and backslashes";
                return wrong("name", format!("{:?}", limit.name), allowed);
            }
            if self.limits[..index]
                .iter()
                .any(|other| other.name == limit.name)
            {
                return wrong("name", format!("{:?}", limit.name), "used once");
            }
            if limit.shared && !self.one_slot {
                let allowed = "for each key, or all keys in one slot: limits that are decided \
                               together have to share a hash tag";
                return wrong(
                    "limit",
                    format!("{:?}, shared by all keys", limit.name),
                    allowed,
                );
            }
        }
        if self.deadline.is_zero() || self.deadline > DEADLINE_MAX {
            return wrong(
                "deadline",
                format!("{:?}", self.deadline),
                "more than 0, at most 60s",
            );
        }
        if self.refusals == Some(0) {
            return wrong("refusals", "0".to_owned(), "of at least 1 key");
        }
        if let Some(lease) = &self.lease {
            let burst = self.smallest_limit();
            if !(1..=burst).contains(&lease.batch) {
                let allowed = format!("from 1 to the smallest limit, {burst}");
                return wrong("batch", lease.batch.to_string(), &allowed);
            }
            if !(1..=burst).contains(&lease.stock_max(burst)) {
                let allowed = format!("from 1, and with the batch at most {burst} permits");
                let ahead = lease.ahead.unwrap_or(AHEAD);
                return wrong("ahead", ahead.to_string(), &allowed);
            }
            if lease.ttl.is_zero() || lease.ttl > TTL_MAX {
                return wrong(
                    "ttl",
                    format!("{:?}", lease.ttl),
                    "more than 0, at most 1 hour",
                );
            }
            if lease.max_keys == 0 {
                return wrong("max_keys", "0".to_owned(), "at least 1");
            }
        }
        Ok(())
    }
}

/// A configuration that no limiter can be built with; its message names the field, the value, and
/// what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRedisConfig {
    field: &'static str,
    value: String,
    allowed: String,
}

impl InvalidRedisConfig {
    pub(super) fn new(field: &'static str, value: String, allowed: impl Into<String>) -> Self {
        Self {
            field,
            value,
            allowed: allowed.into(),
        }
    }

    /// The field that is wrong.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for InvalidRedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            value,
            allowed,
        } = self;
        write!(f, "{field} is {value}, must be {allowed}")
    }
}

impl Error for InvalidRedisConfig {}
