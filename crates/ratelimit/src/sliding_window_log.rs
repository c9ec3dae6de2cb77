//! The sliding window log: a note of each admission until it has left the window.
//!
//! ```text
//! forget all that was admitted at  now − length  or before
//! admit  iff  Σ costs noted + cost ≤ limit
//! ```
//!
//! Each note is written once and forgotten once, so a check is O(1) amortised. Who waits is noted
//! at a moment to come, and nobody is admitted before the last note.

use std::collections::VecDeque;
use std::time::Duration;

use stanchion_core::Instant;

use crate::algorithm::Algorithm;
use crate::quota::Window;
use crate::{InvalidQuota, Status};

/// How much is admitted in any window, exactly: `limit`, and never more, in each stretch of time of
/// this length, wherever it begins.
///
/// It remembers when each of the last `limit` was admitted: 16 bytes for each moment, so up to
/// 16 · `limit` bytes, and twice that while others wait for their slots. Memory is taken as it is
/// needed and then kept. [`StrictWindow`](crate::StrictWindow) holds the same promise in fixed
/// memory.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_ratelimit::{RateLimiter, SlidingWindowLog};
///
/// let limiter = RateLimiter::new(SlidingWindowLog::new(3, Duration::from_secs(60))?);
/// assert_eq!(limiter.check_n(2)?.remaining(), 1);
/// assert!(limiter.check_n(2).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlidingWindowLog {
    pub(crate) window: Window,
}

/// The highest limit of a log: 16 MiB of notes.
const LIMIT_MAX: u64 = 1 << 20;

impl SlidingWindowLog {
    /// `limit` in any window of this length.
    ///
    /// # Errors
    ///
    /// `limit` must be from 1 to 2²⁰, since each may take a note; `window` must be positive and at
    /// most 36 years.
    pub fn new(limit: u64, window: Duration) -> Result<Self, InvalidQuota> {
        let window = Window::up_to(LIMIT_MAX, limit, window)?;
        Ok(Self { window })
    }

    /// What any window admits.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.window.limit
    }

    /// The length of the window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window.duration()
    }
}

/// What was admitted, the oldest first.
#[derive(Clone, Debug)]
pub(crate) struct State {
    notes: VecDeque<Note>,
    /// The sum of all notes' costs.
    sum: u128,
    /// The latest moment that was seen, in nanoseconds. What is admitted while the clock lies
    /// behind it is noted then.
    latest: u64,
}

/// What was admitted, or promised, at one moment.
#[derive(Clone, Copy, Debug)]
struct Note {
    at: u64,
    cost: u64,
}

impl State {
    /// Takes `cost` off the oldest notes.
    fn drop_oldest(&mut self, mut cost: u64) {
        while let Some(oldest) = self.notes.front_mut().filter(|_| cost > 0) {
            let part = cost.min(oldest.cost);
            oldest.cost -= part;
            cost -= part;
            self.sum -= u128::from(part);
            if oldest.cost == 0 {
                self.notes.pop_front();
            }
        }
    }

    /// Takes `cost` off the newest notes, up to those of a moment to come unless `promised`;
    /// returns how much that was.
    fn drop_newest(&mut self, cost: u64, promised: bool) -> u64 {
        let mut left = cost;
        while let Some(newest) = self.notes.back_mut().filter(|_| left > 0) {
            if newest.at > self.latest && !promised {
                break;
            }
            let part = left.min(newest.cost);
            newest.cost -= part;
            left -= part;
            self.sum -= u128::from(part);
            if newest.cost == 0 {
                self.notes.pop_back();
            }
        }
        cost - left
    }

    /// When the newest note was, or will be.
    fn newest(&self) -> u64 {
        self.notes.back().map_or(0, |newest| newest.at)
    }
}

impl Algorithm for SlidingWindowLog {
    type State = State;
    const RESERVES: bool = true;

    fn idle(&self) -> State {
        State {
            notes: VecDeque::new(),
            sum: 0,
            latest: 0,
        }
    }

    #[inline]
    fn advance(&self, state: &mut State, now: Instant) {
        state.latest = state.latest.max(now.as_nanos());
        while let Some(oldest) = state.notes.front() {
            if state.latest.saturating_sub(oldest.at) < self.window.nanos {
                break;
            }
            state.sum -= u128::from(oldest.cost);
            state.notes.pop_front();
        }
    }

    #[inline]
    fn slot(&self, state: &State, now: Instant, cost: u64) -> Option<Instant> {
        let Window { limit, nanos } = self.window;
        if cost > limit {
            return None;
        }
        let mut over = (state.sum + u128::from(cost)).saturating_sub(u128::from(limit));
        // Behind everyone who was promised a slot.
        let mut slot = state.newest();
        let mut notes = state.notes.iter();
        while over > 0 {
            let note = notes.next()?;
            over = over.saturating_sub(note.cost.into());
            slot = slot.max(note.at.saturating_add(nanos));
        }
        if slot <= state.latest {
            return Some(now);
        }
        Some(Instant::from_nanos(slot))
    }

    /// As many may wait as a window admits, so there are never more than twice `limit` notes.
    fn has_room(&self, state: &State, cost: u64) -> bool {
        state.sum + u128::from(cost) <= u128::from(self.window.limit) * 2
    }

    #[inline]
    fn take(&self, state: &mut State, slot: Instant, cost: u64) -> u64 {
        let at = slot.as_nanos().max(state.latest).max(state.newest());
        // Only what is taken by force comes upon so many; it makes the newest note a little newer.
        let is_full = state.notes.len() as u64 >= 2 * self.window.limit;
        match state.notes.back_mut() {
            Some(newest) if newest.at == at || is_full => {
                newest.at = at;
                let sum = newest.cost.saturating_add(cost);
                state.sum += u128::from(sum - newest.cost);
                newest.cost = sum;
            }
            _ => {
                state.notes.push_back(Note { at, cost });
                state.sum += u128::from(cost);
            }
        }
        cost
    }

    fn give_back(&self, state: &mut State, taken: u64) {
        state.drop_newest(taken, true);
    }

    fn refund(&self, state: &mut State, _now: Instant, cost: u64) -> u64 {
        state.drop_newest(cost, false)
    }

    fn limit(&self) -> u64 {
        self.window.limit
    }

    fn used(&self, state: &State, _now: Instant) -> u64 {
        u64::try_from(state.sum).unwrap_or(u64::MAX)
    }

    fn carry(&self, _from: &Self, state: &mut State, now: Instant, used: u64, target: u64) {
        if target > used {
            self.take(state, now, target - used);
        } else {
            state.drop_oldest(used - target);
        }
        self.advance(state, now);
    }

    #[inline]
    fn status(&self, state: &State, now: Instant, cost: u64) -> Status {
        let Window { limit, nanos } = self.window;
        let left = u128::from(limit).saturating_sub(state.sum);
        let left = if state.newest() > state.latest {
            0
        } else {
            left
        };
        let reset = match state.notes.back() {
            Some(newest) => newest
                .at
                .saturating_add(nanos)
                .saturating_sub(now.as_nanos()),
            None => 0,
        };
        let slot = self.slot(state, now, cost);
        Status::window(
            limit,
            u64::try_from(left).unwrap_or(u64::MAX),
            reset,
            cost,
            slot.map(|slot| slot.as_nanos().saturating_sub(now.as_nanos())),
        )
    }
}
