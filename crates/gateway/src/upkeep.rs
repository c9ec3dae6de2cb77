//! What balancers do by themselves, done on the admin thread: ejected servers are let in again, those
//! that start slowly go on, and rules that go by an interval are applied.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::reload::{Followed, Follower};
use crate::shared::Shared;
use crate::snapshot::Snapshot;

/// Drives the balancers of each configuration for as long as it is in force. It never ends; it is
/// dropped with the runtime, and so are its tasks: a few for each upstream.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let changed = follow(&shared);
    let mut driven = HashMap::new();
    loop {
        driven = drive(&shared.snapshot(), driven);
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
    _upkeep: Task,
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
fn drive(snapshot: &Snapshot, mut before: HashMap<Arc<str>, Driven>) -> HashMap<Arc<str>, Driven> {
    let upstreams = snapshot.balancers.all().map(|(name, balance)| {
        let driven = before.remove(name).unwrap_or_else(|| Driven {
            _upkeep: Task::spawn(balance.balancer().upkeep()),
        });
        (name.clone(), driven)
    });
    upstreams.collect()
}
