use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// What tables that depend on who was there before go on from, level by level; clones share it.
///
/// An algorithm that needs it cannot be made without. Each set of endpoints that the balancer takes
/// adds to it; one that is refused does not. Balancers that share one must be told of the same endpoints in
/// the same order. At most one history for each of 256 levels, which stays when a level has no
/// endpoints any more.
///
/// # Examples
///
/// ```
/// use stanchion_lb::policy::{ConsistentHash, Histories};
/// use stanchion_lb::{Balancer, Endpoint};
///
/// let histories = Histories::new();
/// let balancer = Balancer::new(ConsistentHash::jump(histories.clone()));
/// balancer.update([Endpoint::new("shard-1", 1), Endpoint::new("shard-2", 2)])?;
///
/// // The next process goes on from what is kept; with feature `serde` it can be written and read.
/// let kept = histories.levels();
/// let balancer = Balancer::new(ConsistentHash::jump(Histories::from_levels(kept)));
/// assert!(balancer.update([Endpoint::new("shard-2", 2)]).is_err());
/// # Ok::<(), stanchion_lb::InvalidEndpoints>(())
/// ```
#[derive(Debug)]
pub struct Histories<H> {
    levels: Arc<Mutex<BTreeMap<u8, H>>>,
}

impl<H: Clone> Histories<H> {
    /// Begins: nobody was there before.
    #[must_use]
    pub fn new() -> Self {
        Self::from_levels(BTreeMap::new())
    }

    /// Goes on from the histories of these levels, which are told by their priorities.
    #[must_use]
    pub fn from_levels(levels: BTreeMap<u8, H>) -> Self {
        Self {
            levels: Arc::new(Mutex::new(levels)),
        }
    }

    /// The histories as they are now, by priority: what is to be kept.
    #[must_use]
    pub fn levels(&self) -> BTreeMap<u8, H> {
        self.levels.lock().clone()
    }

    pub(super) fn of(&self, priority: u8) -> Option<H> {
        self.levels.lock().get(&priority).cloned()
    }

    pub(super) fn set(&self, priority: u8, history: H) {
        self.levels.lock().insert(priority, history);
    }
}

impl<H: Clone> Default for Histories<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H> Clone for Histories<H> {
    fn clone(&self) -> Self {
        Self {
            levels: self.levels.clone(),
        }
    }
}
