//! What the rates are taken of.

mod count;
mod stripes;
mod time;

use stanchion_core::Instant;

use crate::config::{Config, WindowKind};
pub(crate) use count::CountWindow;
pub(crate) use stripes::Stripes;

/// How a call went, as a window keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

impl Kind {
    pub(crate) fn is_good(self) -> bool {
        !self.failed && !self.slow
    }
}

/// The calls in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) failed: u64,
    pub(crate) slow: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, kind: Kind) {
        self.total += 1;
        self.failed += u64::from(kind.failed);
        self.slow += u64::from(kind.slow);
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.failed += other.failed;
        self.slow += other.slow;
    }
}

impl std::ops::SubAssign for Counts {
    fn sub_assign(&mut self, other: Self) {
        self.total -= other.total;
        self.failed -= other.failed;
        self.slow -= other.slow;
    }
}

/// The window of one breaker, shared by its threads.
///
/// A *generation* is a stretch of time in one state; the window holds calls of one generation only.
#[derive(Debug)]
pub(crate) enum SharedWindow {
    /// There is none: rates stay unknown.
    Nothing,
    Calls(CountWindow),
    Time(Stripes),
}

impl SharedWindow {
    pub(crate) fn new(config: &Config) -> Self {
        let min = u64::from(config.min_calls);
        match config.window.as_ref().map(|window| window.0) {
            None => Self::Nothing,
            Some(WindowKind::Calls(calls)) => Self::Calls(CountWindow::new(calls, min)),
            Some(WindowKind::Time { span, buckets }) => {
                Self::Time(Stripes::new(span, buckets, min))
            }
        }
    }

    /// Takes in a call. Gives what the window holds where that may have reached a rate, and
    /// `None` where it cannot: after most good calls.
    ///
    /// `now` is asked for by windows of time only.
    pub(crate) fn record(
        &self,
        generation: u64,
        kind: Kind,
        now: impl FnOnce() -> Instant,
    ) -> Option<Counts> {
        match self {
            Self::Nothing => None,
            Self::Calls(window) => window.record(generation, kind),
            Self::Time(window) => window.record(generation, kind, now()),
        }
    }

    /// What it holds of `generation`.
    pub(crate) fn counts(&self, generation: u64, now: impl FnOnce() -> Instant) -> Counts {
        match self {
            Self::Nothing => Counts::default(),
            Self::Calls(window) => window.counts(generation),
            Self::Time(window) => window.counts(generation, now()),
        }
    }

    /// Forgets all, and takes in calls of `generation` from now on.
    pub(crate) fn begin(&self, generation: u64) {
        match self {
            Self::Nothing => {}
            Self::Calls(window) => window.begin(generation),
            Self::Time(window) => window.begin(generation),
        }
    }
}
