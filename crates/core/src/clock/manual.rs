use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Clock, Instant, Source};

/// The hand of a clock that moves only when told; clones move the same clock.
///
/// For tests and simulations. Waits on the clock's timer end when the time that they wait for is
/// reached, on the thread that advances.
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

struct Shared {
    now: AtomicU64,
    /// Wall time minus `now`, in nanoseconds; wraps.
    unix_offset: AtomicU64,
    #[cfg(feature = "tokio")]
    waiters: super::timer::ManualWaiters,
}

impl ManualClock {
    /// A clock of its own, at [`Instant::ZERO`].
    pub(super) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                now: AtomicU64::new(0),
                unix_offset: AtomicU64::new(0),
                #[cfg(feature = "tokio")]
                waiters: super::timer::ManualWaiters::default(),
            }),
        }
    }

    /// The clock that this hand moves.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock {
            source: Source::Manual(self.clone()),
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.shared.now.load(Ordering::Acquire))
    }

    /// Moves time on by `step` and wakes who waited for less.
    pub fn advance(&self, step: Duration) {
        let step = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX);
        // AcqRel pairs with the load in `now`: who reads the new time sees what was done before.
        let _ = self
            .shared
            .now
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                Some(now.saturating_add(step))
            });
        self.wake();
    }

    /// Puts the clock at `now`, which may lie in the past: a way to see what a clock that goes
    /// backwards does.
    pub fn set(&self, now: Instant) {
        self.shared.now.store(now.as_nanos(), Ordering::Release);
        self.wake();
    }

    /// Sets the wall time, as the time since the Unix epoch; it moves on with the clock.
    pub fn set_unix_time(&self, unix_time: Duration) {
        let unix = u64::try_from(unix_time.as_nanos()).unwrap_or(u64::MAX);
        let now = self.shared.now.load(Ordering::Acquire);
        self.shared
            .unix_offset
            .store(unix.wrapping_sub(now), Ordering::Release);
    }

    pub(super) fn unix_time(&self) -> Duration {
        let now = self.shared.now.load(Ordering::Acquire);
        let offset = self.shared.unix_offset.load(Ordering::Acquire);
        Duration::from_nanos(now.wrapping_add(offset))
    }

    #[cfg(feature = "tokio")]
    pub(super) fn waiters(&self) -> &super::timer::ManualWaiters {
        &self.shared.waiters
    }

    #[cfg(feature = "tokio")]
    fn wake(&self) {
        self.shared.waiters.wake_until(self.now());
    }

    #[cfg(not(feature = "tokio"))]
    #[expect(clippy::unused_self, reason = "without a timer nobody waits")]
    fn wake(&self) {}
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_the_clock_see_the_same_hand() {
        let (clock, time) = Clock::manual();
        let other = clock.clone();
        time.advance(Duration::from_nanos(5));
        assert_eq!(other.now(), Instant::from_nanos(5));
        time.set(Instant::from_nanos(2));
        assert_eq!(clock.now(), Instant::from_nanos(2));
    }

    #[test]
    fn wall_time_is_set_by_hand_and_moves_with_the_clock() {
        let (clock, time) = Clock::manual();
        time.advance(Duration::from_secs(9));
        time.set_unix_time(Duration::from_secs(1_000));
        time.advance(Duration::from_secs(1));
        assert_eq!(clock.unix_time(), Duration::from_secs(1_001));
    }

    #[test]
    fn advancing_past_the_end_of_time_stays_there() {
        let (clock, time) = Clock::manual();
        time.advance(Duration::MAX);
        time.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Instant::MAX);
    }
}
