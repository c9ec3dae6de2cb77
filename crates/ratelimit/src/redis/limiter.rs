//! The limiter: one question to Redis for each decision, or permits drawn ahead.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::redis::cmd;
use stanchion_core::Observe;
use tokio::sync::oneshot;

use super::config::{InvalidRedisConfig, RedisConfig};
use super::fallback::Fallback;
use super::key::{Name, Names, Spread};
use super::lease::{Answer, Draw, Drawn, Leases, Spend};
use super::link::Silence;
use super::refusals::Refusals;
use super::script::{Operation, Reply, Request};
use super::terms::Terms;
use super::{KeyBytes, RedisStore};
use crate::{Event, Rejected, Status};

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
/// a key, plus one [`batch`](crate::RedisLease) for each instance if permits are leased, plus what an
/// outage policy admits, plus one more burst each time that Redis loses its data.
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
    shared: Arc<Shared>,
    observer: Option<Arc<dyn Observe<Event> + Send + Sync>>,
}

struct Shared {
    store: RedisStore,
    config: RedisConfig,
    names: Names,
    limits: Vec<Terms>,
    leases: Option<Leases>,
    refusals: Option<Refusals>,
    fallback: Fallback,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    rejected: AtomicU64,
    timed_out: AtomicU64,
    fell_back: AtomicU64,
    draws: AtomicU64,
    remembered: AtomicU64,
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
        let limits = config.terms()?;
        let clock = &store.shared().clock;
        let spread = if config.one_slot {
            Spread::OneSlot
        } else {
            Spread::Slots
        };
        let shared = Shared {
            names: Names::new(&config.prefix, spread),
            leases: config.lease.map(Leases::new),
            refusals: config.refusals.map(Refusals::new),
            fallback: Fallback::new(config.outage, &config.limits, &limits, clock)?,
            limits,
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
    /// [`Rejected`] when less than `cost` is left of a limit, or `cost` is above its burst and will
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
        let key = key.key_bytes();
        self.shared.counts.calls.fetch_add(1, Ordering::Relaxed);
        let known = self.shared.at_once(&key, cost);
        RedisDecision(match known {
            Ok(known) => State::Known(Some(self.told(known))),
            Err(Waiting::Draw(answer)) => State::Drawing(Drawing {
                limiter: self.clone(),
                key: key.into(),
                cost,
                answer,
            }),
            Err(Waiting::Redis) => {
                let (this, key) = (self.clone(), Box::<[u8]>::from(key));
                State::Asking(Box::pin(async move {
                    let result = this.shared.decide(&key, cost).await;
                    this.told(result)
                }))
            }
        })
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
        let name = shared.names.name(&key);
        let mut command = cmd("DEL");
        for (limit, terms) in shared.config.limits.iter().zip(&shared.limits) {
            if !limit.shared {
                command.arg(name.of(terms));
            }
        }
        let link = shared.store.shared();
        let deleted = link.run(&command, name.slot(), shared.config.deadline);
        let deleted = deleted.await;
        shared.forget_refusal(&key);
        deleted?;
        Ok(())
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
    fn told(&self, decided: Decided) -> Result<Option<Status>, Rejected> {
        let counts = &self.shared.counts;
        if decided.fell_back {
            counts.fell_back.fetch_add(1, Ordering::Relaxed);
            self.observe(&Event::FellBack);
        }
        if let Err(rejected) = &decided.result {
            counts.rejected.fetch_add(1, Ordering::Relaxed);
            self.observe(&Event::Rejected(*rejected));
        }
        decided.result
    }

    fn observe(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }
}

/// A decision, and whether the outage policy made it.
struct Decided {
    result: Result<Option<Status>, Rejected>,
    fell_back: bool,
}

impl From<Result<Option<Status>, Rejected>> for Decided {
    fn from(result: Result<Option<Status>, Rejected>) -> Self {
        Self {
            result,
            fell_back: false,
        }
    }
}

/// What a request has to wait for.
enum Waiting {
    Redis,
    Draw(oneshot::Receiver<Answer>),
}

impl Shared {
    /// Decides without waiting, if that can be done.
    fn at_once(self: &Arc<Self>, key: &[u8], cost: u64) -> Result<Decided, Waiting> {
        if cost == 0 {
            return Ok(Ok(None).into());
        }
        for terms in &self.limits {
            if cost > terms.capacity() {
                let rejected = Rejected::cost_above_burst(terms.status([0; 3], cost), cost);
                return Ok(Err(rejected).into());
            }
        }
        if let Some(rejected) = self.remembered(key, cost) {
            return Ok(Err(rejected).into());
        }
        let Some(leases) = &self.leases else {
            return Err(Waiting::Redis);
        };
        let now = self.store.shared().clock.now();
        let (spend, draw) = leases.spend(key, cost, now, now + self.config.deadline);
        if let Some(draw) = draw {
            self.clone().carry_out(key, draw);
        }
        match spend {
            Spend::Spent(status) => {
                self.fallback.keep_warm(key, cost);
                Ok(Ok(status).into())
            }
            Spend::Wait(answer) => Err(Waiting::Draw(answer)),
            Spend::NoRoom => Err(Waiting::Redis),
        }
    }

    async fn decide(&self, key: &[u8], cost: u64) -> Decided {
        match self.ask_for(key, cost).await {
            Ok(result) => {
                match &result {
                    Ok(_) => self.fallback.keep_warm(key, cost),
                    Err(rejected) => self.remember(key, cost, rejected),
                }
                result.map(Some).into()
            }
            Err(silence) => self.fall_back(key, cost, silence),
        }
    }

    /// Decides by what became of a draw.
    fn hear(&self, key: &[u8], cost: u64, answer: Answer) -> Decided {
        match answer {
            Answer::Paid(status) => {
                self.fallback.keep_warm(key, cost);
                Ok(status).into()
            }
            Answer::Refused(rejected) => {
                self.remember(key, cost, &rejected);
                Err(rejected).into()
            }
            Answer::Silent(silence) => self.fall_back(key, cost, silence),
        }
    }

    /// A refusal of Redis that still stands.
    fn remembered(&self, key: &[u8], cost: u64) -> Option<Rejected> {
        let refusals = self.refusals.as_ref()?;
        let rejected = refusals.find(key, cost, self.store.shared().clock.now())?;
        self.counts.remembered.fetch_add(1, Ordering::Relaxed);
        Some(rejected)
    }

    fn remember(&self, key: &[u8], cost: u64, rejected: &Rejected) {
        if let Some(refusals) = &self.refusals {
            let now = self.store.shared().clock.now();
            refusals.note(key, cost, rejected, now);
        }
    }

    fn forget_refusal(&self, key: &[u8]) {
        if let Some(refusals) = &self.refusals {
            refusals.forget(key);
        }
    }

    fn fall_back(&self, key: &[u8], cost: u64, silence: Silence) -> Decided {
        if silence == Silence::TimedOut {
            self.counts.timed_out.fetch_add(1, Ordering::Relaxed);
        }
        Decided {
            result: self.fallback.decide(key, cost),
            fell_back: true,
        }
    }

    /// One question, one answer.
    async fn ask_for(&self, key: &[u8], cost: u64) -> Result<Result<Status, Rejected>, Silence> {
        let take = Operation::Take { cost, most: cost };
        let reply = self.ask(key, take).await?;
        Ok(self.judge(&reply, cost))
    }

    /// Draws on the store's runtime, so that no permit is lost with whoever began it: one task for a
    /// key, for as long as somebody waits.
    fn carry_out(self: Arc<Self>, key: &[u8], draw: Draw) {
        let handle = self.store.handle().clone();
        let mut unfinished = Unfinished {
            shared: self,
            key: key.into(),
            draws: true,
        };
        handle.spawn(async move {
            let mut next = Some(draw);
            while let Some(draw) = next {
                let drawn = unfinished.shared.draw(&unfinished.key, draw).await;
                next = unfinished.end(drawn);
            }
        });
    }

    async fn draw(&self, key: &[u8], draw: Draw) -> Drawn {
        self.counts.draws.fetch_add(1, Ordering::Relaxed);
        let Draw {
            cost,
            most,
            deadline,
        } = draw;
        let limit = deadline - self.store.shared().clock.now();
        let take = Operation::Take { cost, most };
        match self.ask_within(limit, key, take).await {
            Ok(reply) => match self.judge(&reply, cost) {
                Ok(status) => Drawn::Granted {
                    taken: reply.taken,
                    status,
                },
                Err(rejected) => match rejected.status() {
                    Some(status) => Drawn::Refused(status),
                    None => Drawn::Silent(Silence::Failed),
                },
            },
            Err(silence) => Drawn::Silent(silence),
        }
    }

    async fn ask(&self, key: &[u8], operation: Operation) -> Result<Reply, Silence> {
        self.ask_within(self.config.deadline, key, operation).await
    }

    async fn ask_within(
        &self,
        limit: Duration,
        key: &[u8],
        operation: Operation,
    ) -> Result<Reply, Silence> {
        let name = self.names.name(key);
        let request = Request {
            operation,
            limits: self.states(&name),
        };
        let link = self.store.shared();
        link.ask(&request, name.slot(), limit).await
    }

    fn states(&self, name: &Name) -> Vec<(String, Terms)> {
        let limits = self.config.limits.iter().zip(&self.limits);
        limits
            .map(|(limit, terms)| {
                let state = if limit.shared {
                    self.names.shared().of(terms)
                } else {
                    name.of(terms)
                };
                (state, *terms)
            })
            .collect()
    }

    fn statuses<'a>(&'a self, reply: &'a Reply, cost: u64) -> impl Iterator<Item = Status> + 'a {
        let limits = self.limits.iter().zip(&reply.answers);
        limits.map(move |(terms, answer)| terms.status(*answer, cost))
    }

    /// Reads an answer on `cost`, for which at least as much was asked.
    fn judge(&self, reply: &Reply, cost: u64) -> Result<Status, Rejected> {
        let mut tightest = None;
        let mut longest: Option<(Status, Duration)> = None;
        for status in self.statuses(reply, cost) {
            tightest = super::tighter(tightest, status);
            let wait = status.available_after(cost).unwrap_or_default();
            if longest.is_none_or(|(_, longest)| wait > longest) {
                longest = Some((status, wait));
            }
        }
        match (tightest, longest) {
            (Some(status), _) if reply.taken >= cost => Ok(status),
            (_, Some((status, _))) => Err(Rejected::exceeded(status, cost)),
            _ => Err(Rejected::unavailable(cost)),
        }
    }
}

/// Tells those who wait for a draw what became of it, also when its runtime was shut down.
struct Unfinished {
    shared: Arc<Shared>,
    key: Box<[u8]>,
    draws: bool,
}

impl Unfinished {
    fn end(&mut self, drawn: Drawn) -> Option<Draw> {
        let shared = &*self.shared;
        let leases = shared.leases.as_ref()?;
        let now = shared.store.shared().clock.now();
        let next = leases.end(&self.key, drawn, now, now + shared.config.deadline);
        self.draws = next.is_some();
        next
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.draws {
            self.end(Drawn::Silent(Silence::Away));
        }
    }
}

/// The decision of a [`RedisRateLimiter`]; dropping it ends the wait.
#[must_use = "nothing is decided unless it is polled"]
pub struct RedisDecision(State);

enum State {
    Known(Option<Result<Option<Status>, Rejected>>),
    Drawing(Drawing),
    Asking(Pin<Box<dyn Future<Output = Result<Option<Status>, Rejected>> + Send>>),
}

impl Future for RedisDecision {
    type Output = Result<Option<Status>, Rejected>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Known(result) => Poll::Ready(result.take().expect("polled after completion")),
            State::Drawing(drawing) => drawing.poll(context),
            State::Asking(asking) => asking.as_mut().poll(context),
        }
    }
}

/// A request that waits for a draw.
struct Drawing {
    limiter: RedisRateLimiter,
    key: Box<[u8]>,
    cost: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Drawing {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Status>, Rejected>> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        let answer = answer.unwrap_or(Answer::Silent(Silence::Away));
        let decided = self.limiter.shared.hear(&self.key, self.cost, answer);
        Poll::Ready(self.limiter.told(decided))
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        // It was paid for, and never knew.
        if let (Ok(Answer::Paid(_)), Some(leases)) =
            (self.answer.try_recv(), &self.limiter.shared.leases)
        {
            leases.give_back(&self.key, self.cost);
        }
    }
}

impl fmt::Debug for RedisDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.0 {
            State::Known(_) => "Known",
            State::Drawing(_) => "Drawing",
            State::Asking(_) => "Asking",
        };
        f.debug_tuple("RedisDecision").field(&state).finish()
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

/// Redis did not do what it was asked, in time or at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    silence: Silence,
}

impl Unavailable {
    /// It was asked, and may have done it.
    #[must_use]
    pub fn may_have_been_done(&self) -> bool {
        self.silence != Silence::Away
    }
}

impl From<Silence> for Unavailable {
    fn from(silence: Silence) -> Self {
        Self { silence }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.silence {
            Silence::Away => "redis is away",
            Silence::TimedOut => "redis did not answer in time",
            Silence::Failed => "redis failed to answer",
        })
    }
}

impl Error for Unavailable {}
