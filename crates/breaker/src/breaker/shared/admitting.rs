//! What becomes of a call where there is more to ask than whether the breaker is closed.

use stanchion_core::Instant;

use super::word::{self, Word};
use super::{Answer, Held, Shared, Token};
use crate::machine::Admission;
use crate::overdue::Overdue;
use crate::sync::Ordering;
use crate::{Event, Rejected, State};

impl Shared {
    /// An open breaker: refuses, unless its time is over. Apart, so that a refusal is little work.
    #[inline(never)]
    pub(super) fn admit_if_over(&self, word: Word) -> Answer {
        let wait = self
            .moment()
            .as_nanos()
            .saturating_sub(self.now().as_nanos());
        if wait == 0 {
            return self.admit_with_care(word);
        }
        let cause = self.cause.load(Ordering::Relaxed);
        self.refuse(Rejected::new(State::Open, cause, wait))
    }

    #[inline(never)]
    pub(super) fn admit_with_care(&self, word: Word) -> Answer {
        let now = self.clock.now();
        match word.phase() {
            word::OPEN if now < self.moment() => self.reject(word, now),
            word::FORCED_OPEN => self.reject(word, now),
            word::CLOSED | word::METRICS_ONLY => self.admit_timed(word, now),
            word::DISABLED => Token::new(word.generation(), Held::Nothing, now).into(),
            word::RAMP => self.admit_share(word, now),
            _ => self.admit_by_machine(now),
        }
    }

    /// A call that is timed, where calls pass.
    fn admit_timed(&self, word: Word, now: Instant) -> Answer {
        let Some(overdue) = &self.overdue else {
            return Token::new(word.generation(), Held::Nothing, now).into();
        };
        let generation = word.generation();
        let (counted_at, turned) = overdue.enter(generation, now);
        if turned && self.hangs(overdue, generation, now) {
            let word = self.word();
            if word.generation() != generation {
                // It tripped, so the call is judged anew.
                return self.admit_with_care(word);
            }
        }
        Token::new(generation, Held::Place, counted_at).into()
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
    fn admit_share(&self, word: Word, now: Instant) -> Answer {
        let ramp = self.config.ramp;
        let Some(share) = ramp.and_then(|ramp| ramp.share(now - self.moment())) else {
            self.end_ramp(word);
            return self.admit_with_care(self.word());
        };
        let before = self.ramp.fetch_add(share, Ordering::Relaxed);
        if before >> 32 == before.wrapping_add(share) >> 32 {
            return self.reject(word, now);
        }
        self.admit_timed(word, now)
    }

    /// Half-open, or open with its time over.
    fn admit_by_machine(&self, now: Instant) -> Answer {
        let mut machine = self.machine.lock();
        let change = machine.pass_time(&self.config, Self::opening(now, None));
        let admission = machine.admit(&self.config);
        let word = self.settle(machine, change);
        match admission {
            Admission::Trial { generation } => Token::new(generation, Held::Trial, now).into(),
            Admission::Refused => self.reject(word, now),
            // Another thread, or the time, brought it where no lock is needed.
            Admission::ByPhase => self.admit_with_care(word),
        }
    }

    fn reject(&self, word: Word, now: Instant) -> Answer {
        let wait = match word.phase() {
            word::OPEN => self
                .moment()
                .as_nanos()
                .saturating_sub(now.as_nanos())
                .max(1),
            _ => 0,
        };
        let cause = self.cause.load(Ordering::Relaxed);
        self.refuse(Rejected::new(word.state(), cause, wait))
    }

    #[inline]
    fn refuse(&self, rejected: Rejected) -> Answer {
        self.rejected.add_one();
        if self.observer.is_some() {
            self.tell_refused(rejected);
        }
        rejected.into()
    }

    #[inline(never)]
    fn tell_refused(&self, rejected: Rejected) {
        self.tell(&Event::Rejected(rejected));
    }

    fn moment(&self) -> Instant {
        // Relaxed: who acquired the word sees the moment of its generation, or of a later one.
        Instant::from_nanos(self.moment.load(Ordering::Relaxed))
    }
}
