//! What time alone makes due, done by a future.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;

use stanchion_core::{Clock, Instant};

use super::{Balancer, Shared};
use crate::signal::Listener;
use crate::sync::Ordering;

impl<A: Send + Sync + 'static> Balancer<A> {
    /// Does what becomes due by time alone, until the last handle of this balancer is dropped: lets
    /// ejected endpoints in again, has those that start slowly go on, and applies those rules of [`Outliers`](crate::Outliers) that go
    /// by interval.
    ///
    /// Nothing is spawned: `tokio::spawn` it, or poll it beside the server; or call
    /// [`catch_up`](Self::catch_up) by a timer of your own. Without either, endpoints are let in by the
    /// first pick after their time, and rules by interval do nothing. It follows each change of the
    /// configuration; a second one does no harm, and no good.
    ///
    /// # Panics
    ///
    /// When polled outside a tokio runtime that has its timer enabled; not on a manual clock.
    ///
    /// # Cancel safety
    ///
    /// Dropping it at any point leaves everything as it is; another may go on.
    ///
    /// # Complexity
    ///
    /// O(n) an interval; sleeps in between, and wakes with each change of health or of endpoints.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use stanchion_lb::policy::P2c;
    /// use stanchion_lb::{Balancer, Config, Outliers};
    ///
    /// let config = Config::default().with_outliers(Outliers::default());
    /// let balancer = Balancer::<&str>::new(P2c::new()).with_config(config);
    /// let upkeep = tokio::spawn(balancer.upkeep());
    /// // …
    /// drop(balancer);
    /// upkeep.await?;
    /// # Ok::<(), tokio::task::JoinError>(()) }).unwrap();
    /// ```
    pub fn upkeep(&self) -> impl Future<Output = ()> + Send + use<A> {
        let mut listener = self.shared.signal.listen();
        let clock = self.shared.clock.clone();
        let shared = Arc::downgrade(&self.shared);
        async move {
            let _upkeeper = Upkeeper::begin(&shared);
            loop {
                let Some(due) = shared.upgrade().map(|shared| shared.catch_up()) else {
                    return;
                };
                if !listener.changed_until(&clock, due).await {
                    return;
                }
            }
        }
    }
}

/// While one of these is there, picks do not see to what is due.
struct Upkeeper<'a, A> {
    shared: &'a Weak<Shared<A>>,
}

impl<'a, A> Upkeeper<'a, A> {
    fn begin(shared: &'a Weak<Shared<A>>) -> Self {
        if let Some(shared) = shared.upgrade() {
            shared.upkeepers.fetch_add(1, Ordering::Relaxed);
        }
        Self { shared }
    }
}

impl<A> Drop for Upkeeper<'_, A> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.upkeepers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Listener {
    /// Waits for a change, or until `due`; `false` when nothing will change any more.
    async fn changed_until(&mut self, clock: &Clock, due: Instant) -> bool {
        let mut sleep = pin!(clock.sleep_until(due));
        poll_fn(|cx| match self.poll_changed(cx) {
            Poll::Ready(open) => Poll::Ready(open),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| true),
        })
        .await
    }
}
