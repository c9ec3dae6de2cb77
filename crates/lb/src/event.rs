use std::time::Duration;

use crate::policy::InvalidTable;
use crate::{EndpointId, Health, Mark};

/// What a balancer's observer hears. Picks are not told: they are the hot path.
///
/// Events of one change are told in their order, by the thread that made it, after its locks are
/// released; those of changes that different threads make at once may come in any order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The health of an endpoint changed.
    HealthChanged {
        /// Which one.
        id: EndpointId,
        /// What it was.
        from: Health,
        /// What it is now.
        to: Health,
        /// Who said what to make it so.
        mark: Mark,
    },
    /// Outlier detection took an endpoint out. [`HealthChanged`](Self::HealthChanged) follows,
    /// unless the operator had taken it out already.
    Ejected {
        /// Which one.
        id: EndpointId,
        /// Why.
        cause: EjectionCause,
        /// For how long.
        time: Duration,
        /// How many ejections of late it has, with this one.
        recent: u32,
    },
    /// Outlier detection would have taken an endpoint out, if not as many as may be were out.
    EjectionSkipped {
        /// Which one.
        id: EndpointId,
        /// Why.
        cause: EjectionCause,
    },
    /// An endpoint that outlier detection took out is in again. [`HealthChanged`](Self::HealthChanged)
    /// follows, unless the operator has taken it out.
    Readmitted {
        /// Which one.
        id: EndpointId,
        /// Why.
        cause: ReadmissionCause,
    },
    /// Too few endpoints of a level are fit: its health is believed no more.
    PanicEntered {
        /// Which level.
        priority: u8,
    },
    /// An own policy can make no table of a group that health or time changed: chance chooses there
    /// until it can. The endpoints of the policies here always make one once they were taken.
    TableFailed(InvalidTable),
    /// Enough endpoints of a level, or of another, are fit again.
    PanicLeft {
        /// Which level.
        priority: u8,
    },
}

/// Why outlier detection takes an endpoint out.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EjectionCause {
    /// So many calls failed one after the other.
    Consecutive,
    /// It succeeded markedly less often than the others.
    SuccessRate {
        /// How often, in percent.
        rate: f64,
        /// How often it would have had to, in percent.
        least: f64,
    },
    /// Too large a share of its calls failed.
    FailurePercentage {
        /// How large, in percent.
        percent: f64,
    },
}

/// Why an endpoint that outlier detection took out is in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadmissionCause {
    /// Its time is over.
    TimePassed,
    /// It passed an active check.
    CheckPassed,
    /// Somebody marked it so.
    Marked,
    /// Outlier detection was turned off.
    TurnedOff,
}
