//! A limit and the length of its window: the numbers that all window algorithms have.

use std::time::Duration;

use crate::InvalidQuota;
use crate::quota::{Problem, REFILL_MAX};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    pub(crate) limit: u64,
    /// Not 0.
    pub(crate) nanos: u64,
}

/// The highest limit of a window: what a double tells exactly, as Redis's scripts count.
const LIMIT_MAX: u64 = 1 << 53;

impl Window {
    pub(crate) fn new(limit: u64, window: Duration) -> Result<Self, InvalidQuota> {
        Self::up_to(LIMIT_MAX, limit, window)
    }

    pub(crate) fn up_to(max: u64, limit: u64, window: Duration) -> Result<Self, InvalidQuota> {
        if !(1..=max).contains(&limit) {
            return Err(InvalidQuota::new(Problem::Limit { limit, max }));
        }
        let nanos = u64::try_from(window.as_nanos())
            .ok()
            .filter(|nanos| (1..=REFILL_MAX).contains(&u128::from(*nanos)))
            .ok_or(InvalidQuota::new(Problem::Window(window)))?;
        Ok(Self { limit, nanos })
    }

    pub(crate) const fn duration(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }
}

/// Lets a public algorithm tell the numbers of its field `window`.
macro_rules! tell_window {
    ($Algorithm:ident) => {
        impl $Algorithm {
            /// What a window is to admit.
            #[must_use]
            pub const fn limit(&self) -> u64 {
                self.window.limit
            }

            /// The length of a window.
            #[must_use]
            pub const fn window(&self) -> Duration {
                self.window.duration()
            }
        }
    };
}
pub(crate) use tell_window;
