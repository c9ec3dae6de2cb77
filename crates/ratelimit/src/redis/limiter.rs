//! The limiter: one question to Redis for each decision, or permits drawn ahead.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stanchion_core::Observe;

use super::config::{InvalidRedisConfig, Limit, RedisConfig};
use super::decide::{Counts, Decided, Shared};
use super::fallback::Fallback;
use super::granted::{Granted, Refusal};
use super::key::{Names, Spread};
use super::lease::Leases;
use super::refusals::Refusals;
use super::script::{Clause, Operation};
use super::terms::Terms;
use super::{KeyBytes, RedisAdmission, RedisDecision, RedisStore, Unavailable};
use crate::{Event, Status};

/// Limits the rate of each key over many processes, by state in Redis; clones share all of it.
///
/// Each decision is one script on one node: it reads Redis's own clock, decides on all limits of
/// the key, and takes from all or from none. State goes when its bucket is full again.
///
/// A call waits for its deadline at most, and Redis is asked once: what was not answered in time
/// may have been counted. Then, and at once while Redis is known to be away, the configuration's
/// [`Outage`](crate::Outage) decides.
///
/// **Bound.** In any stretch of time *t* all instances together admit at most `burst + t · rate` of
/// a key, plus for each instance what it may hold of a key if permits are leased (one
/// [`batch`](crate::RedisLease), up to four while it is busy), plus what an outage policy admits, plus
/// one more burst each time that Redis loses its data.
///
/// # Examples
///
/// ```no_run
/// use stanchion_ratelimit::{Quota, RedisConfig, RedisRateLimiter, RedisServers, RedisStore};
/// use tokio::runtime::Handle;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let servers = RedisServers::standalone("redis://127.0.0.1/")?;
/// let store = RedisStore::connect_on(servers, &Handle::current());
/// let quota: Quota = "100/s".parse()?;
/// let limiter = RedisRateLimiter::new(&store, RedisConfig::new("api", quota))?;
///
/// match limiter.check("anna").await {
///     Ok(status) => println!("{:?} left", status.map(|status| status.remaining())),
///     Err(rejected) => println!("{rejected}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisRateLimiter {
    pub(super) shared: Arc<Shared>,
    observer: Option<Arc<dyn Observe<Event> + Send + Sync>>,
}

/// A limiter on Redis in plain numbers, to make metrics from. Numbers of this handle and its clones,
/// since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisSnapshot {
    /// Requests decided, or being decided.
    pub calls: u64,
    /// Requests refused, by whomever.
    pub rejected: u64,
    /// Requests for which Redis's answer did not come in time.
    pub timed_out: u64,
    /// Requests that the outage policy decided.
    pub fell_back: u64,
    /// Batches asked for.
    pub draws: u64,
    /// Requests refused without asking, since Redis had just refused their key.
    pub remembered: u64,
    /// Keys that hold leased permits now.
    pub leased_keys: usize,
    /// Leased permits not spent yet.
    pub leased_permits: u64,
}

impl RedisRateLimiter {
    /// A limiter on `store`.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be: see each of its fields. A policy is refused when it keeps
    /// its state in one process, and when whole microseconds cannot tell it to a thousandth.
    pub fn new(store: &RedisStore, config: RedisConfig) -> Result<Self, InvalidRedisConfig> {
        config.check()?;
        let terms = config.terms()?;
        let clock = &store.shared().clock;
        let spread = if config.one_slot {
            Spread::OneSlot
        } else {
            Spread::Slots
        };
        let limits = || config.limits.iter();
        let clause = |(limit, terms): (&Limit, &Terms)| Clause::new(*terms, limit.shared);
        let shared = Shared {
            names: Names::new(&config.prefix, spread),
            leases: config
                .lease
                .map(|lease| Leases::new(lease, config.smallest_limit())),
            refusals: config.refusals.map(Refusals::new),
            fallback: Fallback::new(config.outage, &config.limits, &terms, clock)?,
            limit_names: limits().map(|limit| limit.name.as_str().into()).collect(),
            clauses: limits().zip(&terms).map(clause).collect(),
            counts: Counts::default(),
            store: store.clone(),
            config,
        };
        Ok(Self {
            shared: Arc::new(shared),
            observer: None,
        })
    }

    /// Tells `observer` what happens through this handle and its later clones. Default: nobody.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observe<Event> + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Admits one request of `key`, or refuses it; see [`check_n`](Self::check_n).
    pub fn check<K: KeyBytes + ?Sized>(&self, key: &K) -> RedisDecision {
        self.check_n(key, 1)
    }

    /// Admits a request of `key` of this cost, whole or not at all. A cost of 0 is always admitted
    /// and takes nothing.
    ///
    /// The status is of the limit that has least left; `None` where the request was admitted
    /// uncounted, in an outage. Where permits are leased it is of the last draw.
    ///
    /// # Errors
    ///
    /// [`Rejected`](crate::Rejected) when less than `cost` is left of a limit, or `cost` is above its burst and will
    /// never fit; nothing was taken. [`Reason::Unavailable`](crate::Reason::Unavailable) when
    /// nobody could decide in time and the outage policy is to refuse.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait. What Redis was asked to take may have been taken; a batch
    /// that was being drawn is there for the next. What a lease pays is taken before the first poll.
    ///
    /// # Complexity
    ///
    /// One round trip, or with leases one for each batch. Paid from a lease it allocates nothing but
    /// an owned key.
    pub fn check_n<K: KeyBytes + ?Sized>(&self, key: &K, cost: u64) -> RedisDecision {
        RedisDecision::new(self, &key.key_bytes(), cost)
    }

    /// Decides as [`check_n`](Self::check_n), and tells of each limit by its name: a refusal names those
    /// that were violated and the longest wait, and what an admission took can be given back.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::Refused) where `check_n` is [`Rejected`](crate::Rejected). It names no limit
    /// where nobody could decide in time.
    ///
    /// # Cancel safety
    ///
    /// As [`check_n`](Self::check_n).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(
    /// #     limiter: stanchion_ratelimit::RedisRateLimiter,
    /// # ) -> Result<(), stanchion_ratelimit::Refused> {
    /// match limiter.admit("anna", 1).await {
    ///     Ok(admitted) => {
    ///         for (limit, status) in admitted.statuses() {
    ///             println!("{limit}: {} left", status.remaining());
    ///         }
    ///         // What it was for was not done after all.
    ///         admitted.give_back();
    ///     }
    ///     Err(refused) => println!("{:?}, {:?}", refused.limit(), refused.retry_after()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn admit<K: KeyBytes + ?Sized>(&self, key: &K, cost: u64) -> RedisAdmission {
        RedisAdmission::new(self, &key.key_bytes(), cost)
    }

    /// Where the limits of `key` stand, in the order in which they were configured; takes nothing.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when Redis does not answer in time.
    pub async fn peek<K: KeyBytes + ?Sized>(&self, key: &K) -> Result<Vec<Status>, Unavailable> {
        let key = key.key_bytes();
        let look = Operation::Take { cost: 0, most: 0 };
        let reply = self.shared.ask(&key, look).await?;
        Ok(self.shared.statuses(&reply, 1).collect())
    }

    /// Gives `n` permits of `key` back, to all its limits; none holds more than its burst after it.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when Redis does not answer in time. It may have been done then: to try
    /// again may give back twice.
    pub async fn refund<K: KeyBytes + ?Sized>(&self, key: &K, n: u64) -> Result<(), Unavailable> {
        let key = key.key_bytes();
        let refunded = self.shared.ask(&key, Operation::Refund { cost: n }).await;
        self.shared.forget_refusal(&key);
        refunded?;
        Ok(())
    }

    /// Forgets `key`: its own limits are as if it had never come. What this process had leased for
    /// it is let go; other instances keep theirs, and a limit that all keys share stays.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when Redis does not answer in time. It can be tried again.
    pub async fn reset<K: KeyBytes + ?Sized>(&self, key: &K) -> Result<(), Unavailable> {
        let key = key.key_bytes();
        let shared = &self.shared;
        if let Some(leases) = &shared.leases {
            leases.forget(&key);
        }
        let own = shared.clauses.iter().filter(|clause| !clause.shared);
        shared.delete(&key, own).await?;
        Ok(())
    }

    /// Forgets what `key` has used of the limit of this name, and of no other; `false` where there is
    /// no such limit. Of a limit that all keys share, that is what all have used. What this process had
    /// leased for the key is let go.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when Redis does not answer in time. It can be tried again.
    pub async fn reset_limit<K: KeyBytes + ?Sized>(
        &self,
        key: &K,
        limit: &str,
    ) -> Result<bool, Unavailable> {
        let key = key.key_bytes();
        let shared = &self.shared;
        let mut names = shared.limit_names.iter();
        let Some(place) = names.position(|name| **name == *limit) else {
            return Ok(false);
        };
        if let Some(leases) = &shared.leases {
            leases.forget(&key);
        }
        let clause = shared.clauses.get(place);
        shared.delete(&key, clause.into_iter()).await?;
        Ok(true)
    }

    /// The configuration.
    pub fn config(&self) -> &RedisConfig {
        &self.shared.config
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &RedisStore {
        &self.shared.store
    }

    /// The limiter in plain numbers. With leases O(keys that hold some).
    #[must_use]
    pub fn snapshot(&self) -> RedisSnapshot {
        let shared = &*self.shared;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now = shared.store.shared().clock.now();
        let leases = shared.leases.as_ref();
        let (leased_keys, leased_permits) = leases.map_or((0, 0), |leases| leases.held(now));
        RedisSnapshot {
            calls: read(&shared.counts.calls),
            rejected: read(&shared.counts.rejected),
            timed_out: read(&shared.counts.timed_out),
            fell_back: read(&shared.counts.fell_back),
            draws: read(&shared.counts.draws),
            remembered: read(&shared.counts.remembered),
            leased_keys,
            leased_permits,
        }
    }

    /// Counts what was decided, and tells the observer.
    pub(super) fn told(&self, decided: Decided) -> Result<Granted, Refusal> {
        let counts = &self.shared.counts;
        if decided.fell_back {
            counts.fell_back.fetch_add(1, Ordering::Relaxed);
            self.observe(&Event::FellBack);
        }
        if let Err(refusal) = &decided.result {
            counts.rejected.fetch_add(1, Ordering::Relaxed);
            self.observe(&Event::Rejected(refusal.rejected));
        }
        decided.result
    }

    fn observe(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }
}

impl fmt::Debug for RedisRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRateLimiter")
            .field("config", &self.shared.config)
            .field("store", &self.shared.store)
            .finish_non_exhaustive()
    }
}
