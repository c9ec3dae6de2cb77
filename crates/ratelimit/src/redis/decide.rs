//! How a request is decided: at once, by a draw for many, or by a question of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::RedisStore;
use super::config::RedisConfig;
use super::fallback::Fallback;
use super::key::{Name, Names};
use super::lease::{Answer, Draw, Drawn, Leases, Spend};
use super::link::Silence;
use super::refusals::Refusals;
use super::script::{Operation, Reply, Request};
use super::terms::Terms;
use crate::{Rejected, Status};

/// What all clones of a limiter share.
pub(super) struct Shared {
    pub(super) store: RedisStore,
    pub(super) config: RedisConfig,
    pub(super) names: Names,
    pub(super) limits: Vec<Terms>,
    pub(super) leases: Option<Leases>,
    pub(super) refusals: Option<Refusals>,
    pub(super) fallback: Fallback,
    pub(super) counts: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) calls: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) fell_back: AtomicU64,
    pub(super) draws: AtomicU64,
    pub(super) remembered: AtomicU64,
}

/// A decision, and whether the outage policy made it.
pub(super) struct Decided {
    pub(super) result: Result<Option<Status>, Rejected>,
    pub(super) fell_back: bool,
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
pub(super) enum Waiting {
    Redis,
    Draw(oneshot::Receiver<Answer>),
}

impl Shared {
    /// Decides without waiting, if that can be done.
    pub(super) fn at_once(self: &Arc<Self>, key: &[u8], cost: u64) -> Result<Decided, Waiting> {
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
        let (spend, draws) = leases.spend(key, cost, now, now + self.config.deadline);
        if draws {
            self.clone().carry_out(key);
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

    pub(super) async fn decide(&self, key: &[u8], cost: u64) -> Decided {
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
    pub(super) fn hear(&self, key: &[u8], cost: u64, answer: Answer) -> Decided {
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

    pub(super) fn forget_refusal(&self, key: &[u8]) {
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
    fn carry_out(self: Arc<Self>, key: &[u8]) {
        let handle = self.store.handle().clone();
        let mut unfinished = Unfinished {
            shared: self,
            key: key.into(),
            draws: true,
        };
        handle.spawn(async move {
            while let Some(draw) = unfinished.send() {
                let drawn = unfinished.shared.draw(&unfinished.key, draw).await;
                if !unfinished.end(drawn) {
                    break;
                }
                // Those who were just served may come again, and are part of the next.
                yield_now().await;
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

    pub(super) async fn ask(&self, key: &[u8], operation: Operation) -> Result<Reply, Silence> {
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

    pub(super) fn statuses<'a>(
        &'a self,
        reply: &'a Reply,
        cost: u64,
    ) -> impl Iterator<Item = Status> + 'a {
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
    fn send(&self) -> Option<Draw> {
        let shared = &*self.shared;
        let now = shared.store.shared().clock.now();
        let leases = shared.leases.as_ref()?;
        leases.send(&self.key, now + shared.config.deadline)
    }

    fn end(&mut self, drawn: Drawn) -> bool {
        let shared = &*self.shared;
        let now = shared.store.shared().clock.now();
        let leases = shared.leases.as_ref();
        self.draws = leases.is_some_and(|leases| leases.end(&self.key, drawn, now));
        self.draws
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.draws {
            self.end(Drawn::Silent(Silence::Away));
        }
    }
}
