//! The decision that a caller waits for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::RedisRateLimiter;
use super::decide::Waiting;
use super::lease::Answer;
use super::link::Silence;
use crate::{Rejected, Status};

/// The decision of a [`RedisRateLimiter`]; dropping it ends the wait.
#[must_use = "nothing is decided unless it is polled"]
pub struct RedisDecision(State);

impl RedisDecision {
    pub(super) fn new(limiter: &RedisRateLimiter, key: &[u8], cost: u64) -> Self {
        let shared = &limiter.shared;
        shared.counts.calls.fetch_add(1, Ordering::Relaxed);
        Self(match shared.at_once(key, cost) {
            Ok(known) => State::Known(Some(limiter.told(known))),
            Err(Waiting::Draw(answer)) => State::Drawing(Drawing {
                limiter: limiter.clone(),
                key: key.into(),
                cost,
                answer,
            }),
            Err(Waiting::Redis) => {
                let (limiter, key) = (limiter.clone(), Box::<[u8]>::from(key));
                State::Asking(Box::pin(async move {
                    let decided = limiter.shared.decide(&key, cost).await;
                    limiter.told(decided)
                }))
            }
        })
    }
}

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
