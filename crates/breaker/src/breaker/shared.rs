//! The state behind a breaker's handles: a word that every call reads, a window that every call
//! writes, and a machine under a lock for what is rare.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use stanchion_core::{Clock, Instant, Observe, Outcome};

use super::RetryAfter;
use crate::machine::{Admission, Change, Machine, Opening};
use crate::overdue::{Overdue, Place};
use crate::streak::Streak;
use crate::sync::{AtomicU64, Ordering};
use crate::window::{Counts, Kind, SharedWindow};
use crate::{
    CancelPolicy, Cause, Config, Event, IllegalTransition, OverloadPolicy, Rejected, Snapshot,
    State, Transition,
};

type Observer = Arc<dyn Observe<Event> + Send + Sync>;

pub(crate) struct Shared {
    /// What calls need to know of the machine.
    ///
    /// | bits | meaning |
    /// |---|---|
    /// | 63–4 | generation |
    /// | 3–0 | phase: the state; or `RAMP`, closed with a share of the calls |
    ///
    /// Written under the machine's lock, with Release, after all that belongs to the generation;
    /// who acquires it finds the window begun.
    word: AtomicU64,
    /// In nanoseconds of the clock: when an open breaker lets trials through; when traffic began to
    /// come back, in the phase `RAMP`.
    moment: AtomicU64,
    /// Why the state was entered, packed.
    cause: AtomicU64,
    config: Config,
    clock: Clock,
    observer: Option<Observer>,
    /// A permit must know when it was given.
    timed: bool,
    window: SharedWindow,
    streak: Streak,
    overdue: Option<Overdue>,
    /// The shares of the calls that came while traffic comes back, added up in units of 2⁻³².
    ramp: AtomicU64,
    machine: Mutex<Machine>,
    rejected: AtomicU64,
    late: AtomicU64,
    failed: AtomicU64,
    slow: AtomicU64,
}

/// What a permit holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    generation: u64,
    started: Instant,
    place: Option<Place>,
    trial: bool,
}

const CLOSED: u64 = 0;
const RAMP: u64 = 1;
const HALF_OPEN: u64 = 2;
const OPEN: u64 = 3;
const FORCED_OPEN: u64 = 4;
const DISABLED: u64 = 5;
const METRICS_ONLY: u64 = 6;
const PHASE_BITS: u32 = 4;
const PHASE: u64 = (1 << PHASE_BITS) - 1;

fn state_of(word: u64) -> State {
    match word & PHASE {
        CLOSED | RAMP => State::Closed,
        HALF_OPEN => State::HalfOpen,
        OPEN => State::Open,
        FORCED_OPEN => State::ForcedOpen,
        DISABLED => State::Disabled,
        _ => State::MetricsOnly,
    }
}

impl Token {
    fn new(generation: u64) -> Self {
        Self {
            generation,
            started: Instant::ZERO,
            place: None,
            trial: false,
        }
    }
}

impl Shared {
    pub(crate) fn new(config: Config, clock: Clock, observer: Option<Observer>) -> Self {
        let machine = Machine::new(clock.now());
        let in_flight = config.slow.filter(|slow| slow.in_flight);
        let shared = Self {
            word: AtomicU64::new(0),
            moment: AtomicU64::new(0),
            cause: AtomicU64::new(0),
            timed: config.times_calls(),
            window: SharedWindow::new(&config),
            streak: Streak::new(),
            overdue: in_flight.map(|slow| Overdue::new(slow.threshold)),
            ramp: AtomicU64::new(0),
            config,
            clock,
            observer,
            machine: Mutex::new(machine),
            rejected: AtomicU64::new(0),
            late: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            slow: AtomicU64::new(0),
        };
        shared.publish(&shared.machine.lock());
        shared
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
        state_of(self.word.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn admit(&self) -> Result<Token, Rejected> {
        let word = self.word.load(Ordering::Acquire);
        if word & PHASE == CLOSED && !self.timed {
            return Ok(Token::new(word >> PHASE_BITS));
        }
        self.admit_with_care(word)
    }

    fn admit_with_care(&self, word: u64) -> Result<Token, Rejected> {
        let now = self.clock.now();
        match word & PHASE {
            CLOSED | METRICS_ONLY => self.admit_timed(word, now),
            DISABLED => Ok(Token {
                started: now,
                ..Token::new(word >> PHASE_BITS)
            }),
            OPEN if now < self.moment() => Err(self.reject(word, now)),
            FORCED_OPEN => Err(self.reject(word, now)),
            RAMP => self.admit_share(word, now),
            _ => self.admit_by_machine(now),
        }
    }

    /// A call that is timed, where calls pass.
    fn admit_timed(&self, word: u64, now: Instant) -> Result<Token, Rejected> {
        let generation = word >> PHASE_BITS;
        let mut token = Token {
            started: now,
            ..Token::new(generation)
        };
        if let Some(overdue) = &self.overdue {
            let (place, turned) = overdue.enter(generation, now);
            if turned && self.hangs(overdue, generation, now) {
                let word = self.word.load(Ordering::Acquire);
                if word >> PHASE_BITS != generation {
                    // It tripped, so the call is judged anew.
                    return self.admit_with_care(word);
                }
            }
            token.place = Some(place);
        }
        Ok(token)
    }

    /// Counts the calls that hang as slow, and trips if that is too many; whether it tried.
    fn hangs(&self, overdue: &Overdue, generation: u64, now: Instant) -> bool {
        let hanging = overdue.count(generation, now);
        if hanging == 0 {
            return false;
        }
        let mut counts = self.window.counts(generation, || now);
        counts.total += hanging;
        counts.slow += hanging;
        match self.slow_cause(counts) {
            Some(cause) => {
                self.reached(generation, cause, now, None);
                true
            }
            None => false,
        }
    }

    /// While traffic comes back: so many calls as the share says, evenly spread.
    fn admit_share(&self, word: u64, now: Instant) -> Result<Token, Rejected> {
        let ramp = self.config.ramp;
        let Some(share) = ramp.and_then(|ramp| ramp.share(now - self.moment())) else {
            let mut machine = self.machine.lock();
            if machine.generation() == word >> PHASE_BITS {
                machine.end_ramp();
                self.publish_phase(&machine);
            }
            drop(machine);
            return self.admit_with_care(self.word.load(Ordering::Acquire));
        };
        let before = self.ramp.fetch_add(share, Ordering::Relaxed);
        if before >> 32 == before.wrapping_add(share) >> 32 {
            return Err(self.reject(word, now));
        }
        if self.timed {
            self.admit_timed(word, now)
        } else {
            Ok(Token::new(word >> PHASE_BITS))
        }
    }

    fn moment(&self) -> Instant {
        // Relaxed: who acquired the word sees the moment of its generation, or of a later one.
        Instant::from_nanos(self.moment.load(Ordering::Relaxed))
    }

    /// Half-open, or open with its time over.
    fn admit_by_machine(&self, now: Instant) -> Result<Token, Rejected> {
        let mut machine = self.machine.lock();
        let change = machine.pass_time(&self.config, self.opening(now, None));
        let admission = machine.admit(&self.config);
        let word = self.settle(machine, change);
        match admission {
            Admission::Trial { generation } => Ok(Token {
                started: now,
                trial: true,
                ..Token::new(generation)
            }),
            Admission::Refused => Err(self.reject(word, now)),
            // Another thread, or the time, brought it where no lock is needed.
            Admission::ByPhase => self.admit_with_care(word),
        }
    }

    #[cold]
    fn reject(&self, word: u64, now: Instant) -> Rejected {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        let state = state_of(word);
        let retry_after =
            (state == State::Open).then(|| (self.moment() - now).max(Duration::from_nanos(1)));
        let rejected = Rejected {
            state,
            cause: Cause::unpack(self.cause.load(Ordering::Relaxed)),
            retry_after,
        };
        self.tell(&Event::Rejected(rejected));
        rejected
    }

    /// Takes in the outcome of a call.
    #[inline]
    pub(crate) fn finish(&self, token: Token, outcome: Outcome, retry_after: RetryAfter) {
        let failed = match outcome {
            Outcome::Success => false,
            Outcome::Failure => true,
            Outcome::Overload => match self.config.overload {
                OverloadPolicy::Failure => true,
                OverloadPolicy::Ignore => return self.finish_without(token),
            },
            _ => return self.finish_without(token),
        };
        if token.trial || self.config.slow.is_some() {
            return self.finish_timed(token, failed, retry_after);
        }
        let kind = Kind {
            failed,
            slow: false,
        };
        self.record(token.generation, kind, None, retry_after);
    }

    fn finish_timed(&self, token: Token, failed: bool, retry_after: RetryAfter) {
        let now = self.clock.now();
        let too_long = |slow: crate::SlowCalls| now - token.started > slow.threshold;
        let slow = self.config.slow.is_some_and(too_long);
        let kind = Kind { failed, slow };
        if token.trial {
            self.conclude(token, Some(kind), now, retry_after);
            return;
        }
        if let (Some(overdue), Some(place)) = (&self.overdue, token.place) {
            overdue.leave(token.generation, place);
        }
        self.record(token.generation, kind, Some(now), retry_after);
    }

    /// Takes back what a call held that told nothing.
    fn finish_without(&self, token: Token) {
        if token.trial {
            self.conclude(token, None, self.clock.now(), None);
        } else if let (Some(overdue), Some(place)) = (&self.overdue, token.place) {
            overdue.leave(token.generation, place);
        }
    }

    /// Takes back what a dropped permit held.
    pub(crate) fn cancel(&self, token: Token) {
        let failed = match self.config.cancel {
            CancelPolicy::Ignore => false,
            CancelPolicy::Failure => true,
            CancelPolicy::FailureIfOlderThan(age) => self.clock.now() - token.started > age,
        };
        if failed {
            self.finish(token, Outcome::Failure, None);
        } else {
            self.finish_without(token);
        }
    }

    #[inline]
    fn record(&self, generation: u64, kind: Kind, now: Option<Instant>, retry_after: RetryAfter) {
        let word = self.word.load(Ordering::Acquire);
        if word >> PHASE_BITS != generation {
            self.late.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if word & PHASE == DISABLED {
            return;
        }
        let read = || now.unwrap_or_else(|| self.clock.now());
        let counts = self.window.record(generation, kind, read);
        if self.config.consecutive.is_some() && !kind.failed {
            self.streak.succeeded(generation);
        }
        if kind.is_good() && counts.is_none() {
            return;
        }
        self.judge(generation, kind, counts, now, retry_after);
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
        // Relaxed: numbers for metrics.
        self.failed
            .fetch_add(u64::from(kind.failed), Ordering::Relaxed);
        self.slow.fetch_add(u64::from(kind.slow), Ordering::Relaxed);
        let streak = match self.config.consecutive {
            Some(most) if kind.failed => {
                let count = self.streak.failed(generation);
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

    fn slow_cause(&self, counts: Counts) -> Option<Cause> {
        let rate = self.config.slow?.rate;
        let reached = self.knows_rates(counts) && rate.is_reached(counts.slow, counts.total);
        reached.then(|| Cause::SlowRate(quotient(counts.slow, counts.total)))
    }

    fn knows_rates(&self, counts: Counts) -> bool {
        counts.total > 0 && counts.total >= u64::from(self.config.min_calls)
    }

    #[cold]
    fn reached(&self, generation: u64, cause: Cause, now: Instant, retry_after: RetryAfter) {
        let mut machine = self.machine.lock();
        let opening = self.opening(now, retry_after);
        let change = machine.trip(&self.config, generation, cause, opening);
        let tells = machine.tells(generation, cause);
        self.settle(machine, change);
        if tells {
            self.tell(&Event::ThresholdReached(cause));
        }
    }

    /// Takes in how a trial went, or takes it back.
    fn conclude(&self, token: Token, kind: Option<Kind>, now: Instant, retry_after: RetryAfter) {
        let mut machine = self.machine.lock();
        if !machine.is_current(token.generation) {
            drop(machine);
            self.late
                .fetch_add(u64::from(kind.is_some()), Ordering::Relaxed);
            return;
        }
        let Some(kind) = kind else {
            machine.release();
            return;
        };
        self.failed
            .fetch_add(u64::from(kind.failed), Ordering::Relaxed);
        self.slow.fetch_add(u64::from(kind.slow), Ordering::Relaxed);
        let opening = self.opening(now, retry_after);
        let change = machine.conclude(&self.config, kind, opening);
        self.settle(machine, change);
    }

    pub(crate) fn go(&self, to: State) -> Result<(), IllegalTransition> {
        let opening = self.opening(self.clock.now(), None);
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

    fn opening(&self, now: Instant, retry_after: RetryAfter) -> Opening {
        Opening {
            now,
            retry_after,
            // Randomly seeded, so what it gives for nothing is random.
            random: RandomState::new().build_hasher().finish(),
        }
    }

    /// Publishes a change, lets go of the lock, then tells. Returns the word as it is then.
    fn settle(&self, machine: MutexGuard<'_, Machine>, change: Option<Change>) -> u64 {
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
        let word = self.word.load(Ordering::Relaxed);
        drop(machine);
        if let Some(event) = event {
            self.tell(&event);
        }
        word
    }

    /// Begins the machine's generation.
    fn publish(&self, machine: &Machine) {
        let generation = machine.generation();
        self.window.begin(generation);
        self.streak.begin(generation);
        if let Some(overdue) = &self.overdue {
            overdue.begin(generation);
        }
        let moment = machine.ramp_since().unwrap_or(machine.until());
        self.moment.store(moment.as_nanos(), Ordering::Relaxed);
        self.cause.store(machine.cause().pack(), Ordering::Relaxed);
        self.publish_phase(machine);
    }

    fn publish_phase(&self, machine: &Machine) {
        let phase = match machine.state() {
            State::Closed if machine.ramp_since().is_some() => RAMP,
            State::Closed => CLOSED,
            State::HalfOpen => HALF_OPEN,
            State::Open => OPEN,
            State::ForcedOpen => FORCED_OPEN,
            State::Disabled => DISABLED,
            State::MetricsOnly => METRICS_ONLY,
        };
        self.word.store(
            machine.generation() << PHASE_BITS | phase,
            Ordering::Release,
        );
    }

    fn tell(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }

    /// What the window holds.
    fn counts(&self) -> Counts {
        let generation = self.word.load(Ordering::Acquire) >> PHASE_BITS;
        self.window.counts(generation, || self.clock.now())
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let machine = self.machine.lock();
        let state = machine.state();
        let generation = machine.generation();
        let counts = match state {
            State::HalfOpen => machine.trials_over(),
            _ => self.window.counts(generation, || now),
        };
        let known = state != State::HalfOpen && self.knows_rates(counts);
        let rate = |part| known.then(|| share(part, counts.total));
        let ramp = self.config.ramp.zip(machine.ramp_since());
        let admitted = ramp.and_then(|(ramp, since)| ramp.share(now - since));
        let hanging = self.overdue.as_ref();
        Snapshot {
            state,
            cause: machine.cause(),
            in_state_for: now - machine.since(),
            calls: counts.total,
            failed: counts.failed,
            slow: counts.slow,
            failure_rate: rate(counts.failed),
            slow_rate: rate(counts.slow),
            hanging: hanging.map_or(0, |overdue| overdue.count(generation, now)),
            trials_in_flight: machine.trials_in_flight(),
            open_for: (state == State::Open).then(|| machine.until() - now),
            admitted_share: admitted.map(|admitted| share(admitted, 1 << 32)),
            rejected_total: self.rejected.load(Ordering::Relaxed),
            late_total: self.late.load(Ordering::Relaxed),
            failed_total: self.failed.load(Ordering::Relaxed),
            slow_total: self.slow.load(Ordering::Relaxed),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share, told to people")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a share, told to people")]
fn quotient(part: u64, whole: u64) -> f32 {
    share(part, whole) as f32
}
