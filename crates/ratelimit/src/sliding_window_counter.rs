//! The sliding window counter: two fixed windows, weighted by how much of each lies in the sliding
//! one.
//!
//! ```text
//! estimate = previous · (length − elapsed) / length + current
//! admit  iff  estimate + cost ≤ limit
//! ```
//!
//! The comparison is made in products of 128 bits, so it is exact and divides nothing.
//!
//! Source: Cloudflare, "How we built rate limiting capable of scaling to millions of domains"
//! (2017).

use std::time::Duration;

use stanchion_core::Instant;

use crate::algorithm::Algorithm;
use crate::window::{Window, tell_window};
use crate::{InvalidQuota, Status};

/// About how much is admitted in any window: an estimate from the counts of two fixed windows, as
/// Cloudflare and many gateways make it.
///
/// It takes the previous window's count for evenly spread. Even traffic is held to the limit; but
/// **in the worst case a window admits twice the limit**: `limit` at the end of one window, then
/// a trickle as the estimate falls. Three numbers per state. Take it to be compatible with others
/// that count so; [`StrictWindow`](crate::StrictWindow) never admits more than the limit.
///
/// It decides about now, and promises nothing for later: nobody can wait on it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_ratelimit::{RateLimiter, SlidingWindowCounter};
///
/// let limiter = RateLimiter::new(SlidingWindowCounter::new(100, Duration::from_secs(60))?);
/// assert_eq!(limiter.check()?.remaining(), 99);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlidingWindowCounter {
    pub(crate) window: Window,
}

impl SlidingWindowCounter {
    /// About `limit` in any window of this length.
    ///
    /// # Errors
    ///
    /// `limit` must be from 1 to 2⁵³; `window` must be positive and at most 36 years.
    pub fn new(limit: u64, window: Duration) -> Result<Self, InvalidQuota> {
        Window::new(limit, window).map(|window| Self { window })
    }
}

tell_window!(SlidingWindowCounter);

/// The counts of two windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// When the current window began, in nanoseconds.
    start: u64,
    previous: u64,
    current: u64,
}

/// Two counts and how far the current window has come: all that the estimate needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    window: Window,
    previous: u64,
    current: u64,
    /// Nanoseconds of the current window that are left.
    left: u64,
}

impl Estimate {
    /// By counts that were made elsewhere; `left` is in nanoseconds.
    #[cfg(feature = "redis")]
    pub(crate) fn new(window: Window, previous: u64, current: u64, left: u64) -> Self {
        Self {
            window,
            previous,
            current,
            left,
        }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.window.limit
    }

    /// The room under the limit, times the length of the window; `None` if there is less than none.
    #[inline]
    fn room(&self, cost: u64) -> Option<u128> {
        let whole = self.window.limit.checked_sub(self.current)?;
        let whole = u128::from(whole.checked_sub(cost)?) * u128::from(self.window.nanos);
        whole.checked_sub(u128::from(self.previous) * u128::from(self.left))
    }

    pub(crate) fn remaining(&self) -> u64 {
        let room = self.room(0).unwrap_or(0) / u128::from(self.window.nanos);
        u64::try_from(room).unwrap_or(u64::MAX)
    }

    /// The estimate, rounded up.
    fn used(&self) -> u64 {
        let previous = u128::from(self.previous) * u128::from(self.left);
        let previous = previous.div_ceil(u128::from(self.window.nanos));
        // At most `previous`, since no more than a window is left.
        let previous = u64::try_from(previous).unwrap_or(u64::MAX);
        self.current.saturating_add(previous)
    }

    /// Nanoseconds until nothing is counted any more.
    pub(crate) fn reset_after(&self) -> u64 {
        match (self.previous, self.current) {
            (0, 0) => 0,
            (_, 0) => self.left,
            _ => self.left + self.window.nanos,
        }
    }

    /// Nanoseconds until `cost`, which is at most the limit, fits.
    #[inline]
    pub(crate) fn available_after(&self, cost: u64) -> u64 {
        if self.room(cost).is_some() {
            return 0;
        }
        let Window { limit, nanos } = self.window;
        // The most of a window that may be left for a count in it to weigh no more than `room`.
        let left = |room: u64, count: u64| {
            let left = u128::from(room) * u128::from(nanos) / u128::from(count.max(1));
            u64::try_from(left).unwrap_or(u64::MAX).min(nanos)
        };
        match limit.saturating_sub(self.current).checked_sub(cost) {
            Some(room) => self.left - left(room, self.previous).min(self.left),
            // Not before the current window is the previous one.
            None => self.left + nanos - left(limit - cost, self.current),
        }
    }
}

impl SlidingWindowCounter {
    #[inline]
    fn estimate(&self, state: &State, now: Instant) -> Estimate {
        let elapsed = now.as_nanos().saturating_sub(state.start);
        Estimate {
            window: self.window,
            previous: state.previous,
            current: state.current,
            left: self.window.nanos.saturating_sub(elapsed),
        }
    }

    /// What a clock that went back behind the window adds to every wait.
    #[inline]
    fn behind(state: &State, now: Instant) -> u64 {
        state.start.saturating_sub(now.as_nanos())
    }
}

impl Algorithm for SlidingWindowCounter {
    type State = State;
    const RESERVES: bool = false;

    fn idle(&self) -> State {
        State {
            start: 0,
            previous: 0,
            current: 0,
        }
    }

    #[inline]
    fn advance(&self, state: &mut State, now: Instant) {
        // No division while the window lasts.
        let since = now.as_nanos().saturating_sub(state.start);
        if since >= self.window.nanos {
            let passed = since / self.window.nanos;
            state.previous = if passed == 1 { state.current } else { 0 };
            state.current = 0;
            state.start += passed * self.window.nanos;
        }
    }

    #[inline]
    fn fits(&self, state: &State, now: Instant, cost: u64) -> bool {
        self.estimate(state, now).room(cost).is_some()
    }

    fn slot(&self, state: &State, now: Instant, cost: u64) -> Option<Instant> {
        if cost > self.window.limit {
            return None;
        }
        let wait = match self.estimate(state, now).available_after(cost) {
            0 => 0,
            wait => wait.saturating_add(Self::behind(state, now)),
        };
        Some(Instant::from_nanos(now.as_nanos().saturating_add(wait)))
    }

    #[inline]
    fn take(&self, state: &mut State, _slot: Instant, cost: u64) -> u64 {
        state.current = state.current.saturating_add(cost);
        cost
    }

    fn give_back(&self, state: &mut State, taken: u64) {
        state.current = state.current.saturating_sub(taken);
    }

    fn refund(&self, state: &mut State, _now: Instant, cost: u64) -> u64 {
        let back = cost.min(state.current);
        state.current -= back;
        back
    }

    fn limit(&self) -> u64 {
        self.window.limit
    }

    fn used(&self, state: &State, now: Instant) -> u64 {
        self.estimate(state, now).used()
    }

    fn carry(&self, _from: &Self, state: &mut State, now: Instant, _used: u64, target: u64) {
        let now = now.as_nanos().max(state.start);
        *state = State {
            start: now - now % self.window.nanos,
            previous: 0,
            current: target,
        };
    }

    #[inline]
    fn status(&self, state: &State, now: Instant, _cost: u64) -> Status {
        Status::estimate(self.estimate(state, now), Self::behind(state, now))
    }
}
