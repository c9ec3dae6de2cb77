//! When to ask again; pure.

use std::time::Duration;

use stanchion_backoff::{Backoff, Jitter};

/// How long answers are good for, and how long to wait after failures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) floor: Duration,
    pub(super) ceiling: Duration,
    pub(super) backoff: Backoff,
}

/// How long an answer is good for that says nothing of it: that there is no record, say.
const UNTOLD: Duration = Duration::from_secs(5);

impl Pace {
    /// After an answer that is good for `ttl`: that long, between floor and ceiling, and up to a tenth
    /// longer, so that those who asked together do not ask together again.
    pub(super) fn after_answer(&self, ttl: Option<Duration>, random: u64) -> Duration {
        let rest = ttl.unwrap_or(UNTOLD).clamp(self.floor, self.ceiling);
        let share = f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        rest + (rest / 10).mul_f64(share)
    }

    /// After so many failures in a row, the first being 1.
    pub(super) fn after_failures(&self, failures: u32, random: u64) -> Duration {
        let earlier = failures.saturating_sub(1);
        self.backoff.jittered(earlier, Jitter::Equal, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_is_good_for_its_time_within_bounds() {
        let pace = Pace {
            floor: SECOND,
            ceiling: 100 * SECOND,
            backoff: Backoff::new(SECOND, 8 * SECOND).unwrap(),
        };
        for (ttl, rest) in [
            (Some(Duration::ZERO), SECOND),
            (Some(30 * SECOND), 30 * SECOND),
            (Some(86_400 * SECOND), 100 * SECOND),
            (None, UNTOLD),
        ] {
            assert_eq!(pace.after_answer(ttl, 0), rest);
            assert_eq!(pace.after_answer(ttl, u64::MAX), rest + rest / 10);
        }
        for (failures, longest) in [(1, 1), (2, 2), (3, 4), (4, 8), (1_000, 8)] {
            assert_eq!(pace.after_failures(failures, u64::MAX), longest * SECOND);
            assert_eq!(pace.after_failures(failures, 0), longest * SECOND / 2);
        }
    }
}
