//! One concrete clock, so that no type needs a parameter for it.

mod anchor;
mod instant;
mod manual;
mod system;
#[cfg(feature = "tokio")]
mod timer;
#[cfg(feature = "tokio")]
mod tokio;

use std::time::Duration;

pub use instant::Instant;
pub use manual::ManualClock;
#[cfg(feature = "tokio")]
pub use timer::Sleep;

/// A cheap monotonic clock with its timer and wall time; clones read the same time.
///
/// Building and cloning cost nothing. Time never goes backwards as seen by one caller; two threads
/// that read at the same moment may differ by some nanoseconds.
///
/// | clock | `now` | `unix_time` | timer (feature `tokio`) |
/// |---|---|---|---|
/// | [`system`](Self::system) | the processor's counter where the kernel trusts it, else the standard library's | the system's | tokio's |
/// | `tokio` (feature) | tokio's, so paused time is obeyed | the system's, moved by what a paused tokio advanced | tokio's |
/// | [`manual`](Self::manual) | as set by hand | as set by hand | woken by hand |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_core::Clock;
///
/// let (clock, time) = Clock::manual();
/// let start = clock.now();
/// time.advance(Duration::from_secs(3));
/// assert_eq!(clock.now() - start, Duration::from_secs(3));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    #[cfg(feature = "tokio")]
    Tokio,
    Manual(ManualClock),
}

impl Clock {
    /// The fastest monotonic source that this machine offers.
    ///
    /// On Linux that is the processor's time-stamp counter where the kernel itself keeps time by
    /// it, re-anchored to `CLOCK_MONOTONIC` about once a second of use without ever stepping back
    /// (drift at most 50 ppm); elsewhere `std::time::Instant`. The first read in a process
    /// calibrates, in under a millisecond on an idle machine.
    #[must_use]
    pub const fn system() -> Self {
        Self {
            source: Source::System,
        }
    }

    /// The clock of tokio's runtime: obeys `tokio::time::pause` and `advance`.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub const fn tokio() -> Self {
        Self {
            source: Source::Tokio,
        }
    }

    /// A clock that stands still, with the hand that moves it.
    ///
    /// It starts at [`Instant::ZERO`], and its wall time at the Unix epoch.
    #[must_use]
    pub fn manual() -> (Self, ManualClock) {
        let manual = ManualClock::new();
        (manual.clock(), manual)
    }

    /// The time now.
    ///
    /// Takes about 10 ns from the counter, twice that from the standard library.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Instant {
        match &self.source {
            Source::System => system::now(),
            #[cfg(feature = "tokio")]
            Source::Tokio => tokio::now(),
            Source::Manual(manual) => manual.now(),
        }
    }

    /// The wall time, as the time since 1970-01-01 00:00 UTC. For dates and identifiers only: it
    /// may jump either way.
    #[must_use]
    pub fn unix_time(&self) -> Duration {
        match &self.source {
            Source::System => system::unix_time(),
            #[cfg(feature = "tokio")]
            Source::Tokio => tokio::unix_time(),
            Source::Manual(manual) => manual.unix_time(),
        }
    }
}
