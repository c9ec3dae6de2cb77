//! Waits until an endpoint has no calls any more.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::{Balancer, Mark};

/// How a [drain](Balancer::drain) ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drained {
    /// No call is in flight there: it may go.
    Idle,
    /// The time is over, and so many calls are in flight there still.
    Overdue {
        /// How many.
        in_flight: u32,
    },
    /// Somebody enabled the endpoint again.
    Resumed,
}

impl<A: Send + Sync + 'static> Balancer<A> {
    /// Sends nothing new to the endpoint `id` but what is bound to it by affinity, and waits until no
    /// call is in flight there, for at most `time_max`. Then is the moment to leave it out of the
    /// next [`update`](Self::update). `None` if there is no such endpoint.
    ///
    /// It is marked at once, as [`Mark::Drain`] does, whether the future is polled or not; one that the
    /// operator disabled stays disabled. The wait follows this very server, even when it is removed
    /// meanwhile.
    ///
    /// # Panics
    ///
    /// The future, when polled outside a tokio runtime that has its timer enabled; not on a manual
    /// clock.
    ///
    /// # Cancel safety
    ///
    /// Dropping it at any point changes nothing: the endpoint is drained still.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use std::time::Duration;
    /// use stanchion_lb::policy::P2c;
    /// use stanchion_lb::{Balancer, Drained, Endpoint};
    ///
    /// let balancer = Balancer::new(P2c::new());
    /// balancer.update([Endpoint::new("web-1", 1), Endpoint::new("web-2", 2)]).unwrap();
    /// if let Some(drained) = balancer.drain("web-1", Duration::from_secs(30)) {
    ///     assert_eq!(drained.await, Drained::Idle);
    ///     balancer.update([Endpoint::new("web-2", 2)]).unwrap();
    /// }
    /// # });
    /// ```
    #[must_use = "the wait does nothing unless polled; to mark only, use `mark`"]
    pub fn drain(
        &self,
        id: &str,
        time_max: Duration,
    ) -> Option<impl Future<Output = Drained> + Send + use<A>> {
        let shared = self.shared();
        let node = shared.plan().node(id)?.clone();
        if !node.health.read().is_taken_out() {
            shared.mark_node(&node, Mark::Drain);
        }
        let clock = shared.clock().clone();
        let deadline = clock.now() + time_max;
        Some(async move {
            let mut idle = node.listen_idle();
            let mut sleep = pin!(clock.sleep_until(deadline));
            poll_fn(|cx| {
                loop {
                    // First this, so that what happens after the looks below wakes it.
                    let changed = idle.poll_changed(cx);
                    if !node.health.read().is_taken_out() {
                        return Poll::Ready(Drained::Resumed);
                    }
                    if node.is_idle_or_tells() {
                        return Poll::Ready(Drained::Idle);
                    }
                    if changed.is_pending() {
                        break;
                    }
                }
                let in_flight = node.calls();
                sleep
                    .as_mut()
                    .poll(cx)
                    .map(|()| Drained::Overdue { in_flight })
            })
            .await
        })
    }
}
