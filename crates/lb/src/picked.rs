use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::{Instant, Outcome};

use crate::counted::Call;
use crate::node::Node;
use crate::{Attributes, EndpointId};

/// The endpoint that a call goes to; it counts as in flight there until this is dropped.
///
/// It has exactly one outcome: what [`record`](Self::record) says, or cancelled when it is dropped
/// without. Keep it until the response's *body* has ended. It may outlive the endpoint's removal, and
/// the balancer.
#[must_use = "the call counts as over, and cancelled, when this is dropped"]
pub struct Picked<A> {
    call: Call<Node<A>>,
    /// When the call began, or [`UNTIMED`]. Two words in all, so that it is handed on in registers.
    since: Instant,
}

/// Where no policy goes by latency, and of a call whose outcome was told.
pub(crate) const UNTIMED: Instant = Instant::MAX;

impl<A> Picked<A> {
    #[inline]
    pub(crate) const fn new(call: Call<Node<A>>, since: Instant) -> Self {
        Self { call, since }
    }

    /// Where the endpoint is reached.
    #[inline]
    #[must_use]
    pub fn address(&self) -> &A {
        &self.call.address
    }

    /// What the endpoint is called.
    #[inline]
    #[must_use]
    pub fn id(&self) -> &EndpointId {
        &self.call.id
    }

    /// What else is known of the endpoint, as it was described last.
    #[must_use]
    pub fn attributes(&self) -> Arc<Attributes> {
        self.call.attributes.load_full()
    }

    /// Ends the call, and tells how it went.
    ///
    /// What never reached the endpoint, such as a breaker's refusal, is [`Outcome::Ignore`].
    #[inline]
    pub fn record(self, outcome: Outcome) {
        self.record_with_retry_after(outcome, Duration::ZERO);
    }

    /// As [`record`](Self::record), with how long the endpoint asked to be left alone
    /// (`Retry-After`): policies that go by latency leave it alone for about that long.
    #[inline]
    pub fn record_with_retry_after(mut self, outcome: Outcome, retry_after: Duration) {
        let since = std::mem::replace(&mut self.since, UNTIMED);
        if since != UNTIMED {
            self.call.timed(outcome, retry_after, since);
        }
        if self.call.samples.heard(outcome) {
            Node::suspect(&self.call);
        }
    }
}

impl<A> Drop for Picked<A> {
    /// Where no outcome was told, it was cancelled: a sample of latency, and of nothing else.
    #[inline]
    fn drop(&mut self) {
        if self.since != UNTIMED {
            self.call.timed(Outcome::Ignore, Duration::ZERO, self.since);
        }
    }
}

impl<A> fmt::Debug for Picked<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Picked").field(&self.call.id).finish()
    }
}
