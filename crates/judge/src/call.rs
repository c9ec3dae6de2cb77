use std::time::Duration;

use stanchion_core::Outcome;

/// A call that is under way, and ends with a verdict: a breaker's permit, a balancer's pick.
///
/// Dropped without one, it counts as cancelled, whatever that is to its pattern.
pub trait Call {
    /// Whether the call lasts until the body of its response is over, even where the head says how
    /// it went: an endpoint is busy that long. Otherwise it ends as soon as its verdict is out.
    const LASTS_TO_THE_END: bool;

    /// Hears that the head of the response is there, and that the call goes on until the body is
    /// over.
    fn answered(&mut self) {}

    /// Ends the call with its verdict, and with how long whoever was called asked to be left alone.
    fn record(self, outcome: Outcome, retry_after: Option<Duration>);
}
