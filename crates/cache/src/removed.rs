/// Why an entry left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It was removed, invalidated or cleared.
    Explicit,
    /// Another value came for its key.
    Replaced,
    /// The cache was full, and the policy chose it.
    Size,
    /// Its time was over.
    Expired,
    /// It never was in: alone it is heavier than the whole cache.
    Refused,
}

/// An entry that left the cache, or that was refused: what an observer hears, after every lock is
/// released and before the value is dropped or given to who removed it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed<K, V> {
    /// The key. Where the value was replaced, the equal key that came with the new one.
    pub key: K,
    /// The value.
    pub value: V,
    /// Why it left.
    pub cause: Cause,
}

/// Entries that leave in one operation: one is the rule, and takes no allocation.
#[derive(Debug)]
pub(crate) struct Leaving<K, V> {
    first: Option<Removed<K, V>>,
    rest: Vec<Removed<K, V>>,
}

impl<K, V> Leaving<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, key: K, value: V, cause: Cause) {
        let removed = Removed { key, value, cause };
        match self.first {
            None => self.first = Some(removed),
            Some(_) => self.rest.push(removed),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Removed<K, V>> {
        self.first.iter().chain(&self.rest)
    }
}
