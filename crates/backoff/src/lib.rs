#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Delays that double, or grow by another factor, from `base` to `cap`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    factor: f64,
}

const DOUBLING: f64 = 2.0;
const FACTOR_MAX: f64 = 1000.0;

/// How chance shortens a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Evenly from half the delay to the delay.
    Equal,
    /// Evenly from nothing to the delay.
    Full,
}

impl Backoff {
    /// Delays of `base`, twice `base`, four times `base` … and never more than `cap`.
    ///
    /// # Errors
    ///
    /// `base` must be positive, and `cap` at least `base`.
    pub const fn new(base: Duration, cap: Duration) -> Result<Self, InvalidBackoff> {
        if base.is_zero() {
            return Err(InvalidBackoff(Problem::ZeroBase));
        }
        if cap.as_nanos() < base.as_nanos() {
            return Err(InvalidBackoff(Problem::CapBelowBase { base, cap }));
        }
        Ok(Self {
            base,
            cap,
            factor: DOUBLING,
        })
    }

    /// By what each delay is longer than the one before. Default: 2.
    ///
    /// # Errors
    ///
    /// `factor` must be a number from 1 to 1000.
    pub fn with_factor(mut self, factor: f64) -> Result<Self, InvalidBackoff> {
        // What is not a number lies in no range.
        if !(1.0..=FACTOR_MAX).contains(&factor) {
            return Err(InvalidBackoff(Problem::Factor(factor)));
        }
        self.factor = factor;
        Ok(self)
    }

    /// The longest delay.
    #[must_use]
    pub const fn cap(&self) -> Duration {
        self.cap
    }

    /// How many times longer each delay is.
    #[must_use]
    pub const fn factor(&self) -> f64 {
        self.factor
    }

    /// How long to wait after `attempt` earlier failures in a row, without jitter; for 0 that is
    /// the base.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        // What overflows is beyond any cap that anyone waits for.
        self.grown(attempt).unwrap_or(self.cap).min(self.cap)
    }

    /// Doubling is exact; other factors are as exact as seconds in a `f64`.
    fn grown(&self, attempt: u32) -> Option<Duration> {
        if self.factor == DOUBLING {
            return self.base.checked_mul(1_u32.checked_shl(attempt)?);
        }
        let power = self.factor.powi(i32::try_from(attempt).unwrap_or(i32::MAX));
        Duration::try_from_secs_f64(self.base.as_secs_f64() * power).ok()
    }

    /// How long to wait, spread by 64 random bits: the greater they are as a number, the longer.
    #[must_use]
    pub fn jittered(&self, attempt: u32, jitter: Jitter, random: u64) -> Duration {
        let delay = self.delay(attempt);
        match jitter {
            Jitter::Full => fraction(delay, random),
            Jitter::Equal => {
                let half = delay / 2;
                half + fraction(delay - half, random)
            }
        }
    }
}

/// `random` / 2⁶⁴ of `duration`, rounded to the nearest nanosecond.
fn fraction(duration: Duration, random: u64) -> Duration {
    let nanos = duration.as_nanos();
    // A duration has 94 bits of nanoseconds at most, so its halves are scaled apart.
    let (high, low) = (nanos >> 64, nanos & u128::from(u64::MAX));
    let random = u128::from(random);
    let nanos = high * random + ((low * random + (1 << 63)) >> 64);
    let (seconds, rest) = (nanos / NANOS, nanos % NANOS);
    // Neither can fail: the result is at most `duration`.
    Duration::new(
        u64::try_from(seconds).unwrap_or(u64::MAX),
        u32::try_from(rest).unwrap_or(0),
    )
}

const NANOS: u128 = 1_000_000_000;

/// Delays that make no sense; the message names the field, the value, and what is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvalidBackoff(Problem);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Problem {
    ZeroBase,
    CapBelowBase { base: Duration, cap: Duration },
    Factor(f64),
}

impl fmt::Display for InvalidBackoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Problem::ZeroBase => f.write_str("base is 0, must be positive"),
            Problem::CapBelowBase { base, cap } => {
                write!(f, "cap is {cap:?}, must be at least the base of {base:?}")
            }
            Problem::Factor(factor) => write!(f, "factor is {factor:?}, must be 1 to 1000"),
        }
    }
}

impl Error for InvalidBackoff {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let error = Backoff::new(Duration::ZERO, MS).unwrap_err();
        assert_eq!(error.to_string(), "base is 0, must be positive");
        let error = Backoff::new(2 * MS, MS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cap is 1ms, must be at least the base of 2ms"
        );
        assert!(Backoff::new(MS, MS).is_ok());
    }

    #[test]
    fn delays_double_up_to_the_cap() {
        let backoff = Backoff::new(3 * MS, 40 * MS).unwrap();
        let delays: Vec<_> = (0..6).map(|attempt| backoff.delay(attempt)).collect();
        assert_eq!(delays, [3 * MS, 6 * MS, 12 * MS, 24 * MS, 40 * MS, 40 * MS]);
        assert_eq!(backoff.delay(u32::MAX), 40 * MS);
    }

    #[test]
    fn another_factor_grows_slower_or_not_at_all() {
        let backoff = Backoff::new(4 * MS, 10 * MS).unwrap();
        let delays = |factor: f64| -> Vec<_> {
            let backoff = backoff.with_factor(factor).unwrap();
            (0..4).map(|attempt| backoff.delay(attempt)).collect()
        };
        assert_eq!(delays(1.5), [4 * MS, 6 * MS, 9 * MS, 10 * MS]);
        assert_eq!(delays(1.0), [4 * MS; 4]);
        let late = backoff.with_factor(1000.0).unwrap();
        assert_eq!(late.delay(u32::MAX), 10 * MS);
        for factor in [0.9, f64::NAN, f64::INFINITY, 1000.1] {
            let error = backoff.with_factor(factor).unwrap_err();
            let message = format!("factor is {factor:?}, must be 1 to 1000");
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn the_ends_of_chance_are_the_ends_of_the_range() {
        let backoff = Backoff::new(MS, 8 * MS).unwrap();
        for (jitter, least) in [(Jitter::Full, Duration::ZERO), (Jitter::Equal, 4 * MS)] {
            assert_eq!(backoff.jittered(3, jitter, 0), least);
            assert_eq!(backoff.jittered(3, jitter, u64::MAX), 8 * MS);
        }
        assert_eq!(backoff.jittered(3, Jitter::Full, 1 << 63), 4 * MS);
    }

    /// The naive way: doubling one step at a time.
    fn doubled(base: Duration, cap: Duration, attempt: u32) -> Duration {
        let mut delay = base;
        for _ in 0..attempt {
            delay = delay.saturating_mul(2).min(cap);
        }
        delay.min(cap)
    }

    proptest! {
        #[test]
        fn any_delay_is_as_if_doubled_step_by_step(
            base in 1_u64..1 << 50, more in 0_u64..1 << 50, attempt in 0_u32..31, random: u64,
        ) {
            let base = Duration::from_nanos(base);
            let cap = base + Duration::from_nanos(more);
            let backoff = Backoff::new(base, cap).unwrap();
            let delay = backoff.delay(attempt);
            prop_assert_eq!(delay, doubled(base, cap, attempt));
            let full = backoff.jittered(attempt, Jitter::Full, random);
            let share = random as f64 / (u64::MAX as f64);
            prop_assert!((full.as_secs_f64() - delay.as_secs_f64() * share).abs() < 1e-6);
            let equal = backoff.jittered(attempt, Jitter::Equal, random);
            prop_assert!(delay / 2 <= equal && equal <= delay);
        }

        #[test]
        fn the_longest_durations_do_not_overflow(seconds: u64, attempt: u32, random: u64) {
            let cap = Duration::MAX;
            let base = Duration::from_secs(seconds.max(1));
            let backoff = Backoff::new(base, cap).unwrap();
            prop_assert!(backoff.jittered(attempt, Jitter::Equal, random) <= cap);
        }
    }
}
