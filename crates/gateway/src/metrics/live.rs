use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// What is known by a key for as long as somebody uses it; clones share.
///
/// A configuration that goes takes its series along, but not before its last request: so there are
/// never more than the configurations in use have.
pub(super) struct Live<K, T> {
    known: Arc<Mutex<HashMap<K, Weak<T>>>>,
}

impl<K: Hash + Eq, T> Live<K, T> {
    /// What is known by this key, the same for everyone who asks, or what `make` makes.
    pub(super) fn find(&self, key: K, make: impl FnOnce() -> T) -> Arc<T> {
        let mut known = self.known.lock();
        if let Some(found) = known.get(&key).and_then(Weak::upgrade) {
            return found;
        }
        let made = Arc::new(make());
        known.insert(key, Arc::downgrade(&made));
        made
    }

    /// Is called when what is known by this key is dropped: forgets it and calls `remove`, unless
    /// somebody asked for it again meanwhile.
    pub(super) fn dropped(&self, key: &K, remove: impl FnOnce()) {
        let mut known = self.known.lock();
        if known
            .get(key)
            .is_some_and(|known| known.strong_count() == 0)
        {
            known.remove(key);
            remove();
        }
    }
}

impl<K, T> Default for Live<K, T> {
    fn default() -> Self {
        Self {
            known: Arc::default(),
        }
    }
}

impl<K, T> Clone for Live<K, T> {
    fn clone(&self) -> Self {
        Self {
            known: self.known.clone(),
        }
    }
}

impl<K, T> fmt::Debug for Live<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}
