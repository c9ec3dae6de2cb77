use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use futures_util::Stream as _;
use futures_util::stream::FuturesUnordered;
use stanchion_core::{Clock, Instant};

use super::schedule::{Schedule, Watched};
use super::{Checked, Checks, Probe, Probed};
use crate::balancer::Shared;
use crate::signal::Listener;
use crate::{Balancer, Draw, Mark};

impl<A: Send + Sync + 'static> Balancer<A> {
    /// Checks the endpoints by `probe`, and marks them by what it finds, until the last handle of
    /// this balancer is dropped. It follows each change of the endpoints.
    ///
    /// Nothing is spawned: `tokio::spawn` it, or poll it beside the server. One is enough; of two, each
    /// would mark what it finds. What a check says of a server that was replaced while it was asked
    /// is not held against the one that took its id.
    ///
    /// # Panics
    ///
    /// When polled outside a tokio runtime that has its timer enabled; not on a manual clock. When the
    /// probe does.
    ///
    /// # Cancel safety
    ///
    /// Dropping it at any point drops the checks under way, and leaves health as it was marked last;
    /// another may go on from there. To have none, mark the endpoints as [`Mark::Unknown`].
    ///
    /// # Complexity
    ///
    /// O(log n) a check, and O(n) a change of endpoints; at most
    /// [`with_at_once_max`](Checks::with_at_once_max) probes at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use stanchion_lb::check::{Checks, TcpProbe};
    /// use stanchion_lb::policy::P2c;
    /// use stanchion_lb::{Balancer, Endpoint};
    ///
    /// let balancer = Balancer::new(P2c::new());
    /// balancer.update([Endpoint::new("web-1", "127.0.0.1:8080")])?;
    /// let checking = tokio::spawn(balancer.check(Checks::default(), TcpProbe::new()));
    /// // …
    /// drop(balancer);
    /// checking.await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn check<P>(&self, checks: Checks, probe: P) -> impl Future<Output = ()> + Send + use<A, P>
    where
        P: Probe<A> + Send + Sync + 'static,
    {
        let shared = self.shared();
        let listener = shared.listen();
        let clock = shared.clock().clone();
        let shared = Arc::downgrade(shared);
        async move { run(shared, listener, &clock, checks, &probe).await }
    }
}

/// What the driver waited for.
enum Next<A> {
    Ended(Watched<A>, Instant, Checked),
    Changed,
    Due,
    Closed,
}

async fn run<A, P: Probe<A>>(
    shared: Weak<Shared<A>>,
    mut listener: Listener,
    clock: &Clock,
    checks: Checks,
    probe: &P,
) {
    let _proofs = checks.skips_proven.then(|| Proofs::begin(&shared));
    let seed = Draw::of_thread().bits();
    let mut schedule = Schedule::new(checks.clone(), Draw::from_seed(seed));
    let mut under_way = pin!(FuturesUnordered::new());
    let mut next = Next::Changed;
    loop {
        match next {
            Next::Ended(mut watched, began, checked) => {
                if let Some(mark) = watched.machine.heard(checked, &checks) {
                    let Some(shared) = shared.upgrade() else {
                        return;
                    };
                    shared.mark_node(&watched.node, mark);
                }
                schedule.give_back(watched, began);
            }
            Next::Changed => {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                schedule.follow(&shared.plan().nodes, clock.now());
            }
            Next::Due => {}
            Next::Closed => return,
        }
        let at_once_max = checks.at_once_max.get();
        while under_way.len() < at_once_max {
            let now = clock.now();
            let Some(mut watched) = schedule.take_due(now) else {
                break;
            };
            if checks.skips_proven && is_proven(&mut watched, &checks) {
                schedule.give_back(watched, now);
            } else {
                under_way.push(check_one(probe, watched, now, clock, checks.timeout));
            }
        }
        let due = match under_way.len() < at_once_max {
            true => schedule.due(),
            false => Instant::MAX,
        };
        let mut sleep = pin!(clock.sleep_until(due));
        next = poll_fn(|cx| {
            if let Poll::Ready(Some((watched, began, checked))) = under_way.as_mut().poll_next(cx) {
                return Poll::Ready(Next::Ended(watched, began, checked));
            }
            match listener.poll_changed(cx) {
                Poll::Ready(true) => Poll::Ready(Next::Changed),
                Poll::Ready(false) => Poll::Ready(Next::Closed),
                Poll::Pending => sleep.as_mut().poll(cx).map(|()| Next::Due),
            }
        })
        .await;
    }
}

async fn check_one<A, P: Probe<A>>(
    probe: &P,
    watched: Watched<A>,
    began: Instant,
    clock: &Clock,
    timeout: Duration,
) -> (Watched<A>, Instant, Checked) {
    let checked = {
        let node = watched.node.clone();
        let mut answer = pin!(probe.probe(Probed { node }));
        let mut sleep = pin!(clock.sleep_until(began + timeout));
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(checked) => Poll::Ready(checked),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| Checked::Failed),
        })
        .await
    };
    (watched, began, checked)
}

/// Whether calls since the last check of a healthy endpoint say as much as a check would. Failures that
/// checks found before are forgotten then.
fn is_proven<A>(watched: &mut Watched<A>, checks: &Checks) -> bool {
    let node = &watched.node;
    let proven = node.samples.take_proof() && node.health.read().checks() == Mark::Healthy;
    if proven {
        watched.machine.heard(Checked::Passed, checks);
    }
    proven
}

/// While one of these is there, calls are proofs.
struct Proofs<'a, A> {
    shared: &'a Weak<Shared<A>>,
}

impl<'a, A> Proofs<'a, A> {
    fn begin(shared: &'a Weak<Shared<A>>) -> Self {
        if let Some(shared) = shared.upgrade() {
            shared.want_proofs(true);
        }
        Self { shared }
    }
}

impl<A> Drop for Proofs<'_, A> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.want_proofs(false);
        }
    }
}
