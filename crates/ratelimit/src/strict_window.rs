//! The strict window: never more than the limit in any window, in memory that is known.
//!
//! Up to 1024 it notes each admission, as the sliding log does. Above, it counts by sixteenths of
//! the window:
//!
//! ```text
//! │ 16 whole sixteenths before │ this one, so far │
//! admit  iff  Σ of these 17 counts + cost ≤ limit
//! ```
//!
//! Whatever was admitted less than a window ago was admitted in one of those 17. So no window ever
//! holds more than the limit; and what was admitted in a sixteenth is forgotten when the *whole* of
//! it has left the window, up to a sixteenth late.

use std::time::Duration;

use stanchion_core::Instant;

use crate::algorithm::Algorithm;
use crate::quota::Window;
use crate::sliding_window_log as log;
use crate::{InvalidQuota, SlidingWindowLog, Status};

/// Never more than `limit` in any window, wherever it begins, in memory that does not grow with the
/// limit.
///
/// | `limit` | counts | memory | steady demand gets |
/// |---|---|---|---|
/// | up to 1024 | each admission, exactly | up to 16 · `limit` bytes | `limit` in each window |
/// | above | by sixteenths of the window | 17 numbers | at least 16/17 of that |
///
/// The promise is the same on both sides of the bound; above it something may be admitted up to a
/// sixteenth of the window later than it could be. It promises nothing for later: nobody can wait
/// on it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_core::Clock;
/// use stanchion_ratelimit::{RateLimiter, StrictWindow};
///
/// let (clock, time) = Clock::manual();
/// let second = Duration::from_secs(1);
/// let limiter = RateLimiter::new(StrictWindow::new(5, second)?).with_clock(clock);
/// time.advance(second * 9 / 10);
/// limiter.check_n(5)?;
/// time.advance(second * 9 / 10);
/// assert!(limiter.check().is_err());
/// time.advance(second / 10);
/// assert!(limiter.check_n(5).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StrictWindow {
    pub(crate) window: Window,
}

/// The limit up to which each admission is noted.
const EXACT_MAX: u64 = 1024;
/// The parts that a window is counted in above that.
const PARTS: u64 = 16;
/// The parts that may hold something admitted less than a window ago.
const COUNTED: usize = 17;

impl StrictWindow {
    /// Never more than `limit` in any window of this length.
    ///
    /// # Errors
    ///
    /// `limit` must be from 1 to 2⁵³; `window` must be positive and at most 36 years.
    pub fn new(limit: u64, window: Duration) -> Result<Self, InvalidQuota> {
        let window = Window::new(limit, window)?;
        Ok(Self { window })
    }

    /// The most that any window admits.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.window.limit
    }

    /// The length of the window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window.duration()
    }

    fn log(&self) -> SlidingWindowLog {
        SlidingWindowLog {
            window: self.window,
        }
    }

    fn parts(&self) -> Parts {
        Parts {
            limit: self.window.limit,
            width: self.window.nanos.div_ceil(PARTS),
        }
    }
}

/// What was admitted: each, or by parts of the window.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Exact(log::State),
    Coarse(Counts),
}

/// The window, cut into parts.
#[derive(Clone, Copy, Debug)]
struct Parts {
    limit: u64,
    /// Of one part, in nanoseconds.
    width: u64,
}

/// What was admitted in the part of now and the 16 before it.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// When the part of now began, in nanoseconds.
    start: u64,
    /// Where its count stands; before it stands the count of the part before, round the end.
    head: usize,
    counts: [u64; COUNTED],
    sum: u128,
}

impl Counts {
    const NONE: Self = Self {
        start: 0,
        head: 0,
        counts: [0; COUNTED],
        sum: 0,
    };

    /// The counts from the oldest to that of now.
    fn oldest_first(&self) -> impl DoubleEndedIterator<Item = u64> + ExactSizeIterator {
        (0..COUNTED).map(|place| self.counts[(self.head + 1 + place) % COUNTED])
    }

    fn take(&mut self, cost: u64) {
        let count = &mut self.counts[self.head];
        let next = count.saturating_add(cost);
        self.sum += u128::from(next - *count);
        *count = next;
    }

    fn refund(&mut self, cost: u64) -> u64 {
        let mut left = cost;
        for age in 0..COUNTED {
            let count = &mut self.counts[(self.head + COUNTED - age) % COUNTED];
            let part = left.min(*count);
            *count -= part;
            left -= part;
            self.sum -= u128::from(part);
        }
        cost - left
    }
}

impl Parts {
    #[inline]
    fn advance(self, counts: &mut Counts, now: Instant) {
        let since = now.as_nanos().saturating_sub(counts.start);
        // No division while the part lasts.
        if since < self.width {
            return;
        }
        let passed = since / self.width;
        counts.start += passed * self.width;
        for _ in 0..passed.min(COUNTED as u64) {
            counts.head = (counts.head + 1) % COUNTED;
            counts.sum -= u128::from(counts.counts[counts.head]);
            counts.counts[counts.head] = 0;
        }
    }

    #[inline]
    fn slot(self, counts: &Counts, now: Instant, cost: u64) -> Option<Instant> {
        if cost > self.limit {
            return None;
        }
        let mut over = (counts.sum + u128::from(cost)).saturating_sub(self.limit.into());
        if over == 0 {
            return Some(now);
        }
        let mut slot = counts.start;
        for count in counts.oldest_first() {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(count.into());
            slot = slot.saturating_add(self.width);
        }
        Some(Instant::from_nanos(slot.max(now.as_nanos())))
    }

    fn status(self, counts: &Counts, now: Instant, cost: u64) -> Status {
        let left = u128::from(self.limit).saturating_sub(counts.sum);
        let newest = counts.oldest_first().rposition(|count| count > 0);
        let reset = newest.map_or(0, |place| {
            let parts = self.width.saturating_mul(place as u64 + 1);
            let reset = counts.start.saturating_add(parts);
            reset.saturating_sub(now.as_nanos())
        });
        let slot = self.slot(counts, now, cost);
        Status::window(
            self.limit,
            u64::try_from(left).unwrap_or(u64::MAX),
            reset,
            cost,
            slot.map(|slot| slot.as_nanos() - now.as_nanos()),
        )
    }
}

impl Algorithm for StrictWindow {
    type State = State;
    const RESERVES: bool = false;

    fn idle(&self) -> State {
        if self.window.limit <= EXACT_MAX {
            State::Exact(self.log().idle())
        } else {
            State::Coarse(Counts::NONE)
        }
    }

    #[inline]
    fn advance(&self, state: &mut State, now: Instant) {
        match state {
            State::Exact(state) => self.log().advance(state, now),
            State::Coarse(counts) => self.parts().advance(counts, now),
        }
    }

    #[inline]
    fn slot(&self, state: &State, now: Instant, cost: u64) -> Option<Instant> {
        match state {
            State::Exact(state) => self.log().slot(state, now, cost),
            State::Coarse(counts) => self.parts().slot(counts, now, cost),
        }
    }

    #[inline]
    fn take(&self, state: &mut State, slot: Instant, cost: u64) -> u64 {
        match state {
            State::Exact(state) => self.log().take(state, slot, cost),
            State::Coarse(counts) => {
                counts.take(cost);
                cost
            }
        }
    }

    fn give_back(&self, state: &mut State, taken: u64) {
        match state {
            State::Exact(state) => self.log().give_back(state, taken),
            State::Coarse(counts) => {
                counts.refund(taken);
            }
        }
    }

    fn refund(&self, state: &mut State, now: Instant, cost: u64) -> u64 {
        match state {
            State::Exact(state) => self.log().refund(state, now, cost),
            State::Coarse(counts) => counts.refund(cost),
        }
    }

    fn limit(&self) -> u64 {
        self.window.limit
    }

    fn used(&self, state: &State, now: Instant) -> u64 {
        match state {
            State::Exact(state) => self.log().used(state, now),
            State::Coarse(counts) => u64::try_from(counts.sum).unwrap_or(u64::MAX),
        }
    }

    fn carry(&self, from: &Self, state: &mut State, now: Instant, used: u64, target: u64) {
        match state {
            State::Exact(state) if self.window.limit <= EXACT_MAX => {
                self.log().carry(&from.log(), state, now, used, target);
            }
            // Parts of another width cannot be told apart: all counts as taken now.
            _ => {
                *state = self.idle();
                self.advance(state, now);
                if target > 0 {
                    self.take(state, now, target);
                }
            }
        }
    }

    #[inline]
    fn status(&self, state: &State, now: Instant, cost: u64) -> Status {
        match state {
            State::Exact(state) => self.log().status(state, now, cost),
            State::Coarse(counts) => self.parts().status(counts, now, cost),
        }
    }
}
