//! Which entries of a shard bear which names.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};

/// The names of one entry.
pub(crate) type Names = Vec<Arc<str>>;

/// How many names an entry may bear.
pub(crate) const TAGS_MAX: usize = 16;

/// An index both ways, as large as the tags of the entries that are there: a name is in it as long as
/// an entry bears it.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    bearers: HashMap<Arc<str>, HashSet<u32, RandomState>, RandomState>,
    names: HashMap<u32, Box<[Arc<str>]>, RandomState>,
}

impl Tags {
    /// Gives the entry in `slot`, which bears none, its names.
    pub(crate) fn insert(&mut self, slot: u32, names: &[Arc<str>]) {
        let mut own = Vec::with_capacity(names.len());
        for name in names {
            // Entries share the text of a name.
            let entry = self.bearers.entry(Arc::clone(name));
            own.push(Arc::clone(entry.key()));
            entry.or_default().insert(slot);
        }
        self.names.insert(slot, own.into());
    }

    /// Takes the names of the entry in `slot`.
    pub(crate) fn remove(&mut self, slot: u32) {
        for name in self.names.remove(&slot).into_iter().flatten() {
            if let Some(bearers) = self.bearers.get_mut(&name) {
                bearers.remove(&slot);
                if bearers.is_empty() {
                    self.bearers.remove(&name);
                }
            }
        }
    }

    /// The slots of those who bear `name`.
    pub(crate) fn bearers(&self, name: &str) -> Vec<u32> {
        let bearers = self.bearers.get(name);
        bearers.into_iter().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_who_left() {
        let mut tags = Tags::default();
        let names: Names = vec!["a".into(), "b".into()];
        for slot in 0..100 {
            tags.insert(slot, &names[..1 + slot as usize % 2]);
        }
        assert_eq!(
            (tags.bearers("a").len(), tags.bearers("b").len()),
            (100, 50)
        );
        for slot in 0..100 {
            tags.remove(slot);
            tags.remove(slot);
        }
        assert!(tags.bearers("a").is_empty());
        assert!(tags.bearers.is_empty() && tags.names.is_empty());
    }
}
