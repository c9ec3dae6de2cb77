//! The decision that a caller waits for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::decide::Waiting;
use super::granted::{Granted, Refusal};
use super::lease::Answer;
use super::link::Silence;
use super::{RedisAdmitted, RedisRateLimiter};
use crate::{Refused, Rejected, Status};

/// The decision of a [`RedisRateLimiter`]; dropping it ends the wait.
#[must_use = "nothing is decided unless it is polled"]
pub struct RedisDecision(Deciding);

/// The decision of a [`RedisRateLimiter`], with the names of its limits; dropping it ends the wait.
#[must_use = "nothing is decided unless it is polled"]
pub struct RedisAdmission {
    limiter: RedisRateLimiter,
    key: Box<[u8]>,
    cost: u64,
    deciding: Deciding,
}

enum Deciding {
    Known(Option<Result<Granted, Refusal>>),
    Drawing(Drawing),
    Asking(Pin<Box<dyn Future<Output = Result<Granted, Refusal>> + Send>>),
}

impl RedisDecision {
    pub(super) fn new(limiter: &RedisRateLimiter, key: &[u8], cost: u64) -> Self {
        Self(Deciding::new(limiter, key, cost))
    }
}

impl Future for RedisDecision {
    type Output = Result<Option<Status>, Rejected>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let decided = ready!(self.0.poll(context));
        let granted = decided.map_err(|refusal| refusal.rejected);
        Poll::Ready(granted.map(|granted| Some(granted.tightest()?.status)))
    }
}

impl RedisAdmission {
    pub(super) fn new(limiter: &RedisRateLimiter, key: &[u8], cost: u64) -> Self {
        Self {
            deciding: Deciding::new(limiter, key, cost),
            limiter: limiter.clone(),
            key: key.into(),
            cost,
        }
    }
}

impl Future for RedisAdmission {
    type Output = Result<RedisAdmitted, Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let decided = ready!(self.deciding.poll(context));
        let names = &self.limiter.shared.limit_names;
        let decided = decided.map_err(|refusal| Refused::by_names(refusal, names));
        let cost = self.cost;
        Poll::Ready(decided.map(|granted| {
            let key = std::mem::take(&mut self.key);
            RedisAdmitted::new(self.limiter.clone(), key, cost, granted)
        }))
    }
}

impl Deciding {
    fn new(limiter: &RedisRateLimiter, key: &[u8], cost: u64) -> Self {
        let shared = &limiter.shared;
        shared.counts.calls.fetch_add(1, Ordering::Relaxed);
        match shared.at_once(key, cost) {
            Ok(known) => Self::Known(Some(limiter.told(known))),
            Err(Waiting::Draw(answer)) => Self::Drawing(Drawing {
                limiter: limiter.clone(),
                key: key.into(),
                cost,
                answer,
            }),
            Err(Waiting::Redis) => {
                let (limiter, key) = (limiter.clone(), Box::<[u8]>::from(key));
                Self::Asking(Box::pin(async move {
                    let decided = limiter.shared.decide(&key, cost).await;
                    limiter.told(decided)
                }))
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Granted, Refusal>> {
        match self {
            Self::Known(result) => Poll::Ready(result.take().expect("polled after completion")),
            Self::Drawing(drawing) => drawing.poll(context),
            Self::Asking(asking) => asking.as_mut().poll(context),
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
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Granted, Refusal>> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        let answer = answer.unwrap_or(Answer::Silent(Silence::Away));
        let decided = self.limiter.shared.hear(&self.key, self.cost, answer);
        Poll::Ready(self.limiter.told(decided))
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        // It was paid for, and never knew.
        if let Ok(Answer::Paid(tightest)) = self.answer.try_recv() {
            let key = std::mem::take(&mut self.key);
            let granted = Granted::Lease(tightest);
            self.limiter.shared.give_back(key, self.cost, &granted);
        }
    }
}

impl fmt::Debug for RedisDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisDecision").field(&self.0).finish()
    }
}

impl fmt::Debug for RedisAdmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAdmission")
            .field("cost", &self.cost)
            .field("deciding", &self.deciding)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Deciding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known(_) => "Known",
            Self::Drawing(_) => "Drawing",
            Self::Asking(_) => "Asking",
        })
    }
}
