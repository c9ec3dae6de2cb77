//! The turns of the state: under the machine's lock, published, then told.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use stanchion_core::Instant;

use super::word::Word;
use super::{Shared, Token};
use crate::breaker::RetryAfter;
use crate::machine::{Change, Machine, Opening};
use crate::sync::{MutexGuard, Ordering};
use crate::window::Kind;
use crate::{Cause, Event, IllegalTransition, State, Transition};

impl Shared {
    #[cold]
    pub(super) fn reached(
        &self,
        generation: u64,
        cause: Cause,
        now: Instant,
        retry_after: RetryAfter,
    ) {
        let mut machine = self.machine.lock();
        let opening = Self::opening(now, retry_after);
        let change = machine.trip(&self.config, generation, cause, opening);
        let tells = machine.tells(generation, cause);
        self.settle(machine, change);
        if tells {
            self.tell(&Event::ThresholdReached(cause));
        }
    }

    /// Takes in how a trial went, or takes it back.
    pub(super) fn conclude(
        &self,
        token: Token,
        kind: Option<Kind>,
        now: Instant,
        retry_after: RetryAfter,
    ) {
        let mut machine = self.machine.lock();
        if !machine.is_current(token.generation()) {
            drop(machine);
            if kind.is_some() {
                self.come_late();
            }
            return;
        }
        let Some(kind) = kind else {
            machine.release();
            return;
        };
        self.totals.0.add(kind);
        let opening = Self::opening(now, retry_after);
        let change = machine.conclude(&self.config, kind, opening);
        self.settle(machine, change);
    }

    pub(crate) fn go(&self, to: State) -> Result<(), IllegalTransition> {
        let opening = Self::opening(self.clock.now(), None);
        let mut machine = self.machine.lock();
        let change = machine.go(&self.config, to, opening)?;
        self.settle(machine, change);
        Ok(())
    }

    pub(crate) fn reset(&self) {
        let now = self.clock.now();
        let mut machine = self.machine.lock();
        let change = machine.reset(now);
        if change.is_none() {
            self.publish(&machine);
        }
        self.settle(machine, change);
    }

    pub(super) fn opening(now: Instant, retry_after: RetryAfter) -> Opening {
        Opening {
            now,
            retry_after,
            // Randomly seeded, so what it gives for nothing is random.
            random: RandomState::new().build_hasher().finish(),
        }
    }

    /// Publishes a change, lets go of the lock, then tells. Returns the word as it is then.
    pub(super) fn settle(&self, machine: MutexGuard<'_, Machine>, change: Option<Change>) -> Word {
        let event = change.map(|change| {
            let Change {
                from, to, cause, ..
            } = change;
            let counts = change.trials.unwrap_or_else(|| self.counts());
            self.publish(&machine);
            Event::Changed(Transition {
                from,
                to,
                cause,
                calls: counts.total,
                failed: counts.failed,
                slow: counts.slow,
            })
        });
        let word = self.word();
        drop(machine);
        if let Some(event) = event {
            self.tell(&event);
        }
        word
    }

    /// Begins the machine's generation.
    pub(super) fn publish(&self, machine: &Machine) {
        let generation = machine.generation();
        self.window.begin(generation);
        self.streak.0.begin(generation);
        if let Some(overdue) = &self.overdue {
            overdue.begin(generation);
        }
        let moment = machine.ramp_since().unwrap_or(machine.until());
        self.moment.store(moment.as_nanos(), Ordering::Relaxed);
        self.cause.store(machine.cause().pack(), Ordering::Relaxed);
        self.publish_phase(machine);
    }

    fn publish_phase(&self, machine: &Machine) {
        let ramps = machine.ramp_since().is_some();
        let word = Word::new(machine.generation(), machine.state(), ramps);
        self.word.store(word.0, Ordering::Release);
    }

    /// All traffic is back, if the state is still that of `word`.
    pub(super) fn end_ramp(&self, word: Word) {
        let mut machine = self.machine.lock();
        if machine.generation() == word.generation() {
            machine.end_ramp();
            self.publish_phase(&machine);
        }
    }

    pub(super) fn tell(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }
}
