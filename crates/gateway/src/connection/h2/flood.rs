use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use stanchion_core::Instant;

/// How many hasty resets a client may make in one window.
const MAX: u32 = 200;
const WINDOW: Duration = Duration::from_secs(10);
/// A stream that lasted as long was no mere nuisance.
const HASTY: Duration = Duration::from_secs(1);

/// Counts the streams of one connection that the client opened and reset at once.
///
/// Each makes the gateway ask a server, and costs the client two frames; the bound on streams open
/// at a time does not help, since a reset frees the place. A client whose calls run into its own
/// deadlines resets them too, but later.
///
/// All streams of a connection are in one thread, so the words need no ordering.
#[derive(Debug)]
pub(super) struct Resets {
    window_began: AtomicU64,
    count: AtomicU32,
    flood: AtomicBool,
}

impl Resets {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            window_began: AtomicU64::new(now.as_nanos()),
            count: AtomicU32::new(0),
            flood: AtomicBool::new(false),
        }
    }

    /// Counts a stream that the client reset before it was answered.
    pub(super) fn reset(&self, began: Instant, now: Instant) {
        if now - began >= HASTY {
            return;
        }
        let window = Instant::from_nanos(self.window_began.load(Ordering::Relaxed));
        if now - window >= WINDOW {
            self.window_began.store(now.as_nanos(), Ordering::Relaxed);
            self.count.store(0, Ordering::Relaxed);
        }
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        if before >= MAX {
            self.flood.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the connection is to be closed.
    pub(super) fn are_a_flood(&self) -> bool {
        self.flood.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn many_hasty_resets_in_one_window_are_a_flood() {
        let start = Instant::ZERO + SECOND;
        let resets = Resets::new(start);
        for _ in 0..MAX {
            resets.reset(start, start);
        }
        assert!(!resets.are_a_flood());
        resets.reset(start, start);
        assert!(resets.are_a_flood());
    }

    #[test]
    fn patient_resets_and_those_of_another_window_are_none() {
        let start = Instant::ZERO + SECOND;
        let resets = Resets::new(start);
        for _ in 0..2 * MAX {
            resets.reset(start, start + HASTY);
        }
        for turn in 0..3 {
            let now = start + turn * WINDOW;
            for _ in 0..MAX {
                resets.reset(now, now);
            }
        }
        assert!(!resets.are_a_flood());
    }
}
