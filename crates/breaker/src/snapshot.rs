use std::time::Duration;

use crate::{Cause, State};

/// A breaker in plain numbers, to make metrics from.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The state.
    pub state: State,
    /// Why it was entered.
    pub cause: Cause,
    /// How long ago it was entered.
    pub in_state_for: Duration,
    /// Calls in the window; of a half-open breaker, trials that are over.
    pub calls: u64,
    /// Of these, how many failed.
    pub failed: u64,
    /// Of these, how many were slow.
    pub slow: u64,
    /// The share that failed; `None` while the calls are too few to know.
    pub failure_rate: Option<f64>,
    /// The share that was slow; `None` while the calls are too few to know.
    pub slow_rate: Option<f64>,
    /// Calls that have been under way for longer than the threshold, where those are counted.
    pub hanging: u64,
    /// Trials that are under way.
    pub trials_in_flight: u32,
    /// How long an open breaker still stays open.
    pub open_for: Option<Duration>,
    /// The share of calls that is let through while traffic comes back.
    pub admitted_share: Option<f64>,
    /// Calls that were refused, ever.
    pub rejected_total: u64,
    /// Calls that ended in another state than they began in, and therefore did not count, ever.
    pub late_total: u64,
    /// Calls that failed and counted, ever.
    pub failed_total: u64,
    /// Calls that were slow and counted, ever.
    pub slow_total: u64,
}
