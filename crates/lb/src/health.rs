//! What is known of an endpoint's health, by each who may know something of it.
//!
//! Four parties speak: checks, outlier detection, the operator, and the breaker of whoever sends
//! the calls. Each has its own bits of one word, so that none undoes what another said.

use std::fmt;

use crate::sync::{AtomicU64, Ordering};

/// Whether an endpoint may be picked, all things taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Not checked yet: used only where no endpoint of its level is known to be healthy, so without
    /// checks all are used.
    Unknown,
    /// Used.
    Healthy,
    /// Used where the healthy ones are too few.
    Degraded,
    /// Failed its checks: used in panic only.
    Unhealthy,
    /// Taken out by outlier detection, used in panic only; or by its breaker, which would refuse.
    Ejected,
    /// By the operator: finishes what it has, and takes what is bound to it by affinity.
    Draining,
    /// By the operator: takes nothing.
    Disabled,
}

/// What one party has to say of an endpoint's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mark {
    /// Checks know nothing yet.
    Unknown,
    /// Checks pass.
    Healthy,
    /// Checks pass, and the endpoint says that it is not at its best.
    Degraded,
    /// Checks fail.
    Unhealthy,
    /// Outlier detection takes it out.
    Eject,
    /// Outlier detection lets it in again.
    Readmit,
    /// Its breaker is open and would refuse each call: not even panic picks it.
    Hold,
    /// Its breaker lets calls through again.
    Release,
    /// The operator wants nothing new sent there.
    Drain,
    /// The operator wants nothing sent there.
    Disable,
    /// The operator wants it used as its health allows.
    Enable,
}

/// The health of one endpoint, changed by many.
///
/// | bits | meaning |
/// |---|---|
/// | 63–8 | how often the rest changed; wraps |
/// | 5–4 | the operator: 0 enabled, 1 draining, 2 disabled |
/// | 3 | held by its breaker |
/// | 2 | ejected |
/// | 1–0 | checks: 0 unknown, 1 healthy, 2 degraded, 3 unhealthy |
#[derive(Debug)]
pub(crate) struct HealthWord {
    word: AtomicU64,
}

/// A [`HealthWord`] as it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known(u64);

const CHECKS: u64 = 0b11;
const EJECTED: u64 = 1 << 2;
const HELD: u64 = 1 << 3;
const OPERATOR: u64 = 0b11 << 4;
const DRAINING: u64 = 1 << 4;
const DISABLED: u64 = 2 << 4;
const CHANGES: u64 = 1 << 8;

impl HealthWord {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    pub(crate) fn read(&self) -> Known {
        // Relaxed, here and below: the word is all there is, and who builds a plan of many words
        // does so under a lock.
        Known(self.word.load(Ordering::Relaxed))
    }

    /// Writes what one party says; tells what was known before and is now.
    pub(crate) fn mark(&self, mark: Mark) -> (Known, Known) {
        let mut before = self.read();
        loop {
            let after = before.marked(mark);
            if after == before {
                return (before, after);
            }
            match self.word.compare_exchange_weak(
                before.0,
                after.0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return (before, after),
                Err(changed) => before = Known(changed),
            }
        }
    }
}

impl Known {
    fn marked(self, mark: Mark) -> Self {
        let (part, value) = match mark {
            Mark::Unknown => (CHECKS, 0),
            Mark::Healthy => (CHECKS, 1),
            Mark::Degraded => (CHECKS, 2),
            Mark::Unhealthy => (CHECKS, 3),
            Mark::Eject => (EJECTED, EJECTED),
            Mark::Readmit => (EJECTED, 0),
            Mark::Hold => (HELD, HELD),
            Mark::Release => (HELD, 0),
            Mark::Drain => (OPERATOR, DRAINING),
            Mark::Disable => (OPERATOR, DISABLED),
            Mark::Enable => (OPERATOR, 0),
        };
        let word = self.0 & !part | value;
        if word == self.0 {
            return self;
        }
        Self(word.wrapping_add(CHANGES))
    }

    pub(crate) fn health(self) -> Health {
        match self.0 & OPERATOR {
            DISABLED => return Health::Disabled,
            DRAINING => return Health::Draining,
            _ => {}
        }
        if self.0 & (EJECTED | HELD) != 0 {
            return Health::Ejected;
        }
        match self.0 & CHECKS {
            0 => Health::Unknown,
            1 => Health::Healthy,
            2 => Health::Degraded,
            _ => Health::Unhealthy,
        }
    }

    /// What checks say, whatever the others do.
    #[cfg(feature = "tokio")]
    pub(crate) fn checks(self) -> Mark {
        match self.0 & CHECKS {
            0 => Mark::Unknown,
            1 => Mark::Healthy,
            2 => Mark::Degraded,
            _ => Mark::Unhealthy,
        }
    }

    /// Whether it may be used, if its breaker lets it.
    pub(crate) fn is_fit(self) -> bool {
        let unhealthy = self.0 & CHECKS == CHECKS;
        !unhealthy && self.0 & (EJECTED | OPERATOR) == 0
    }

    /// Whether the operator wants nothing new sent there.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_taken_out(self) -> bool {
        self.0 & OPERATOR != 0
    }

    /// Whether a check has passed.
    pub(crate) fn is_checked(self) -> bool {
        matches!(self.0 & CHECKS, 1 | 2)
    }

    /// Whether outlier detection took it out, whatever the others say.
    pub(crate) fn is_ejected(self) -> bool {
        self.0 & EJECTED != 0
    }

    /// Whether its breaker would refuse each call.
    pub(crate) fn is_held(self) -> bool {
        self.0 & HELD != 0
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        })
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.health().fmt(f)
    }
}
