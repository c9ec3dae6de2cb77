//! Notices that nobody answers, so that not each call waits for it.
//!
//! ```text
//! answering --MISSES_MAX misses in a row--> away until t --one call from t on--> away until t', asked
//!     ^                                                                             |
//!     +------------------------------- an answer -----------------------------------+
//! ```
//!
//! While it is away one call per back-off is let through to ask again; the others do not wait.

use stanchion_backoff::{Backoff, Jitter};
use stanchion_core::Instant;

/// Misses in a row after which nobody is thought to answer: one lost packet is no outage.
pub(super) const MISSES_MAX: u32 = 3;

#[derive(Clone, Copy, Debug)]
pub(super) struct Detector {
    misses: u32,
    /// When the next call may ask; `None` while there are answers.
    away_until: Option<Instant>,
    attempts: u32,
}

impl Detector {
    pub(super) const fn new() -> Self {
        Self {
            misses: 0,
            away_until: None,
            attempts: 0,
        }
    }

    /// Whether a call is to ask.
    pub(super) fn admits(&mut self, backoff: &Backoff, now: Instant, random: u64) -> bool {
        match self.away_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                // This call asks; the others wait for what it hears, or for the next turn.
                self.wait(backoff, now, random);
                true
            }
        }
    }

    /// Hears that a call was answered; true when that ends an outage.
    pub(super) fn answered(&mut self) -> bool {
        let back = self.away_until.is_some();
        *self = Self::new();
        back
    }

    /// Hears that a call was not; true when that begins an outage.
    pub(super) fn missed(&mut self, backoff: &Backoff, now: Instant, random: u64) -> bool {
        self.misses = self.misses.saturating_add(1);
        let begins = self.away_until.is_none() && self.misses >= MISSES_MAX;
        if begins {
            self.wait(backoff, now, random);
        }
        begins
    }

    fn wait(&mut self, backoff: &Backoff, now: Instant, random: u64) {
        self.away_until = Some(now + backoff.jittered(self.attempts, Jitter::Equal, random));
        self.attempts = self.attempts.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn backoff() -> Backoff {
        Backoff::new(10 * MS, 40 * MS).unwrap()
    }

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    /// Without jitter the longest delay is taken.
    const LATE: u64 = u64::MAX;

    fn away() -> Detector {
        let mut detector = Detector::new();
        for miss in 1..=MISSES_MAX {
            assert!(detector.admits(&backoff(), at(0), LATE));
            assert_eq!(detector.missed(&backoff(), at(0), LATE), miss == MISSES_MAX);
        }
        detector
    }

    #[test]
    fn an_answer_between_misses_starts_the_count_again() {
        let mut detector = Detector::new();
        for _ in 0..10 {
            for _ in 1..MISSES_MAX {
                assert!(!detector.missed(&backoff(), at(0), LATE));
            }
            assert!(!detector.answered());
        }
        assert!(detector.admits(&backoff(), at(0), LATE));
    }

    #[test]
    fn while_away_one_call_asks_in_each_turn_and_turns_grow() {
        let mut detector = away();
        let asked: Vec<u64> = (0..200)
            .filter(|ms| {
                let asks = detector.admits(&backoff(), at(*ms), LATE);
                if asks {
                    assert!(!detector.missed(&backoff(), at(*ms), LATE));
                }
                asks
            })
            .collect();
        assert_eq!(asked, [10, 30, 70, 110, 150, 190]);
    }

    #[test]
    fn one_answer_ends_the_outage() {
        let mut detector = away();
        assert!(!detector.admits(&backoff(), at(9), LATE));
        assert!(detector.admits(&backoff(), at(10), LATE));
        assert!(detector.answered());
        assert!(detector.admits(&backoff(), at(10), LATE));
        assert!(!detector.missed(&backoff(), at(10), LATE));
    }

    #[test]
    fn a_call_that_asked_and_was_dropped_leaves_the_turn_to_the_next() {
        let mut detector = away();
        assert!(detector.admits(&backoff(), at(10), LATE));
        assert!(!detector.admits(&backoff(), at(29), LATE));
        assert!(detector.admits(&backoff(), at(30), LATE));
    }
}
