//! Limits in the numbers of the script: whole, and small enough for Lua's doubles to be exact.

use std::fmt;
use std::time::Duration;

use crate::gcra::Gcra;
use crate::sliding_window_counter::Estimate;
use crate::window::Window;
use crate::{InvalidQuota, Policy, Quota, Status};

/// Up to here sums and differences of any two of the script's numbers stay below 2⁵³.
const EXACT_MAX: u128 = 1 << 52;
/// A step of fewer units would be rounded up by more than one part in a thousand.
const STEP_MIN: u128 = 1 << 10;
/// The finest rounding, where exact units do not fit.
const SCALE_MAX: u128 = 1 << 20;
const NANOS: u64 = 1_000;

/// A limit as the script reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terms {
    Gcra {
        quota: Quota,
        /// Units per microsecond.
        scale: u64,
        /// Units from one admission to the next.
        step: u64,
    },
    Fixed(Window),
    Counter {
        window: Window,
        /// Microseconds in which the script weighs the last window; they divide its length.
        grain: u64,
    },
}

impl Terms {
    pub(super) fn new(policy: Policy) -> Result<Self, Problem> {
        if let Policy::TokenBucket(quota) = policy {
            Self::gcra(quota)
        } else if let Policy::FixedWindow(fixed) = policy {
            whole(fixed.window).map(Self::Fixed)
        } else if let Policy::SlidingWindowCounter(counter) = policy {
            let window = whole(counter.window)?;
            let grain = grain(window).ok_or(Problem::TooFine(policy))?;
            Ok(Self::Counter { window, grain })
        } else {
            Err(Problem::LocalOnly(policy))
        }
    }

    fn gcra(quota: Quota) -> Result<Self, Problem> {
        let too_fine = Problem::TooFine(quota.into());
        let nanos = quota.period().as_nanos();
        // Permits in as many microseconds as the period has nanoseconds.
        let count = u128::from(quota.count()) * u128::from(NANOS);
        let common = gcd(count, nanos);
        let (count, micros) = (count / common, nanos / common);
        let burst = u128::from(quota.burst());
        let fits = |scale: u128, step: u128| scale <= EXACT_MAX && step * burst <= EXACT_MAX;
        let rounded = || {
            let scales = std::iter::successors(Some(SCALE_MAX), |scale| Some(scale / 2));
            scales
                .take_while(|scale| *scale > 0)
                .map(|scale| (scale, (micros * scale).div_ceil(count)))
                .find(|(scale, step)| fits(*scale, *step) && *step >= STEP_MIN)
        };
        let exact = fits(count, micros).then_some((count, micros));
        let (scale, step) = exact.or_else(rounded).ok_or(too_fine)?;
        let narrow = |number| u64::try_from(number).map_err(|_| too_fine);
        Ok(Self::Gcra {
            quota,
            scale: narrow(scale)?,
            step: narrow(step)?,
        })
    }

    /// The most that is ever admitted at once.
    pub(super) fn capacity(&self) -> u64 {
        match self {
            Self::Gcra { quota, .. } => quota.burst(),
            Self::Fixed(window) | Self::Counter { window, .. } => window.limit,
        }
    }

    /// One of `instances` equal shares, as a token bucket: the same count in so many times the
    /// period, exactly; and of what is admitted at once the same part, but one permit at least.
    pub(super) fn share(&self, instances: u32) -> Result<Quota, InvalidQuota> {
        let (count, period) = match self {
            Self::Gcra { quota, .. } => (quota.count(), quota.period()),
            Self::Fixed(window) | Self::Counter { window, .. } => (window.limit, window.duration()),
        };
        let period = period.checked_mul(instances).unwrap_or(Duration::MAX);
        let burst = self.capacity() / u64::from(instances.max(1));
        Quota::new(count, period)?.with_burst(burst.max(1))
    }

    /// What the script calls the algorithm.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Gcra { .. } => "gcra",
            Self::Fixed(_) => "fixed",
            Self::Counter { .. } => "counter",
        }
    }

    pub(super) fn numbers(&self) -> [u64; 3] {
        match self {
            Self::Gcra { quota, scale, step } => [*scale, *step, quota.burst()],
            Self::Fixed(window) => [window.nanos / NANOS, window.limit, 0],
            Self::Counter { window, grain } => [window.nanos / NANOS, window.limit, *grain],
        }
    }

    /// Where the limit stands, by the script's answer to a request of `cost`.
    pub(super) fn status(&self, answer: [u64; 3], cost: u64) -> Status {
        match self {
            Self::Gcra { quota, step, .. } => {
                // One admission is one step in the units of either side.
                let ahead = u128::from(answer[0]) * u128::from(quota.step());
                let ahead = ahead.div_ceil(u128::from(*step));
                Status::new(Gcra::new(quota), u64::try_from(ahead).unwrap_or(u64::MAX))
            }
            Self::Fixed(window) => {
                let [used, into, _] = answer;
                let left = window.nanos.saturating_sub(into.saturating_mul(NANOS));
                let remaining = window.limit.saturating_sub(used);
                let wait = if cost <= remaining { 0 } else { left };
                let wait = (cost <= window.limit).then_some(wait);
                let reset = if used == 0 { 0 } else { left };
                Status::window(window.limit, remaining, reset, cost, wait)
            }
            Self::Counter { window, grain } => {
                let [previous, current, into] = answer;
                let left = window.nanos.saturating_sub(into.saturating_mul(NANOS));
                // The script weighs anew with each grain, and tells none of its parts.
                let late = (grain - 1) * NANOS;
                Status::estimate(Estimate::new(*window, previous, current, left), late)
            }
        }
    }
}

/// A window in whole microseconds, rounded up.
fn whole(window: Window) -> Result<Window, Problem> {
    let nanos = window.nanos.checked_next_multiple_of(NANOS);
    let nanos = nanos.filter(|_| u128::from(window.limit) <= EXACT_MAX);
    nanos
        .map(|nanos| Window { nanos, ..window })
        .ok_or(Problem::Window(window))
}

/// The least grain of a window by which the product of its length and twice its limit is exact: a
/// microsecond, but for large limits on long windows. Weighed by grains the last window counts
/// a little more, never less.
fn grain(window: Window) -> Option<u64> {
    let micros = window.nanos / NANOS;
    let least = (u128::from(micros) * u128::from(window.limit) * 2).div_ceil(EXACT_MAX);
    let least = u64::try_from(least).ok()?;
    // A window of fewer grains than this would be weighed by more than a thousandth too much.
    let most = if least <= 1 { 1 } else { micros / 1_000 };
    (least.max(1)..=most)
        .take(1_000_000)
        .find(|grain| micros.is_multiple_of(*grain))
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Why a policy cannot be kept in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    LocalOnly(Policy),
    TooFine(Policy),
    Window(Window),
}

impl Problem {
    /// The value that is wrong.
    pub(super) fn value(&self) -> String {
        match self {
            Self::LocalOnly(policy) => policy.algorithm().to_owned(),
            Self::TooFine(policy) => policy.to_string(),
            Self::Window(window) => format!("{} in {:?}", window.limit, window.duration()),
        }
    }
}

/// What is allowed instead.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LocalOnly(_) => {
                "a token bucket, a fixed window or a sliding window counter: the others keep their \
                 state in one process"
            }
            Self::TooFine(_) => {
                "slower, or of a smaller burst or limit, for whole microseconds to tell it to a \
                 thousandth"
            }
            Self::Window(_) => "of a limit of at most 2⁵²",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(policy: &str) -> Result<[u64; 3], Problem> {
        Terms::new(policy.parse().unwrap()).map(|terms| terms.numbers())
    }

    #[test]
    fn intervals_are_exact_where_they_fit() {
        for (quota, numbers) in [
            ("100/s burst 20", [1, 10_000, 20]),
            ("3/s", [3, 1_000_000, 3]),
            ("1/d", [1, 86_400_000_000, 1]),
            ("600_000_000/s", [600, 1, 600_000_000]),
            ("1000003/s", [1_000_003, 1_000_000, 1_000_003]),
            ("5/250us", [1, 50, 5]),
            ("7/1500ns", [14, 3, 7]),
        ] {
            assert_eq!(terms(quota), Ok(numbers), "{quota}");
        }
    }

    #[test]
    fn others_are_rounded_up_by_less_than_a_thousandth_or_refused() {
        // Exactly, a full bucket would be 1,000,003 · 86,400,000,000 units.
        let [scale, step, burst] = terms("1000003/d").unwrap();
        assert!(step * burst <= 1 << 52);
        let exact = 86_400e6 / 1_000_003.0;
        let rounded = step as f64 / scale as f64;
        assert!(
            (exact..exact * 1.001).contains(&rounded),
            "{exact} {rounded}"
        );
        assert!(terms("1000000007/s burst 99_999_999_999_999").is_err());
    }

    #[test]
    fn windows_are_counted_in_whole_microseconds_and_exactly() {
        assert_eq!(terms("fixed-window 7/1500ns"), Ok([2, 7, 0]));
        assert_eq!(
            terms("sliding-window-counter 100/m"),
            Ok([60_000_000, 100, 1])
        );
        assert_eq!(
            terms("fixed-window 1_000_000_000/d"),
            Ok([86_400_000_000, 1_000_000_000, 0])
        );
        // 2 · 86.4e9 · 10⁹ is 38,369 times 2⁵²; 38,400 us divide a day.
        let large = terms("sliding-window-counter 1_000_000_000/d");
        assert_eq!(large, Ok([86_400_000_000, 1_000_000_000, 38_400]));
        // 9,999,991 is prime.
        let odd = terms("sliding-window-counter 1_000_000_000/9_999_991us").unwrap_err();
        assert_eq!(odd.value(), "sliding-window-counter 1000000000/9999991us");
        let above = terms("fixed-window 9_000_000_000_000_000/d").unwrap_err();
        assert_eq!(above.value(), "9000000000000000 in 86400s");
    }

    #[test]
    fn answers_are_told_in_the_units_of_the_quota() {
        let told = |policy: &str, answer, cost| {
            let terms = Terms::new(policy.parse().unwrap()).unwrap();
            let status = terms.status(answer, cost);
            assert_eq!(status.limit(), 5);
            (
                status.remaining(),
                status.available_after(cost),
                status.reset_after(),
            )
        };
        let third = Duration::from_nanos(333_333_334);
        let reset = Duration::from_nanos(666_666_667);
        let gcra = told("3/s burst 5", [2_000_000, 0, 0], 4);
        assert_eq!(gcra, (3, Some(third), reset));
        // Half a second into the window.
        let (half, whole) = (Duration::from_millis(500), Duration::from_secs(1));
        assert_eq!(
            told("fixed-window 5/s", [2, 500_000, 0], 3),
            (3, Some(Duration::ZERO), half)
        );
        assert_eq!(
            told("fixed-window 5/s", [2, 500_000, 0], 4),
            (3, Some(half), half)
        );
        // Half of the last four count, and the two of now.
        let counter = told("sliding-window-counter 5/s", [4, 2, 500_000], 2);
        assert_eq!(counter, (1, Some(whole / 4), half + whole));
    }
}
