use std::num::NonZeroU32;

use stanchion_core::Outcome;

use super::Counts;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// What is heeded of each outcome.
///
/// | bits | meaning |
/// |---|---|
/// | 31 | overload is a failure |
/// | 30 | calls are proofs of health |
/// | 29–0 | the streak of failures that ejects; the largest number if none does |
///
/// 0 if outcomes are not heeded at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heed(u32);

const OVERLOAD: u32 = 1 << 31;
const PROOFS: u32 = 1 << 30;
/// A streak that ejects nobody.
const NO_STREAK: u32 = PROOFS - 1;

impl Heed {
    pub(crate) const NOTHING: Self = Self(0);

    pub(super) fn new(consecutive: Option<NonZeroU32>, overload_is_failure: bool) -> Self {
        let streak = consecutive.map_or(NO_STREAK, NonZeroU32::get);
        Self(streak | if overload_is_failure { OVERLOAD } else { 0 })
    }

    /// The same, and calls as proofs of health.
    pub(crate) fn with_proofs(self) -> Self {
        let streak = if self == Self::NOTHING { NO_STREAK } else { 0 };
        Self(self.0 | PROOFS | streak)
    }

    fn streak(self) -> u32 {
        self.0 & NO_STREAK
    }

    /// Whether `outcome` is a failure; `None` if it is no sample.
    fn is_failure(self, outcome: Outcome) -> Option<bool> {
        match outcome {
            Outcome::Success => Some(false),
            Outcome::Failure => Some(true),
            Outcome::Overload if self.0 & OVERLOAD != 0 => Some(true),
            _ => None,
        }
    }
}

/// How the calls to one endpoint ended: the streak of failures, and counts since they were taken.
#[derive(Debug)]
pub(crate) struct Samples {
    heed: AtomicU32,
    streak: AtomicU32,
    /// Failures in the upper half, successes in the lower. Counts are taken at least once an hour,
    /// so one endpoint would have to end a million calls a second to fill a half.
    counts: AtomicU64,
    /// Whether calls succeeded and failed since this was taken, where that is wanted.
    proof: AtomicU32,
}

const SUCCEEDED: u32 = 1;
const FAILED: u32 = 2;
const FAILURE: u64 = 1 << 32;

impl Samples {
    pub(crate) fn new(heed: Heed) -> Self {
        Self {
            heed: AtomicU32::new(heed.0),
            streak: AtomicU32::new(0),
            counts: AtomicU64::new(0),
            proof: AtomicU32::new(0),
        }
    }

    pub(crate) fn set_heed(&self, heed: Heed) {
        self.heed.store(heed.0, Ordering::Relaxed);
    }

    /// Hears how one call ended; tells whether that makes a streak for which the endpoint is to be
    /// ejected. The streak starts again then.
    #[inline]
    pub(crate) fn heard(&self, outcome: Outcome) -> bool {
        // Relaxed, here and below: each word stands for itself, and nothing is published by it.
        let heed = Heed(self.heed.load(Ordering::Relaxed));
        if heed == Heed::NOTHING {
            return false;
        }
        let is_failure = heed.is_failure(outcome);
        if heed.0 & PROOFS != 0 {
            self.prove(is_failure);
        }
        match is_failure {
            None => false,
            Some(false) => {
                self.counts.fetch_add(1, Ordering::Relaxed);
                // Mostly there is no streak, and nothing to write.
                if self.streak.load(Ordering::Relaxed) != 0 {
                    self.streak.store(0, Ordering::Relaxed);
                }
                false
            }
            Some(true) => {
                self.counts.fetch_add(FAILURE, Ordering::Relaxed);
                let streak = self.streak.fetch_add(1, Ordering::Relaxed) + 1;
                // Of several threads one counts the last failure of the streak. After a change to a
                // shorter streak it may be passed already.
                let reached = streak >= heed.streak();
                if reached {
                    self.streak.store(0, Ordering::Relaxed);
                }
                reached && heed.streak() != NO_STREAK
            }
        }
    }

    fn prove(&self, is_failure: Option<bool>) {
        let proof = match is_failure {
            Some(false) => SUCCEEDED,
            Some(true) => FAILED,
            None => return,
        };
        // Mostly it is there already, and nothing is written.
        if self.proof.load(Ordering::Relaxed) & proof == 0 {
            self.proof.fetch_or(proof, Ordering::Relaxed);
        }
    }

    /// Whether calls succeeded, and none failed, since this was asked last.
    #[cfg(feature = "tokio")]
    pub(crate) fn take_proof(&self) -> bool {
        self.proof.swap(0, Ordering::Relaxed) == SUCCEEDED
    }

    /// The counts, which start again.
    #[expect(clippy::cast_possible_truncation, reason = "each half has 32 bits")]
    pub(crate) fn take(&self) -> Counts {
        let counts = self.counts.swap(0, Ordering::Relaxed);
        Counts {
            successes: counts as u32,
            failures: (counts >> 32) as u32,
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.streak.store(0, Ordering::Relaxed);
        self.counts.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    fn heed(streak: u32, overload: bool) -> Heed {
        Heed::new(NonZeroU32::new(streak), overload)
    }

    #[test]
    fn a_streak_is_ended_by_a_success_and_by_nothing_else() {
        let samples = Samples::new(heed(3, false));
        let heard = |outcomes: &[Outcome]| {
            let heard = outcomes.iter().map(|outcome| samples.heard(*outcome));
            heard.collect::<Vec<_>>()
        };
        let (good, bad) = (Outcome::Success, Outcome::Failure);
        assert_eq!(heard(&[bad, bad, good, bad, bad]), [false; 5]);
        assert_eq!(heard(&[Outcome::Ignore, Outcome::Overload]), [false; 2]);
        assert_eq!(heard(&[bad]), [true]);
        // And it starts again.
        assert_eq!(heard(&[bad, bad, bad, bad]), [false, false, true, false]);
        let counts = samples.take();
        assert_eq!((counts.successes, counts.failures), (1, 9));
        assert_eq!(samples.take(), Counts::default());
    }

    #[test]
    fn overload_fails_only_where_it_is_told_to() {
        let samples = Samples::new(heed(1, true));
        assert!(samples.heard(Outcome::Overload));
        samples.set_heed(heed(1, false));
        assert!(!samples.heard(Outcome::Overload));
        assert_eq!(samples.take().failures, 1);
    }

    #[test]
    fn without_rules_nothing_is_counted_and_without_a_streak_only_that() {
        let samples = Samples::new(Heed::NOTHING);
        assert!(!samples.heard(Outcome::Failure));
        assert_eq!(samples.take(), Counts::default());
        samples.set_heed(heed(0, false));
        assert!(!(0..100).any(|_| samples.heard(Outcome::Failure)));
        assert_eq!(samples.take().failures, 100);
    }
}
