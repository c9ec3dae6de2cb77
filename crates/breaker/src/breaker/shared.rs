//! The state behind a breaker's handles: a word that every call reads, a window that every call
//! writes, and a machine under a lock for what is rare.

mod admitting;
mod changing;
#[cfg(all(test, stanchion_loom))]
mod loom;
mod numbers;
mod recording;
mod token;
mod word;

use std::sync::Arc;

use stanchion_core::{Clock, Instant, Observe, Outcome};

use super::RetryAfter;
use crate::machine::Machine;
use crate::overdue::Overdue;
use crate::streak::Streak;
use crate::sync::{AtomicU64, Mutex, Ordering, Padded};
use crate::tally::Tally;
use crate::window::SharedWindow;
use crate::{Config, Event, Rejected, State};
use numbers::Totals;
pub(crate) use token::Token;
use token::{Answer, Held};
use word::Word;

pub(super) type Observer = Arc<dyn Observe<Event> + Send + Sync>;

pub(crate) struct Shared {
    /// A [`Word`]. Written under the machine's lock, with Release, after all that belongs to the
    /// generation; who acquires it finds the window begun.
    word: AtomicU64,
    /// In nanoseconds of the clock: when an open breaker lets trials through; when traffic began to
    /// come back, in the phase `RAMP`.
    moment: AtomicU64,
    /// Why the state was entered, packed.
    cause: AtomicU64,
    /// A permit must know when it was given.
    timed: bool,
    /// Calls that take longer, in nanoseconds, are slow; the largest number where none is.
    slow_after: u64,
    clock: Clock,
    window: SharedWindow,
    config: Config,
    observer: Option<Observer>,
    overdue: Option<Overdue>,
    streak: Padded<Streak>,
    /// The shares of the calls that came while traffic comes back, added up in units of 2⁻³².
    ramp: AtomicU64,
    machine: Mutex<Machine>,
    totals: Padded<Totals>,
    /// Calls that were refused, ever.
    rejected: Tally,
}

const NEVER: u64 = u64::MAX;

impl Shared {
    pub(crate) fn new(config: Config, clock: Clock, observer: Option<Observer>) -> Self {
        let machine = Machine::new(clock.now());
        Self::with_machine(machine, config, clock, observer)
    }

    fn with_machine(
        machine: Machine,
        config: Config,
        clock: Clock,
        observer: Option<Observer>,
    ) -> Self {
        let in_flight = config.slow.filter(|slow| slow.in_flight);
        // A day has fewer nanoseconds than a u64 holds.
        let slow_after = config.slow.map_or(NEVER, |slow| {
            u64::try_from(slow.threshold.as_nanos()).unwrap_or(NEVER)
        });
        let shared = Self {
            word: AtomicU64::new(0),
            moment: AtomicU64::new(0),
            cause: AtomicU64::new(0),
            timed: config.times_calls(),
            slow_after,
            clock,
            window: SharedWindow::new(&config),
            overdue: in_flight.map(|slow| Overdue::new(slow.threshold)),
            config,
            observer,
            streak: Padded(Streak::new()),
            ramp: AtomicU64::new(0),
            machine: Mutex::new(machine),
            totals: Padded(Totals::new()),
            rejected: Tally::new(0),
        };
        shared.publish(&shared.machine.lock());
        shared
    }

    /// A new one that goes on where this one stands.
    pub(crate) fn reconfigured(&self, config: Config) -> Self {
        let machine = self.machine.lock().carried_on(&config);
        let (clock, observer) = (self.clock.clone(), self.observer.clone());
        let shared = Self::with_machine(machine, config, clock, observer);
        Self {
            totals: Padded(self.totals.0.copied()),
            rejected: Tally::new(self.rejected.sum()),
            ..shared
        }
    }

    /// From when on it has all traffic back and no opening remembered, if it is closed.
    pub(crate) fn settled_from(&self) -> Option<Instant> {
        self.machine.lock().settled_from(&self.config)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn observer(&self) -> Option<&Observer> {
        self.observer.as_ref()
    }

    pub(crate) fn state(&self) -> State {
        self.word().state()
    }

    /// Not inlined: reading the clock takes many registers.
    #[inline(never)]
    fn now(&self) -> Instant {
        self.clock.now()
    }

    #[inline]
    fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Lets a call through, or refuses it.
    ///
    /// Inlined always, as is `finish`: then what a permit holds stays in registers, and the locked
    /// write to the window waits for no store.
    #[inline(always)]
    pub(crate) fn admit(&self) -> Result<Token, Rejected> {
        let word = self.word();
        if word.phase() == word::CLOSED && !self.timed {
            return Ok(Token::new(word.generation(), Held::Nothing, Instant::ZERO));
        }
        let answer = match word.phase() {
            word::CLOSED if self.overdue.is_none() => {
                return Ok(Token::new(word.generation(), Held::Nothing, self.now()));
            }
            word::OPEN => self.admit_if_over(word),
            _ => self.admit_with_care(word),
        };
        answer.into_result()
    }

    /// Takes in the outcome of a call.
    #[inline(always)]
    pub(crate) fn finish(&self, token: Token, outcome: Outcome, retry_after: RetryAfter) {
        // What nearly every call is: good, with nothing to give back, and no wish.
        let plain = token.held() == Held::Nothing && retry_after.is_none();
        if !plain || outcome != Outcome::Success {
            self.finish_with_care(token, outcome, retry_after);
        } else if self.slow_after == NEVER {
            self.succeed(token.generation());
        } else {
            self.succeed_timed(token);
        }
    }

    #[inline]
    fn is_slow(&self, token: Token, now: Instant) -> bool {
        let nanos = now.as_nanos().saturating_sub(token.started().as_nanos());
        nanos > self.slow_after
    }
}
