//! The states and the ways between them: the part of a breaker that is seldom needed, and
//! therefore simple. The caller has it to itself, and brings the time.

use std::time::Duration;

use stanchion_core::Instant;

use crate::config::{Config, Expiry, Verdict};
use crate::window::{Counts, Kind};
use crate::{Cause, Ratio, State};

#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    /// Goes up with every change of the state, and with each reset; never 0.
    generation: u64,
    since: Instant,
    /// Why the state was entered last.
    cause: Cause,
    /// When an open breaker lets trials through.
    until: Instant,
    /// Openings that make the next open time longer.
    openings: u32,
    trials: Trials,
    /// When traffic began to come back little by little, if it still does.
    ramp_since: Option<Instant>,
    /// What a breaker that never opens has told.
    told: Told,
}

/// The trials of one half-open time.
#[derive(Debug, Default)]
struct Trials {
    in_flight: u32,
    over: Counts,
    /// That neither failed nor were slow.
    good: u32,
}

#[derive(Debug, Default)]
struct Told {
    failure_rate: bool,
    slow_rate: bool,
    consecutive: bool,
}

/// What a change of state was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) from: State,
    pub(crate) to: State,
    pub(crate) cause: Cause,
    /// How the trials went, where it ended them.
    pub(crate) trials: Option<Counts>,
}

/// What becomes of a call that asks to be let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Trial {
        generation: u64,
    },
    Refused,
    /// As the state says by itself, for every call.
    ByPhase,
}

/// What opening takes, beside the cause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) now: Instant,
    /// How long the failed call asked to be left alone.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) random: u64,
}

impl Machine {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: State::Closed,
            generation: 1,
            since: now,
            cause: Cause::ByHand,
            until: now,
            openings: 0,
            trials: Trials::default(),
            ramp_since: None,
            told: Told::default(),
        }
    }

    /// The same for a breaker of another configuration, in a new generation. Trials begin anew.
    pub(crate) fn carried_on(&self, config: &Config) -> Self {
        Self {
            generation: self.generation + 1,
            trials: Trials::default(),
            ramp_since: self.ramp_since.filter(|_| config.ramp.is_some()),
            told: Told::default(),
            ..*self
        }
    }

    /// From when on a closed one has all traffic back, and opens for as long as the first time.
    pub(crate) fn settled_from(&self, config: &Config) -> Option<Instant> {
        if self.state != State::Closed {
            return None;
        }
        let forgotten = self.since + config.open_time.forgotten_after(self.openings);
        let ramp = self.ramp_since.zip(config.ramp);
        Some(ramp.map_or(forgotten, |(since, ramp)| forgotten.max(since + ramp.time)))
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn cause(&self) -> Cause {
        self.cause
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn trials_in_flight(&self) -> u32 {
        self.trials.in_flight
    }

    pub(crate) fn trials_over(&self) -> Counts {
        self.trials.over
    }

    pub(crate) fn ramp_since(&self) -> Option<Instant> {
        self.ramp_since
    }

    /// Moves on to the state that the time alone brings: from open to half-open once the open time
    /// is over, and out of half-open once that took too long.
    pub(crate) fn pass_time(&mut self, config: &Config, opening: Opening) -> Option<Change> {
        let now = opening.now;
        match self.state {
            State::Open if now >= self.until => {
                Some(self.enter(State::HalfOpen, Cause::OpenTimeOver, now))
            }
            State::HalfOpen => {
                let (max, then) = config.half_open.max_time?;
                if now - self.since <= max {
                    return None;
                }
                Some(match then {
                    Expiry::Open => self.open(config, Cause::TrialsTimedOut, opening),
                    Expiry::Close => self.close(config, Cause::TrialsTimedOut, now),
                })
            }
            _ => None,
        }
    }

    /// Lets a call through, or not; the time has been passed.
    pub(crate) fn admit(&mut self, config: &Config) -> Admission {
        let generation = self.generation;
        let half_open = &config.half_open;
        match self.state {
            State::Open | State::ForcedOpen => Admission::Refused,
            State::HalfOpen => {
                let taken = u64::from(self.trials.in_flight) + self.trials.over.total;
                let free = taken < u64::from(half_open.trials);
                if free && self.trials.in_flight < half_open.at_once {
                    self.trials.in_flight += 1;
                    Admission::Trial { generation }
                } else {
                    Admission::Refused
                }
            }
            State::Closed | State::Disabled | State::MetricsOnly => Admission::ByPhase,
        }
    }

    /// Whether a trial is of the half-open time that still lasts.
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        self.generation == generation && self.state == State::HalfOpen
    }

    /// Takes back a trial of the current half-open time that told nothing.
    pub(crate) fn release(&mut self) {
        self.trials.in_flight -= 1;
    }

    /// Takes in how a trial of the current half-open time went.
    pub(crate) fn conclude(
        &mut self,
        config: &Config,
        kind: Kind,
        opening: Opening,
    ) -> Option<Change> {
        self.release();
        self.trials.over.add(kind);
        self.trials.good += u32::from(kind.is_good());
        let half_open = &config.half_open;
        let over = self.trials.over;
        let all = over.total == u64::from(half_open.trials);
        let failed = match half_open.verdict {
            Verdict::FirstFailure => over.failed > 0 || over.slow > 0,
            Verdict::Rate => all && trials_failed(config, over),
        };
        if failed {
            Some(self.open(config, Cause::TrialsFailed, opening))
        } else if all || self.trials.good >= half_open.successes {
            Some(self.close(config, Cause::TrialsSucceeded, opening.now))
        } else {
            None
        }
    }

    /// Opens for `cause`, if the state is still that of the call that found it.
    pub(crate) fn trip(
        &mut self,
        config: &Config,
        generation: u64,
        cause: Cause,
        opening: Opening,
    ) -> Option<Change> {
        let trips = self.state == State::Closed && self.generation == generation;
        trips.then(|| self.open(config, cause, opening))
    }

    /// Whether a breaker that never opens should tell that it would have: once for each cause.
    pub(crate) fn tells(&mut self, generation: u64, cause: Cause) -> bool {
        if self.state != State::MetricsOnly || self.generation != generation {
            return false;
        }
        let told = match cause {
            Cause::FailureRate(_) => &mut self.told.failure_rate,
            Cause::SlowRate(_) => &mut self.told.slow_rate,
            _ => &mut self.told.consecutive,
        };
        !std::mem::replace(told, true)
    }

    /// Goes to `to` by hand; `None` if it is there already.
    ///
    /// # Errors
    ///
    /// When there is no such way: only an open breaker can become half-open.
    pub(crate) fn go(
        &mut self,
        config: &Config,
        to: State,
        opening: Opening,
    ) -> Result<Option<Change>, IllegalTransition> {
        let from = self.state;
        if from == to {
            return Ok(None);
        }
        Ok(Some(match to {
            State::Open => self.open(config, Cause::ByHand, opening),
            State::HalfOpen if from != State::Open && from != State::ForcedOpen => {
                return Err(IllegalTransition { from, to });
            }
            State::Closed => {
                self.openings = 0;
                self.enter(to, Cause::ByHand, opening.now)
            }
            State::HalfOpen | State::ForcedOpen | State::Disabled | State::MetricsOnly => {
                self.told = Told::default();
                self.enter(to, Cause::ByHand, opening.now)
            }
        }))
    }

    /// Closes as if new; what is under way no longer counts, also if it was closed already.
    pub(crate) fn reset(&mut self, now: Instant) -> Option<Change> {
        let change = self.enter(State::Closed, Cause::ByHand, now);
        self.openings = 0;
        (change.from != State::Closed).then_some(change)
    }

    /// All traffic is back.
    pub(crate) fn end_ramp(&mut self) {
        self.ramp_since = None;
    }

    fn open(&mut self, config: &Config, cause: Cause, opening: Opening) -> Change {
        let now = opening.now;
        let time = &config.open_time;
        if self.state == State::Closed {
            self.openings = time.remembered(self.openings, now - self.since);
        }
        let open_for = time.time(self.openings, opening.retry_after, opening.random);
        self.openings = self.openings.saturating_add(1);
        // It is open for that long, and closed to trials at the very end of it still.
        self.until = now + open_for + Duration::from_nanos(1);
        self.enter(State::Open, cause, now)
    }

    fn close(&mut self, config: &Config, cause: Cause, now: Instant) -> Change {
        let change = self.enter(State::Closed, cause, now);
        self.ramp_since = config.ramp.is_some().then_some(now);
        change
    }

    fn enter(&mut self, to: State, cause: Cause, now: Instant) -> Change {
        let from = std::mem::replace(&mut self.state, to);
        let trials = std::mem::take(&mut self.trials);
        self.generation += 1;
        self.since = now;
        self.cause = cause;
        self.ramp_since = None;
        Change {
            from,
            to,
            cause,
            trials: (from == State::HalfOpen).then_some(trials.over),
        }
    }
}

fn trials_failed(config: &Config, over: Counts) -> bool {
    let slow_rate = config.slow.map(|slow| slow.rate);
    let failure_rate = match (config.failure_rate, slow_rate) {
        (None, None) => Some(Ratio::HALF),
        (rate, _) => rate,
    };
    let reached = |rate: Option<Ratio>, part| rate.is_some_and(|r| r.is_reached(part, over.total));
    reached(failure_rate, over.failed) || reached(slow_rate, over.slow)
}

/// There is no way from one state to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalTransition {
    from: State,
    to: State,
}

impl IllegalTransition {
    /// The state that the breaker is in, and stays in.
    #[must_use]
    pub const fn from(&self) -> State {
        self.from
    }

    /// The state that was asked for.
    #[must_use]
    pub const fn to(&self) -> State {
        self.to
    }
}

impl std::fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to } = self;
        write!(
            f,
            "a breaker that is {from} cannot become {to}, only one that is open"
        )
    }
}

impl std::error::Error for IllegalTransition {}
