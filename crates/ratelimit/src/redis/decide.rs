//! How a request is decided: at once, by a draw for many, or by a question of its own.

#[cfg(test)]
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::cmd;
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::RedisStore;
use super::config::RedisConfig;
use super::fallback::Fallback;
use super::granted::{Granted, Refusal, Tightest};
use super::key::{Name, Names};
use super::lease::{Answer, Draw, Drawn, Leases, Spend};
use super::link::Silence;
use super::refusals::Refusals;
use super::script::{Clause, Operation, Reply, Request};
use crate::Status;

/// What all clones of a limiter share.
pub(super) struct Shared {
    pub(super) store: RedisStore,
    pub(super) config: RedisConfig,
    pub(super) names: Names,
    pub(super) clauses: Vec<Clause>,
    /// What the limits are called, in their order.
    pub(super) limit_names: Arc<[Box<str>]>,
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
    pub(super) result: Result<Granted, Refusal>,
    pub(super) fell_back: bool,
}

impl From<Result<Granted, Refusal>> for Decided {
    fn from(result: Result<Granted, Refusal>) -> Self {
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
            return Ok(Ok(Granted::Uncounted).into());
        }
        if let Some(refusal) = self.never(cost) {
            return Ok(Err(refusal).into());
        }
        if let Some(refusal) = self.remembered(key, cost) {
            return Ok(Err(refusal).into());
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
            Spend::Spent(tightest) => {
                self.fallback.keep_warm(key, cost);
                Ok(Ok(Granted::Lease(tightest)).into())
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
                    Err(refusal) => self.remember(key, cost, refusal),
                }
                result.into()
            }
            Err(silence) => self.fall_back(key, cost, silence),
        }
    }

    /// Decides by what became of a draw.
    pub(super) fn hear(&self, key: &[u8], cost: u64, answer: Answer) -> Decided {
        match answer {
            Answer::Paid(tightest) => {
                self.fallback.keep_warm(key, cost);
                Ok(Granted::Lease(tightest)).into()
            }
            Answer::Refused(refusal) => {
                self.remember(key, cost, &refusal);
                Err(refusal).into()
            }
            Answer::Silent(silence) => self.fall_back(key, cost, silence),
        }
    }

    /// The refusal of a cost that does not fit into each limit.
    fn never(&self, cost: u64) -> Option<Refusal> {
        let limits = || self.clauses.iter().map(|clause| &clause.terms);
        if limits().all(|terms| cost <= terms.capacity()) {
            return None;
        }
        let full = limits().map(|terms| terms.status([0; 3], cost));
        Refusal::of(&full.collect::<Vec<_>>(), cost)
    }

    /// A refusal of Redis that still stands.
    fn remembered(&self, key: &[u8], cost: u64) -> Option<Refusal> {
        let refusals = self.refusals.as_ref()?;
        let refusal = refusals.find(key, cost, self.store.shared().clock.now())?;
        self.counts.remembered.fetch_add(1, Ordering::Relaxed);
        Some(refusal)
    }

    fn remember(&self, key: &[u8], cost: u64, refusal: &Refusal) {
        if let Some(refusals) = &self.refusals {
            let now = self.store.shared().clock.now();
            refusals.note(key, cost, refusal, now);
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
    async fn ask_for(&self, key: &[u8], cost: u64) -> Result<Result<Granted, Refusal>, Silence> {
        let take = Operation::Take { cost, most: cost };
        let reply = self.ask(key, take).await?;
        let statuses = self.statuses(&reply, cost).collect();
        Ok(judge(&reply, statuses, cost).map(Granted::Redis))
    }

    /// Gives back what a request took, to whoever it was taken from.
    pub(super) fn give_back(self: &Arc<Self>, key: Box<[u8]>, cost: u64, granted: &Granted) {
        let now = self.store.shared().clock.now();
        let cost = match (granted, &self.leases) {
            (Granted::Uncounted, _) => return,
            (Granted::Share(_), _) => return self.fallback.refund(&key, cost),
            (Granted::Lease(_), Some(leases)) => {
                self.fallback.refund(&key, cost);
                cost - leases.give_back(&key, cost, now)
            }
            (Granted::Lease(_), None) | (Granted::Redis(_), _) => {
                self.fallback.refund(&key, cost);
                cost
            }
        };
        if cost > 0 {
            let this = self.clone();
            self.store.handle().spawn(async move {
                let refund = Operation::Refund { cost };
                let _ = this.ask(&key, refund).await;
                this.forget_refusal(&key);
            });
        }
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
            Ok(reply) => {
                let statuses = self.statuses(&reply, cost).collect();
                match judge(&reply, statuses, cost) {
                    Ok(statuses) => Drawn::Granted {
                        taken: reply.taken,
                        tightest: Tightest::of(&statuses),
                    },
                    Err(refusal) => Drawn::Refused(refusal),
                }
            }
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
            names: self
                .clauses
                .iter()
                .map(|clause| self.state(&name, clause))
                .collect(),
            clauses: &self.clauses,
        };
        let link = self.store.shared();
        link.ask(&request, name.slot(), limit).await
    }

    /// Deletes the states of some limits for a key.
    pub(super) async fn delete<'a>(
        &self,
        key: &[u8],
        clauses: impl Iterator<Item = &'a Clause>,
    ) -> Result<(), Silence> {
        let name = self.names.name(key);
        let mut command = cmd("DEL");
        for clause in clauses {
            command.arg(self.state(&name, clause));
        }
        let link = self.store.shared();
        let deleted = link.run(&command, name.slot(), self.config.deadline);
        let deleted = deleted.await;
        self.forget_refusal(key);
        deleted.map(drop)
    }

    /// The name of the state of one limit.
    fn state(&self, name: &Name, clause: &Clause) -> String {
        if clause.shared {
            self.names.shared().of(&clause.ending)
        } else {
            name.of(&clause.ending)
        }
    }

    pub(super) fn statuses<'a>(
        &'a self,
        reply: &'a Reply,
        cost: u64,
    ) -> impl Iterator<Item = Status> + 'a {
        let limits = self.clauses.iter().zip(&reply.answers);
        limits.map(move |(clause, answer)| clause.terms.status(*answer, cost))
    }
}

/// Reads an answer on `cost`, for which at least as much was asked, and where the limits stand by it.
fn judge(reply: &Reply, statuses: Box<[Status]>, cost: u64) -> Result<Box<[Status]>, Refusal> {
    if reply.taken >= cost {
        return Ok(statuses);
    }
    Err(Refusal::of(&statuses, cost).unwrap_or(Refusal::unavailable(cost)))
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
