use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::Outcome;

use crate::node::{Node, Timing};
use crate::{Attributes, EndpointId};

/// The endpoint that a call goes to; it counts as in flight there until this is dropped.
///
/// It has exactly one outcome: what [`record`](Self::record) says, or cancelled when it is dropped
/// without. Keep it until the response's *body* has ended. It may outlive the endpoint's removal, and
/// the balancer.
#[must_use = "the call counts as over, and cancelled, when this is dropped"]
pub struct Picked<A> {
    node: Arc<Node<A>>,
    timing: Option<Timing>,
    outcome: Outcome,
    retry_after: Duration,
}

impl<A> Picked<A> {
    #[inline]
    pub(crate) fn new(node: Arc<Node<A>>, timing: Option<Timing>) -> Self {
        Self {
            node,
            timing,
            outcome: Outcome::Ignore,
            retry_after: Duration::ZERO,
        }
    }

    /// Where the endpoint is reached.
    #[inline]
    #[must_use]
    pub fn address(&self) -> &A {
        &self.node.address
    }

    /// What the endpoint is called.
    #[inline]
    #[must_use]
    pub fn id(&self) -> &EndpointId {
        &self.node.id
    }

    /// What else is known of the endpoint, as it was described last.
    #[must_use]
    pub fn attributes(&self) -> Arc<Attributes> {
        self.node.attributes.load_full()
    }

    #[cfg(feature = "tower")]
    pub(crate) fn set_retry_after(&mut self, retry_after: Option<Duration>) {
        self.retry_after = retry_after.unwrap_or_default();
    }

    /// Ends the call, and tells how it went.
    ///
    /// What never reached the endpoint, such as a breaker's refusal, is [`Outcome::Ignore`].
    #[inline]
    pub fn record(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// As [`record`](Self::record), with how long the endpoint asked to be left alone
    /// (`Retry-After`): policies that go by latency leave it alone for about that long.
    #[inline]
    pub fn record_with_retry_after(mut self, outcome: Outcome, retry_after: Duration) {
        self.retry_after = retry_after;
        self.outcome = outcome;
    }
}

impl<A> Drop for Picked<A> {
    #[inline]
    fn drop(&mut self) {
        if self.node.end(self.outcome, self.retry_after, self.timing) {
            self.node.suspect();
        }
    }
}

impl<A> fmt::Debug for Picked<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Picked").field(&self.node.id).finish()
    }
}
