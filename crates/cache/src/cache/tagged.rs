//! Entries that are taken out together, by the names that they bear.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use super::place::Coming;
use super::{Cache, Inner};
use crate::Cause;
use crate::hash::hash;
use crate::tags::Names;

impl<K, V, S> Cache<K, V, S>
where
    K: Eq + Hash,
    S: BuildHasher,
{
    /// Puts a value in that bears `tags`, beside those of the cache's
    /// [tagger](crate::CacheBuilder::with_tagger), and gives the one it replaced, with whose tags it
    /// has nothing to do.
    ///
    /// An entry with more than 16 tags is refused, as one that is too heavy: it could not be taken
    /// out by all of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_cache::Cache;
    ///
    /// let pages: Cache<String, String> = Cache::new(1000);
    /// pages.insert_tagged("/shoes".to_owned(), "…".to_owned(), ["product:7", "product:8"]);
    /// pages.insert_tagged("/sale".to_owned(), "…".to_owned(), ["product:8"]);
    /// assert_eq!(pages.invalidate_tag("product:8"), 2);
    /// assert!(pages.is_empty());
    /// ```
    pub fn insert_tagged<T>(&self, key: K, value: V, tags: impl IntoIterator<Item = T>) -> Option<V>
    where
        T: Into<Arc<str>>,
    {
        self.insert_with_tags(key, value, tags, None)
    }

    /// [`insert_tagged`](Self::insert_tagged) for an entry with a time of its own, as of
    /// [`insert_for`](Self::insert_for).
    pub fn insert_tagged_for<T>(
        &self,
        key: K,
        value: V,
        tags: impl IntoIterator<Item = T>,
        time_to_live: Duration,
    ) -> Option<V>
    where
        T: Into<Arc<str>>,
    {
        self.insert_with_tags(key, value, tags, Some(time_to_live))
    }

    fn insert_with_tags<T>(
        &self,
        key: K,
        value: V,
        tags: impl IntoIterator<Item = T>,
        time_to_live: Option<Duration>,
    ) -> Option<V>
    where
        T: Into<Arc<str>>,
    {
        let inner = &*self.inner;
        let hash = hash(&inner.hasher, &key);
        let coming = Coming {
            time_to_live,
            tags: tags.into_iter().map(Into::into).collect(),
            ..Coming::default()
        };
        inner
            .insert_as(hash, key, value, coming)
            .unwrap_or_default()
    }

    /// Takes out all entries that bear `tag`, and says how many. None of them is given out once this
    /// returns, nor one that was being loaded when it began: its value goes to those who wait for it
    /// already, and into the cache only if it does not bear the tag; who asks from then on starts
    /// another load, since nobody knows what that one will bear.
    ///
    /// # Complexity
    ///
    /// Each shard's lock once, one after the other, and under it what it takes to remove those of its
    /// entries that bear the tag.
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn invalidate_tag(&self, tag: &str) -> u64 {
        let inner = &*self.inner;
        let mut count = 0;
        for stripe in &inner.stripes {
            let mut shard = stripe.write();
            let watches = shard.watches.purge(tag);
            let leaving: Vec<_> = shard
                .bearers(tag)
                .into_iter()
                .filter_map(|slot| shard.remove(slot))
                .collect();
            stripe.tell(&shard);
            drop(shard);
            drop(watches);
            for taken in leaving {
                inner.tell(&inner.leave(stripe, taken, Cause::Explicit));
                count += 1;
            }
        }
        count
    }

    /// Takes out all entries that bear any of `tags`, as [`invalidate_tag`](Self::invalidate_tag), one
    /// tag after the other.
    pub fn invalidate_tags<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) -> u64 {
        let invalidate = |tag: T| self.invalidate_tag(tag.as_ref());
        tags.into_iter().map(invalidate).sum()
    }
}

impl<K, V, S> Inner<K, V, S> {
    /// All names of an entry, of which `given` came with it: each once.
    pub(super) fn names(&self, key: &K, value: &V, given: Names) -> Names {
        let mut names = given;
        if let Some(tagger) = &self.tagger {
            names.extend(tagger(key, value));
        }
        if names.len() > 1 {
            names.sort_unstable();
            names.dedup();
        }
        names
    }
}
