//! The fixed window: a counter that starts again at each turn.
//!
//! ```text
//! window = now / length              used := 0 at the turn of a window
//! admit  iff  used + cost ≤ limit
//! ```
//!
//! What is taken beyond the limit (by force, or by who waits for a later window) fills the windows
//! to come: each turn takes `limit` off, not all.

use std::time::Duration;

use stanchion_core::Instant;

use crate::algorithm::Algorithm;
use crate::window::{Window, tell_window};
use crate::{InvalidQuota, Status};

/// How much is admitted in each window: `limit`, and again at each turn of a window.
///
/// Windows begin at whole multiples of their length from the clock's origin. Two numbers and two
/// comparisons; but around a turn up to twice the limit is admitted within a moment, so
/// take it where the outside counts in windows too (a quota per day, an upstream's own window).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_ratelimit::{FixedWindow, RateLimiter};
///
/// let limiter = RateLimiter::new(FixedWindow::new(2, Duration::from_secs(86_400))?);
/// assert_eq!(limiter.check()?.remaining(), 1);
/// assert_eq!(limiter.check()?.remaining(), 0);
/// assert!(limiter.check().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FixedWindow {
    pub(crate) window: Window,
}

impl FixedWindow {
    /// `limit` in each window of this length.
    ///
    /// # Errors
    ///
    /// `limit` must be from 1 to 2⁵³; `window` must be positive and at most 36 years.
    pub fn new(limit: u64, window: Duration) -> Result<Self, InvalidQuota> {
        Window::new(limit, window).map(|window| Self { window })
    }

    /// The state in the window of `now`.
    fn turned(&self, state: &State, now: Instant) -> State {
        let Window { limit, nanos } = self.window;
        let passed = now.as_nanos().saturating_sub(state.start) / nanos;
        let brought = limit.saturating_mul(passed);
        State {
            start: state.start + passed * nanos,
            used: state.used.saturating_sub(brought),
            promised: state.promised.saturating_sub(brought),
        }
    }
}

tell_window!(FixedWindow);

/// A window and what is used of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// When the window began, in nanoseconds.
    start: u64,
    /// May exceed the limit: then the windows that follow are used too.
    used: u64,
    /// What was used up to the last slot that someone was promised for later; at most `used`.
    promised: u64,
}

impl Algorithm for FixedWindow {
    type State = State;
    const RESERVES: bool = true;

    fn idle(&self) -> State {
        State {
            start: 0,
            used: 0,
            promised: 0,
        }
    }

    #[inline]
    fn advance(&self, state: &mut State, now: Instant) {
        // No division while the window lasts.
        if now.as_nanos().saturating_sub(state.start) >= self.window.nanos {
            *state = self.turned(state, now);
        }
    }

    #[inline]
    fn fits(&self, state: &State, _now: Instant, cost: u64) -> bool {
        cost <= self.window.limit.saturating_sub(state.used)
    }

    fn slot(&self, state: &State, now: Instant, cost: u64) -> Option<Instant> {
        let Window { limit, nanos } = self.window;
        if self.fits(state, now, cost) {
            return Some(now);
        }
        if cost > limit {
            return None;
        }
        // Whole into one window: the first that has room at its start.
        let windows = state.used.saturating_sub(limit - cost).div_ceil(limit);
        let start = state.start.saturating_add(nanos.saturating_mul(windows));
        Some(Instant::from_nanos(start))
    }

    #[inline]
    fn take(&self, state: &mut State, slot: Instant, cost: u64) -> u64 {
        let Window { limit, nanos } = self.window;
        let before = state.used;
        let later = slot.as_nanos() >= state.start.saturating_add(nanos);
        if later {
            // The windows before it stay as they are: nobody is served before who came first.
            let windows = (slot.as_nanos() - state.start) / nanos;
            state.used = state.used.max(limit.saturating_mul(windows));
        }
        state.used = state.used.saturating_add(cost);
        if later {
            state.promised = state.used;
        }
        state.used - before
    }

    fn give_back(&self, state: &mut State, taken: u64) {
        state.used = state.used.saturating_sub(taken);
        state.promised = state.promised.min(state.used);
    }

    fn refund(&self, state: &mut State, _now: Instant, cost: u64) -> u64 {
        let back = cost.min(state.used - state.promised);
        state.used -= back;
        back
    }

    fn limit(&self) -> u64 {
        self.window.limit
    }

    fn used(&self, state: &State, _now: Instant) -> u64 {
        state.used
    }

    fn carry(&self, _from: &Self, state: &mut State, now: Instant, _used: u64, target: u64) {
        let now = now.as_nanos().max(state.start);
        state.start = now - now % self.window.nanos;
        state.used = target;
        state.promised = state.promised.min(target);
    }

    #[inline]
    fn status(&self, state: &State, now: Instant, cost: u64) -> Status {
        let Window { limit, nanos } = self.window;
        // No division where no more than this window is used.
        let turn = |windows: u64| {
            let turn = state.start.saturating_add(nanos.saturating_mul(windows));
            turn.saturating_sub(now.as_nanos())
        };
        let reset = match state.used {
            0 => 0,
            used if used <= limit => turn(1),
            used => turn(used.div_ceil(limit)),
        };
        let left = limit.saturating_sub(state.used);
        let wait = self.wait(state, now, cost);
        Status::window(limit, left, reset, cost, wait)
    }
}
