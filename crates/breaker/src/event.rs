use crate::{Cause, Rejected, State};

/// What a breaker's observer hears. Calls that pass are not told: they are the hot path.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The state changed.
    Changed(Transition),
    /// A breaker that never opens would have: told once for each kind of cause.
    ThresholdReached(Cause),
    /// A call was refused.
    Rejected(Rejected),
}

/// A change of state, with the calls in the window that was left.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Transition {
    /// The state that was left.
    pub from: State,
    /// The state that was entered.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// Calls in the window.
    pub calls: u64,
    /// Of these, how many failed.
    pub failed: u64,
    /// Of these, how many were slow.
    pub slow: u64,
}
