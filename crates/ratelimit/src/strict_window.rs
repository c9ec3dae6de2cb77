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
use crate::sliding_window_log as log;
use crate::window::{Window, tell_window};
use crate::{InvalidQuota, SlidingWindowLog, Status};

/// Never more than `limit` in any window, wherever it begins, in memory that does not grow with the
/// limit.
///
/// | `limit` | counts | memory | steady demand gets |
/// |---|---|---|---|
/// | up to 1024 | each admission, exactly | up to 16 · `limit` bytes, twice that in debt | `limit` in each window |
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
        Window::new(limit, window).map(|window| Self { window })
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

tell_window!(StrictWindow);

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
    /// Each at most [`COUNT_MAX`].
    counts: [u64; COUNTED],
    sum: u64,
}

/// The most that one count tells: above any limit, and so little that the sum of all fits in 64 bits.
const COUNT_MAX: u64 = 1 << 59;

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

    /// Begins so many parts, which forgets as many of the oldest.
    fn turn(&mut self, parts: u64) {
        for _ in 0..parts.min(COUNTED as u64) {
            self.head = if self.head + 1 < COUNTED {
                self.head + 1
            } else {
                0
            };
            let oldest = &mut self.counts[self.head];
            self.sum -= *oldest;
            *oldest = 0;
        }
    }

    #[inline]
    fn take(&mut self, cost: u64) -> u64 {
        let count = &mut self.counts[self.head];
        let more = cost.min(COUNT_MAX - *count);
        *count += more;
        self.sum += more;
        more
    }

    fn refund(&mut self, cost: u64) -> u64 {
        let mut left = cost;
        for age in 0..COUNTED {
            let count = &mut self.counts[(self.head + COUNTED - age) % COUNTED];
            let part = left.min(*count);
            *count -= part;
            left -= part;
            self.sum -= part;
        }
        cost - left
    }

    /// How many parts it takes until nothing is counted any more.
    #[inline]
    fn parts_to_reset(&self) -> u64 {
        if self.counts[self.head] > 0 {
            return COUNTED as u64;
        }
        let newest = self.oldest_first().rposition(|count| count > 0);
        newest.map_or(0, |place| place as u64 + 1)
    }
}

impl Algorithm for Parts {
    type State = Counts;
    const RESERVES: bool = false;

    fn idle(&self) -> Counts {
        Counts::NONE
    }

    #[inline]
    fn advance(&self, counts: &mut Counts, now: Instant) {
        let since = now.as_nanos().saturating_sub(counts.start);
        // No division while the part lasts, nor at the turn to the next.
        if since >= self.width {
            let passed = match since - self.width {
                beyond if beyond < self.width => 1,
                _ => since / self.width,
            };
            counts.start += passed * self.width;
            counts.turn(passed);
        }
    }

    #[inline]
    fn fits(&self, counts: &Counts, _now: Instant, cost: u64) -> bool {
        cost <= self.limit.saturating_sub(counts.sum)
    }

    fn slot(&self, counts: &Counts, now: Instant, cost: u64) -> Option<Instant> {
        if cost > self.limit {
            return None;
        }
        // Neither passes 2⁶³.
        let mut over = (counts.sum + cost).saturating_sub(self.limit);
        if over == 0 {
            return Some(now);
        }
        let mut slot = counts.start;
        for count in counts.oldest_first() {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(count);
            slot = slot.saturating_add(self.width);
        }
        Some(Instant::from_nanos(slot.max(now.as_nanos())))
    }

    #[inline]
    fn take(&self, counts: &mut Counts, _slot: Instant, cost: u64) -> u64 {
        counts.take(cost)
    }

    fn give_back(&self, counts: &mut Counts, taken: u64) {
        counts.refund(taken);
    }

    fn refund(&self, counts: &mut Counts, _now: Instant, cost: u64) -> u64 {
        counts.refund(cost)
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn used(&self, counts: &Counts, _now: Instant) -> u64 {
        counts.sum
    }

    /// Parts of another width cannot be told apart: all counts as taken now.
    fn carry(&self, _from: &Self, counts: &mut Counts, now: Instant, _used: u64, target: u64) {
        *counts = self.idle();
        self.advance(counts, now);
        counts.take(target);
    }

    #[inline]
    fn status(&self, counts: &Counts, now: Instant, cost: u64) -> Status {
        let left = self.limit.saturating_sub(counts.sum);
        let reset = match counts.parts_to_reset() {
            0 => 0,
            parts => {
                let reset = self.width.saturating_mul(parts);
                let reset = counts.start.saturating_add(reset);
                reset.saturating_sub(now.as_nanos())
            }
        };
        let wait = self.wait(counts, now, cost);
        Status::window(self.limit, left, reset, cost, wait)
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
    fn try_take(&self, state: &mut State, now: Instant, cost: u64) -> bool {
        match state {
            State::Exact(state) => self.log().try_take(state, now, cost),
            State::Coarse(counts) => self.parts().try_take(counts, now, cost),
        }
    }

    fn advance(&self, state: &mut State, now: Instant) {
        match state {
            State::Exact(state) => self.log().advance(state, now),
            State::Coarse(counts) => self.parts().advance(counts, now),
        }
    }

    fn slot(&self, state: &State, now: Instant, cost: u64) -> Option<Instant> {
        match state {
            State::Exact(state) => self.log().slot(state, now, cost),
            State::Coarse(counts) => self.parts().slot(counts, now, cost),
        }
    }

    fn take(&self, state: &mut State, slot: Instant, cost: u64) -> u64 {
        match state {
            State::Exact(state) => self.log().take(state, slot, cost),
            State::Coarse(counts) => self.parts().take(counts, slot, cost),
        }
    }

    fn give_back(&self, state: &mut State, taken: u64) {
        match state {
            State::Exact(state) => self.log().give_back(state, taken),
            State::Coarse(counts) => self.parts().give_back(counts, taken),
        }
    }

    fn refund(&self, state: &mut State, now: Instant, cost: u64) -> u64 {
        match state {
            State::Exact(state) => self.log().refund(state, now, cost),
            State::Coarse(counts) => self.parts().refund(counts, now, cost),
        }
    }

    fn limit(&self) -> u64 {
        self.window.limit
    }

    fn used(&self, state: &State, now: Instant) -> u64 {
        match state {
            State::Exact(state) => self.log().used(state, now),
            State::Coarse(counts) => self.parts().used(counts, now),
        }
    }

    fn carry(&self, from: &Self, state: &mut State, now: Instant, used: u64, target: u64) {
        match state {
            State::Exact(state) if self.window.limit <= EXACT_MAX => {
                self.log().carry(&from.log(), state, now, used, target);
            }
            // From one way of counting to the other, or to parts of another width: all counts as
            // taken now.
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
