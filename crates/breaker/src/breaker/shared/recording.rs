//! What an outcome does.

use stanchion_core::{Instant, Outcome};

use super::numbers::quotient;
use super::{Held, NEVER, Shared, Token, word};
use crate::breaker::RetryAfter;
use crate::sync::Ordering;
use crate::window::{CountWindow, Counts, Kind, SharedWindow};
use crate::{CancelPolicy, Cause, OverloadPolicy};

impl Shared {
    /// Takes in that a call went well that held nothing.
    #[inline(always)]
    pub(super) fn succeed(&self, generation: u64) {
        match self.swift_window(generation) {
            Some(window) => {
                if let Some(counts) = window.record(generation, Kind::default()) {
                    self.judge(generation, Kind::default(), Some(counts), None, None);
                }
            }
            None => self.record(generation, Kind::default(), None, None),
        }
    }

    /// The same where calls are timed.
    #[inline(always)]
    pub(super) fn succeed_timed(&self, token: Token) {
        let (generation, now) = (token.generation(), self.now());
        let slow = self.is_slow(token, now);
        match self.swift_window(generation) {
            Some(window) if !slow => {
                if let Some(counts) = window.record(generation, Kind::default()) {
                    self.judge(generation, Kind::default(), Some(counts), Some(now), None);
                }
            }
            _ => {
                let kind = Kind {
                    failed: false,
                    slow,
                };
                self.record(generation, kind, Some(now), None);
            }
        }
    }

    /// The window of calls, if there is no more to it than to write into that.
    #[inline(always)]
    fn swift_window(&self, generation: u64) -> Option<&CountWindow> {
        let word = self.word();
        match &self.window {
            SharedWindow::Calls(window)
                if word.generation() == generation
                    && word.phase() != word::DISABLED
                    && self.config.consecutive.is_none() =>
            {
                Some(window)
            }
            _ => None,
        }
    }

    #[inline(never)]
    pub(super) fn finish_with_care(&self, token: Token, outcome: Outcome, retry_after: RetryAfter) {
        let failed = match outcome {
            Outcome::Success => false,
            Outcome::Failure => true,
            Outcome::Overload => match self.config.overload {
                OverloadPolicy::Failure => true,
                OverloadPolicy::Ignore => return self.finish_without(token),
            },
            _ => return self.finish_without(token),
        };
        let timed = self.slow_after != NEVER;
        let now = timed.then(|| self.clock.now());
        let kind = Kind {
            failed,
            slow: now.is_some_and(|now| self.is_slow(token, now)),
        };
        match token.held() {
            Held::Trial => {
                let now = now.unwrap_or_else(|| self.clock.now());
                return self.conclude(token, Some(kind), now, retry_after);
            }
            Held::Place => self.leave(token),
            Held::Nothing => {}
        }
        self.record(token.generation(), kind, now, retry_after);
    }

    /// Takes back what a call held that told nothing.
    fn finish_without(&self, token: Token) {
        match token.held() {
            Held::Trial => self.conclude(token, None, self.clock.now(), None),
            Held::Place => self.leave(token),
            Held::Nothing => {}
        }
    }

    /// Takes back what a dropped permit held.
    #[cold]
    pub(crate) fn cancel(&self, token: Token) {
        let failed = match self.config.cancel {
            CancelPolicy::Ignore => false,
            CancelPolicy::Failure => true,
            CancelPolicy::FailureIfOlderThan(age) => self.clock.now() - token.started() > age,
        };
        if failed {
            self.finish_with_care(token, Outcome::Failure, None);
        } else {
            self.finish_without(token);
        }
    }

    /// The call was answered, and only its outcome is out: settles whether it was slow, and no longer
    /// counts it among those that may hang.
    pub(crate) fn answered(&self, token: Token) -> Token {
        if token.held() == Held::Place {
            self.leave(token);
        }
        let slow = self.slow_after != NEVER && self.is_slow(token, self.clock.now());
        let token = token.without_place();
        if slow { token } else { token.never_slow() }
    }

    fn leave(&self, token: Token) {
        if let Some(overdue) = &self.overdue {
            overdue.leave(token.generation(), token.started());
        }
    }

    #[inline(never)]
    fn record(&self, generation: u64, kind: Kind, now: Option<Instant>, retry_after: RetryAfter) {
        let word = self.word();
        if word.generation() != generation {
            return self.come_late();
        }
        if word.phase() == word::DISABLED {
            return;
        }
        let read = || now.unwrap_or_else(|| self.clock.now());
        let counts = self.window.record(generation, kind, read);
        if self.config.consecutive.is_some() && !kind.failed {
            self.streak.0.succeeded(generation);
        }
        if kind.is_good() && counts.is_none() {
            return;
        }
        self.judge(generation, kind, counts, now, retry_after);
    }

    #[cold]
    pub(super) fn come_late(&self) {
        self.totals.0.late.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks whether a rate or a streak is reached.
    fn judge(
        &self,
        generation: u64,
        kind: Kind,
        counts: Option<Counts>,
        now: Option<Instant>,
        retry_after: RetryAfter,
    ) {
        self.totals.0.add(kind);
        let streak = match self.config.consecutive {
            Some(most) if kind.failed => {
                let count = self.streak.0.failed(generation);
                (count >= most.get()).then_some(Cause::ConsecutiveFailures(count))
            }
            _ => None,
        };
        let cause = counts
            .and_then(|counts| {
                self.failure_cause(counts)
                    .or_else(|| self.slow_cause(counts))
            })
            .or(streak);
        if let Some(cause) = cause {
            let now = now.unwrap_or_else(|| self.clock.now());
            self.reached(generation, cause, now, retry_after);
        }
    }

    fn failure_cause(&self, counts: Counts) -> Option<Cause> {
        let rate = self.config.failure_rate?;
        let reached = self.knows_rates(counts) && rate.is_reached(counts.failed, counts.total);
        reached.then(|| Cause::FailureRate(quotient(counts.failed, counts.total)))
    }

    pub(super) fn slow_cause(&self, counts: Counts) -> Option<Cause> {
        let rate = self.config.slow?.rate;
        let reached = self.knows_rates(counts) && rate.is_reached(counts.slow, counts.total);
        reached.then(|| Cause::SlowRate(quotient(counts.slow, counts.total)))
    }

    pub(super) fn knows_rates(&self, counts: Counts) -> bool {
        counts.total > 0 && counts.total >= u64::from(self.config.min_calls)
    }
}
