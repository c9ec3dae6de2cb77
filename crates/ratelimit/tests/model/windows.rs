//! The window algorithms against their definitions, told in lists of all that was admitted.
//!
//! A window that has begun stays: where the clock goes back behind it, the definitions are held to
//! its start.

use std::time::Duration;

use proptest::prelude::*;
use stanchion_core::{Clock, Instant, ManualClock};
use stanchion_ratelimit::{
    FixedWindow, Policy, RateLimiter, Reason, SlidingWindowCounter, SlidingWindowLog, StrictWindow,
};

use crate::{Move, costs, moves};

/// A limit, a window in nanoseconds, and all that was admitted: when, and how much.
struct Reference {
    limit: u128,
    window: u128,
    admitted: Vec<(u128, u128)>,
    now: u128,
    /// How far the algorithm lets a clock go back: to the last multiple of this.
    granularity: u128,
}

impl Reference {
    fn new(limit: u64, window: Duration) -> Self {
        Self {
            limit: limit.into(),
            window: window.as_nanos(),
            admitted: Vec::new(),
            now: 0,
            granularity: window.as_nanos(),
        }
    }

    fn see(&mut self, now: Instant) {
        let start = self.now - self.now % self.granularity;
        self.now = start.max(now.as_nanos().into());
    }

    /// What was admitted from `from` up to, and without, `to`.
    fn between(&self, from: u128, to: u128) -> u128 {
        let within = self
            .admitted
            .iter()
            .filter(|(at, _)| (from..to).contains(at));
        within.map(|(_, cost)| cost).sum()
    }

    /// What the fixed window of now admitted.
    fn fixed(&self) -> u128 {
        let start = self.now - self.now % self.window;
        self.between(start, start + self.window)
    }

    /// What the window that ends now admitted; a log's own time never goes back.
    fn trailing(&self) -> u128 {
        let start = (self.now + 1).saturating_sub(self.window);
        self.between(start, self.now + 1)
    }

    /// What was admitted in the sixteenth of now and the 16 before it.
    fn sixteenths(&self) -> u128 {
        let part = self.window.div_ceil(16);
        let start = self.now / part * part;
        self.between(start.saturating_sub(part * 16), start + part)
    }

    /// The estimate, times the window.
    fn estimate(&self) -> u128 {
        let start = self.now - self.now % self.window;
        let previous = self.between(start.saturating_sub(self.window), start);
        previous * (self.window - self.now % self.window) + self.fixed() * self.window
    }
}

/// A limit and a window: few large units, and many small ones.
fn windows() -> impl Strategy<Value = (u64, Duration)> {
    let lengths = prop_oneof![
        Just(Duration::from_secs(1)),
        (1_u64..5_000_000_000).prop_map(Duration::from_nanos),
    ];
    (prop_oneof![1_u64..30, 1_u64..3_000], lengths)
}

/// Thousandths of the window, so that both sides of each turn are met.
fn apply(time: &ManualClock, window: Duration, step: Move) {
    let now = time.now();
    match step {
        Move::Stay => {}
        Move::On(thousandths) => {
            let nanos = window.as_nanos() * u128::from(thousandths) / 3_000;
            time.set(now + Duration::from_nanos(u64::try_from(nanos).unwrap()));
        }
        Move::Jump(nanos) => time.set(now + Duration::from_nanos(nanos)),
        Move::Back(nanos) => time.set(now - Duration::from_nanos(nanos)),
    }
}

/// Runs `steps` on a limiter and its definition: `used` tells what is used, times `scale`.
fn assert_steps_as_defined(
    policy: Policy,
    (limit, window): (u64, Duration),
    steps: Vec<(Move, u64, bool)>,
    (scale, granularity): (u128, u128),
    used: impl Fn(&Reference) -> u128,
) -> Result<(), TestCaseError> {
    let (clock, time) = Clock::manual();
    let limiter = RateLimiter::new(policy).with_clock(clock);
    let mut reference = Reference::new(limit, window);
    reference.granularity = granularity;
    for (step, cost, all) in steps {
        apply(&time, window, step);
        reference.see(time.now());
        let left = (reference.limit * scale).saturating_sub(used(&reference)) / scale;
        prop_assert_eq!(u128::from(limiter.peek().remaining()), left);
        // Often all there is, so that a window is used to the last.
        let cost = if all {
            u64::try_from(left).unwrap()
        } else {
            cost
        };
        let decision = limiter.check_n(cost);
        prop_assert_eq!(decision.is_ok(), u128::from(cost) <= left);
        match decision {
            Ok(status) => {
                reference.admitted.push((reference.now, cost.into()));
                let left = (reference.limit * scale).saturating_sub(used(&reference)) / scale;
                prop_assert_eq!(u128::from(status.remaining()), left);
            }
            Err(rejected) => {
                let never = rejected.reason() == Reason::CostAboveBurst;
                prop_assert_eq!(never, cost > limit);
                prop_assert_eq!(never, rejected.retry_after().is_none());
            }
        }
    }
    Ok(())
}

/// A refusal names the very moment: refused a nanosecond before, admitted then. And once it is
/// reset, all of it is there again.
fn assert_waits_are_exact(
    policy: Policy,
    window: Duration,
    steps: Vec<(Move, u64)>,
) -> Result<(), TestCaseError> {
    let (clock, time) = Clock::manual();
    let limiter = RateLimiter::new(policy).with_clock(clock);
    for (step, cost) in steps {
        apply(&time, window, step);
        let Err(rejected) = limiter.check_n(cost) else {
            let reset = limiter.peek().reset_after();
            if cost % 5 == 0 && !reset.is_zero() {
                let now = time.now();
                time.set(now + reset - Duration::from_nanos(1));
                prop_assert!(limiter.peek().remaining() < policy.limit());
                time.set(now + reset);
                prop_assert_eq!(limiter.peek().remaining(), policy.limit());
            }
            continue;
        };
        let Some(after) = rejected.retry_after() else {
            continue;
        };
        let now = time.now();
        time.set(now + after - Duration::from_nanos(1));
        prop_assert!(limiter.check_n(cost).is_err());
        time.set(now + after);
        prop_assert!(limiter.check_n(cost).is_ok());
    }
    Ok(())
}

fn steps() -> impl Strategy<Value = Vec<(Move, u64, bool)>> {
    prop::collection::vec((moves(), costs(), prop::bool::weighted(0.2)), 1..150)
}

fn steps_to_wait() -> impl Strategy<Value = Vec<(Move, u64)>> {
    prop::collection::vec((moves(), costs()), 1..80)
}

/// The algorithms, each with what tells what it has used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Algorithm {
    Fixed,
    Counter,
    Log,
    Strict,
}

/// Runs `steps` on a limiter of this algorithm and its definition.
pub(crate) fn assert_as_defined(
    algorithm: Algorithm,
    (limit, window): (u64, Duration),
    steps: Vec<(Move, u64, bool)>,
) -> Result<(), TestCaseError> {
    let (nanos, part) = (window.as_nanos(), window.as_nanos().div_ceil(16));
    let run = |policy, scale_and_granularity, used: fn(&Reference) -> u128| {
        assert_steps_as_defined(policy, (limit, window), steps, scale_and_granularity, used)
    };
    match algorithm {
        Algorithm::Fixed => {
            let policy = FixedWindow::new(limit, window).unwrap().into();
            run(policy, (1, nanos), Reference::fixed)
        }
        Algorithm::Counter => {
            let policy = SlidingWindowCounter::new(limit, window).unwrap().into();
            run(policy, (nanos, nanos), Reference::estimate)
        }
        Algorithm::Log => {
            let policy = SlidingWindowLog::new(limit, window).unwrap().into();
            run(policy, (1, 1), Reference::trailing)
        }
        Algorithm::Strict => {
            let policy = StrictWindow::new(limit, window).unwrap().into();
            if limit <= 1024 {
                run(policy, (1, 1), Reference::trailing)
            } else {
                run(policy, (1, part), Reference::sixteenths)
            }
        }
    }
}

proptest! {
    #[test]
    fn a_fixed_window_is_as_defined(window in windows(), steps in steps()) {
        assert_as_defined(Algorithm::Fixed, window, steps)?;
    }

    #[test]
    fn a_sliding_window_counter_is_as_defined(window in windows(), steps in steps()) {
        assert_as_defined(Algorithm::Counter, window, steps)?;
    }

    #[test]
    fn a_sliding_window_log_is_as_defined(window in windows(), steps in steps()) {
        assert_as_defined(Algorithm::Log, window, steps)?;
    }

    #[test]
    fn a_strict_window_is_as_defined(window in windows(), steps in steps()) {
        assert_as_defined(Algorithm::Strict, window, steps)?;
    }

    #[test]
    fn a_sliding_window_log_tells_the_very_moment(
        (limit, window) in windows(), steps in steps_to_wait(),
    ) {
        let policy = SlidingWindowLog::new(limit, window).unwrap().into();
        assert_waits_are_exact(policy, window, steps)?;
    }

    #[test]
    fn a_strict_window_tells_the_very_moment((limit, window) in windows(), steps in steps_to_wait()) {
        let policy = StrictWindow::new(limit, window).unwrap().into();
        assert_waits_are_exact(policy, window, steps)?;
    }

    #[test]
    fn no_window_of_a_strict_or_logged_limit_sees_more(
        (limit, window) in windows(), steps in steps(), strict in any::<bool>(),
    ) {
        let policy: Policy = match strict {
            true => StrictWindow::new(limit, window).unwrap().into(),
            false => SlidingWindowLog::new(limit, window).unwrap().into(),
        };
        let (clock, time) = Clock::manual();
        let limiter = RateLimiter::new(policy).with_clock(clock);
        let mut admitted = Vec::new();
        for (step, cost, all) in steps {
            if !matches!(step, Move::Back(_)) {
                apply(&time, window, step);
            }
            let cost = if all { limiter.peek().remaining() } else { cost };
            if limiter.check_n(cost).is_ok() {
                admitted.push((time.now(), cost));
            }
        }
        for (end, _) in &admitted {
            let within = admitted.iter().filter(|(at, _)| at <= end && *at + window > *end);
            let sum: u64 = within.map(|(_, cost)| cost).sum();
            prop_assert!(sum <= limit, "{sum} of {limit} in {window:?} up to {end:?}");
        }
    }

    #[test]
    fn a_fixed_window_tells_the_very_moment((limit, window) in windows(), steps in steps_to_wait()) {
        let policy = FixedWindow::new(limit, window).unwrap().into();
        assert_waits_are_exact(policy, window, steps)?;
    }

    #[test]
    fn a_sliding_window_counter_tells_the_very_moment(
        (limit, window) in windows(), steps in steps_to_wait(),
    ) {
        let policy = SlidingWindowCounter::new(limit, window).unwrap().into();
        assert_waits_are_exact(policy, window, steps)?;
    }
}

/// The bound that the documentation names, for demand that never pauses.
#[test]
fn a_strict_window_in_sixteenths_gets_sixteen_of_seventeen_parts() {
    let window = Duration::from_secs(1);
    let (clock, time) = Clock::manual();
    let limiter = RateLimiter::new(StrictWindow::new(1_700, window).unwrap()).with_clock(clock);
    let mut admitted = 0;
    for _ in 0..17_000 {
        while limiter.check().is_ok() {
            admitted += 1;
        }
        time.advance(Duration::from_millis(1));
    }
    assert_eq!(admitted, 16 * 1_700);
}

/// The worst case that the documentation names: the whole limit at the end of a window, then as
/// the estimate falls. No trailing window sees more than twice the limit.
#[test]
fn a_sliding_window_counter_admits_up_to_twice_its_limit_and_no_more() {
    let window = Duration::from_secs(1);
    let (clock, time) = Clock::manual();
    let policy = SlidingWindowCounter::new(100, window).unwrap();
    let limiter = RateLimiter::new(policy).with_clock(clock);
    time.set(Instant::ZERO + window - Duration::from_nanos(1));
    let mut admitted: Vec<Instant> = Vec::new();
    for _ in 0..10_000 {
        while limiter.check().is_ok() {
            admitted.push(time.now());
        }
        time.advance(Duration::from_micros(300));
    }
    let most = admitted.iter().map(|end| {
        let within = |at: &&Instant| **at <= *end && **at + window > *end;
        admitted.iter().filter(within).count()
    });
    assert_eq!(most.max(), Some(199));
}
