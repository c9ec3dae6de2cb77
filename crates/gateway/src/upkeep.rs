//! What balancers do by themselves, done on the admin thread: ejected servers are let in again, those
//! that start slowly go on, rules that go by an interval are applied, servers are checked, and found.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::balance::Balance;
use crate::check::Check;
use crate::reload::{Followed, Follower};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::{config, discovery};

/// Drives the balancers of each configuration for as long as it is in force. It never ends; it is
/// dropped with the runtime, and so are its tasks: a few for each upstream.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let changed = follow(&shared);
    let mut driven = HashMap::new();
    loop {
        driven = drive(&shared, driven);
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
    finding: Option<(config::Discovery, Task)>,
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
fn drive(shared: &Arc<Shared>, mut before: HashMap<Arc<str>, Driven>) -> HashMap<Arc<str>, Driven> {
    let snapshot = shared.snapshot();
    let configs = snapshot.config.upstreams.iter();
    let upstreams = configs.zip(snapshot.balancers.checked());
    let upstreams = upstreams.map(|(config, (name, balance, check))| {
        // An upstream that went and came back is another one.
        let known = before
            .remove(name)
            .filter(|known| known.balance.is(balance));
        let mut driven = known.unwrap_or_else(|| Driven {
            balance: balance.clone(),
            _upkeep: Task::spawn(balance.balancer().upkeep()),
            checking: None,
            finding: None,
        });
        let checked = driven.checking.as_ref().map(|(check, _)| check);
        if checked != check {
            // Health goes on from what the other checks found.
            driven.checking = None;
            driven.checking = check.map(|check| {
                let run = check.run(name, balance, &shared.metrics);
                (check.clone(), Task::spawn(run))
            });
            if check.is_none() {
                balance.forget_checks();
            }
        }
        let found = driven.finding.as_ref().map(|(config, _)| config);
        if found != config.discovery.as_ref() {
            driven.finding = None;
            driven.finding = config.discovery.as_ref().map(|discovery| {
                let run = discovery::run(shared.clone(), name.clone(), discovery.clone());
                (discovery.clone(), Task::spawn(run))
            });
        }
        (name.clone(), driven)
    });
    upstreams.collect()
}
