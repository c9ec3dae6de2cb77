//! What balancers do by themselves, done on the admin thread: ejected servers are let in again, those
//! that start slowly go on, rules that go by an interval are applied, and servers are checked.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::balance::Balance;
use crate::check::Check;
use crate::metrics::Metrics;
use crate::reload::{Followed, Follower};
use crate::shared::Shared;
use crate::snapshot::Snapshot;

/// Drives the balancers of each configuration for as long as it is in force. It never ends; it is
/// dropped with the runtime, and so are its tasks: a few for each upstream.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let changed = follow(&shared);
    let mut driven = HashMap::new();
    loop {
        driven = drive(&shared.snapshot(), &shared.metrics, driven);
        changed.notified().await;
    }
}

/// Tells of each new snapshot. Whoever reloads may do so on a thread without a runtime.
fn follow(shared: &Shared) -> Arc<Notify> {
    shared.follow(|_| {
        let changed = Arc::new(Notify::new());
        let followed = Arc::downgrade(&changed);
        let follower = move |_: &Arc<Snapshot>| match followed.upgrade() {
            Some(changed) => {
                changed.notify_one();
                Followed::Swapped
            }
            None => Followed::Ended,
        };
        (changed, Box::new(follower) as Follower)
    })
}

/// What runs for one upstream, until it is dropped.
struct Driven {
    balance: Balance,
    _upkeep: Task,
    checking: Option<(Check, Task)>,
}

struct Task(AbortHandle);

impl Task {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What runs for the upstreams of this snapshot; of that which ran `before`, what is the same goes on.
fn drive(
    snapshot: &Snapshot,
    metrics: &Metrics,
    mut before: HashMap<Arc<str>, Driven>,
) -> HashMap<Arc<str>, Driven> {
    let upstreams = snapshot.balancers.checked().map(|(name, balance, check)| {
        // An upstream that went and came back is another one.
        let known = before
            .remove(name)
            .filter(|known| known.balance.is(balance));
        let mut driven = known.unwrap_or_else(|| Driven {
            balance: balance.clone(),
            _upkeep: Task::spawn(balance.balancer().upkeep()),
            checking: None,
        });
        let checked = driven.checking.as_ref().map(|(check, _)| check);
        if checked != check {
            // Health goes on from what the other checks found.
            driven.checking = None;
            driven.checking = check.map(|check| {
                let run = check.run(name, balance, metrics);
                (check.clone(), Task::spawn(run))
            });
            if check.is_none() {
                balance.forget_checks();
            }
        }
        (name.clone(), driven)
    });
    upstreams.collect()
}
