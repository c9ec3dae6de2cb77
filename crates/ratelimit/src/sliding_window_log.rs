//! The sliding window log: a note of each admission until it has left the window.
//!
//! ```text
//! forget all that was admitted at  now − length  or before
//! admit  iff  Σ costs noted + cost ≤ limit
//! ```
//!
//! Each note is written once and forgotten once, so a check is O(1) amortised. Who waits is noted
//! at a moment to come, and nobody is admitted before the last note.

mod notes;

use std::time::Duration;

use stanchion_core::Instant;

use crate::algorithm::Algorithm;
use crate::window::{Window, tell_window};
use crate::{InvalidQuota, Status};
use notes::Notes;

/// How much is admitted in any window, exactly: `limit`, and never more, in each stretch of time of
/// this length, wherever it begins.
///
/// It remembers when each of the last `limit` was admitted: 16 bytes for each moment, so up to
/// 16 · `limit` bytes, and twice that while others wait for their slots or are in debt. Memory is taken
/// as it is needed and then kept. [`StrictWindow`](crate::StrictWindow) holds the same promise in fixed
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
        Window::up_to(LIMIT_MAX, limit, window).map(|window| Self { window })
    }
}

tell_window!(SlidingWindowLog);

/// What was admitted, the oldest first.
#[derive(Clone, Debug)]
pub(crate) struct State {
    notes: Notes,
    /// The latest moment that was seen, in nanoseconds. What is admitted while the clock lies
    /// behind it is noted then.
    latest: u64,
}

impl SlidingWindowLog {
    /// What fits at once: nothing before the last who was promised a later slot.
    #[inline]
    fn left(&self, state: &State) -> u64 {
        let left = self.window.limit.saturating_sub(state.notes.sum());
        if state.notes.newest() > state.latest {
            0
        } else {
            left
        }
    }
}

impl Algorithm for SlidingWindowLog {
    type State = State;
    const RESERVES: bool = true;

    fn idle(&self) -> State {
        State {
            notes: Notes::default(),
            latest: 0,
        }
    }

    #[inline]
    fn advance(&self, state: &mut State, now: Instant) {
        state.latest = state.latest.max(now.as_nanos());
        if let Some(moment) = state.latest.checked_sub(self.window.nanos) {
            state.notes.forget_until(moment);
        }
    }

    #[inline]
    fn fits(&self, state: &State, _now: Instant, cost: u64) -> bool {
        cost <= self.left(state)
    }

    fn slot(&self, state: &State, now: Instant, cost: u64) -> Option<Instant> {
        let Window { limit, nanos } = self.window;
        if cost > limit {
            return None;
        }
        let mut over = (state.notes.sum() + cost).saturating_sub(limit);
        // Behind everyone who was promised a slot.
        let mut slot = state.notes.newest();
        let mut notes = state.notes.oldest_first();
        while over > 0 {
            let note = notes.next()?;
            over = over.saturating_sub(note.cost);
            slot = slot.max(note.at.saturating_add(nanos));
        }
        if slot <= state.latest {
            return Some(now);
        }
        Some(Instant::from_nanos(slot))
    }

    /// As many may wait as a window admits, so there are never more than twice `limit` notes.
    fn has_room(&self, state: &State, cost: u64) -> bool {
        state.notes.sum().saturating_add(cost) <= self.window.limit * 2
    }

    #[inline]
    fn take(&self, state: &mut State, slot: Instant, cost: u64) -> u64 {
        let newest = state.notes.newest();
        let at = slot.as_nanos().max(state.latest).max(newest);
        let limit = usize::try_from(self.window.limit).unwrap_or(usize::MAX);
        let (len, most) = (state.notes.len(), limit.saturating_mul(2));
        // Only what is taken by force comes upon so many; it makes the newest note a little newer.
        if (newest == at && len > 0) || len >= most {
            state.notes.push_to_newest(at, cost)
        } else {
            let room = if len < limit { limit } else { most };
            state.notes.push(at, cost, room)
        }
    }

    fn give_back(&self, state: &mut State, taken: u64) {
        state.notes.drop_newest(taken, u64::MAX);
    }

    fn refund(&self, state: &mut State, _now: Instant, cost: u64) -> u64 {
        state.notes.drop_newest(cost, state.latest)
    }

    fn limit(&self) -> u64 {
        self.window.limit
    }

    fn used(&self, state: &State, _now: Instant) -> u64 {
        state.notes.sum()
    }

    fn carry(&self, _from: &Self, state: &mut State, now: Instant, used: u64, target: u64) {
        if target > used {
            self.take(state, now, target - used);
        } else {
            state.notes.drop_oldest(used - target);
        }
        self.advance(state, now);
    }

    #[inline]
    fn status(&self, state: &State, now: Instant, cost: u64) -> Status {
        let Window { limit, nanos } = self.window;
        let reset = state.notes.newest().saturating_add(nanos);
        let reset = match state.notes.is_empty() {
            true => 0,
            false => reset.saturating_sub(now.as_nanos()),
        };
        let left = self.left(state);
        let wait = self.wait(state, now, cost);
        Status::window(limit, left, reset, cost, wait)
    }
}
