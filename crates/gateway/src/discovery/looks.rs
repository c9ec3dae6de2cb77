use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Which upstreams were looked for once, whatever came of it.
#[derive(Debug, Default)]
pub(crate) struct FirstLooks {
    over: Mutex<HashSet<Arc<str>>>,
    told: Condvar,
}

impl FirstLooks {
    pub(super) fn over(&self, upstream: &Arc<str>) {
        let mut over = self.over.lock();
        if !over.contains(upstream) {
            over.insert(upstream.clone());
            self.told.notify_all();
        }
    }

    /// Blocks until all of these were looked for, or for at most `time_max`.
    pub(crate) fn wait(&self, upstreams: &[Arc<str>], time_max: Duration) {
        let mut over = self.over.lock();
        let some_are_not = |over: &mut HashSet<Arc<str>>| {
            let mut upstreams = upstreams.iter();
            upstreams.any(|upstream| !over.contains(upstream))
        };
        // Whoever is late is found while the gateway runs.
        let _ = self.told.wait_while_for(&mut over, some_are_not, time_max);
    }
}
