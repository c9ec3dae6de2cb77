//! Many keys at once: one load for those that are missing, one flight for each of them.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;

use super::load::{Joined, typed};
use super::place::Coming;
use super::{Cache, Ticket};
use crate::LoadError;
use crate::flight::{Failure, Flight, Outcome, Seat};

/// What became of each key; nothing of a key that no load brought.
pub(crate) type All<K, V, E> = HashMap<K, Result<V, LoadError<E>>>;

/// Loads some of the keys it gets.
pub(crate) type BulkLoader<K, V> =
    dyn Fn(Vec<K>) -> Pin<Box<dyn Future<Output = Outcome<HashMap<K, V>>> + Send>> + Send + Sync;

/// Boxes what loads many keys, and its errors.
pub(crate) fn bulk_loader<K, V, F, Fut, B, E>(load: F) -> Arc<BulkLoader<K, V>>
where
    K: Eq + Hash,
    F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<B, E>> + Send + 'static,
    B: IntoIterator<Item = (K, V)>,
    E: Send + Sync + 'static,
{
    Arc::new(move |keys| {
        let load = load(keys);
        Box::pin(async move {
            match load.await {
                Ok(brought) => Ok(brought.into_iter().collect()),
                Err(error) => Err(Failure::of(error)),
            }
        })
    })
}

impl<K, V, S> Cache<K, V, S>
where
    K: Eq + Hash,
    S: BuildHasher,
{
    /// The values of those of `keys` that are there; each counts as one [`get`](Self::get).
    pub fn get_all<'a, Q>(&self, keys: impl IntoIterator<Item = &'a Q>) -> HashMap<K, V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized + 'a,
        V: Clone,
    {
        let found = |key: &Q| Some((key.to_owned(), self.get(key)?));
        keys.into_iter().filter_map(found).collect()
    }
}

impl<K, V, S> Cache<K, V, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// The values of `keys`: what is there, and one load for all that is not.
    ///
    /// `load` gets the keys that are missing and that nobody is loading, up to
    /// [`with_batch_max`](crate::CacheBuilder::with_batch_max) at a time, one batch after the other;
    /// keys that others are loading are waited for, and others wait for these. It may bring fewer
    /// than it was asked for: there is no result then for the rest, and nothing is put in for them;
    /// who waited for such a key by itself loads it by itself. What it brings without being asked is
    /// dropped. Each value goes in unless something happened to its own key meanwhile.
    ///
    /// # Errors
    ///
    /// The [`LoadError`] of each key of a batch that failed. Other keys have their values.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the load of each key to others who wait for it, and drops a batch
    /// for which nobody waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_cache::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let squares: Cache<u64, u64> = Cache::new(1000);
    /// squares.insert(2, 4);
    /// let all = squares
    ///     .get_or_load_all([1, 2, 3], |missing: Vec<u64>| async move {
    ///         assert_eq!(missing, [1, 3]);
    ///         Ok::<_, std::io::Error>(missing.into_iter().map(|number| (number, number * number)))
    ///     })
    ///     .await;
    /// assert_eq!(all.len(), 3);
    /// assert!(matches!(all[&3], Ok(9)));
    /// # }
    /// ```
    pub async fn get_or_load_all<F, Fut, B, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        load: F,
    ) -> HashMap<K, Result<V, LoadError<E>>>
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<B, E>> + Send + 'static,
        B: IntoIterator<Item = (K, V)>,
        E: Send + Sync + 'static,
    {
        let keys = unique(keys);
        let load = bulk_loader(load);
        self.load_all(keys, |key| self.join(key), &load).await
    }

    /// Loads what `join` does not find.
    pub(crate) async fn load_all<E: Send + Sync + 'static>(
        &self,
        mut wanted: Vec<K>,
        join: impl Fn(&K) -> Joined<K, V, S>,
        load: &Arc<BulkLoader<K, V>>,
    ) -> All<K, V, E> {
        let mut results = HashMap::new();
        while !wanted.is_empty() {
            let mut waits = Vec::new();
            let mut batch = Batch::new();
            for key in mem::take(&mut wanted) {
                match join(&key) {
                    Joined::Found(value) => drop(results.insert(key, Ok(value))),
                    Joined::Reentrant => drop(results.insert(key, Err(LoadError::Reentrant))),
                    Joined::Follows(ticket) => waits.push((key, ticket)),
                    Joined::Leads(ticket, own) => {
                        batch.add(self, &ticket, own);
                        waits.push((key, ticket));
                        if batch.keys.len() >= self.inner.loads.batch_max() {
                            mem::replace(&mut batch, Batch::new()).begin(self, load);
                        }
                    }
                }
            }
            batch.begin(self, load);
            for (key, ticket) in waits {
                let (hash, watch) = (ticket.hash, ticket.watch);
                match ticket.await {
                    Err(Failure::Absent) => {}
                    outcome => match typed(outcome) {
                        Some(result) => drop(results.insert(key, result)),
                        None => {
                            // An error of another type, from another's load.
                            self.forget(hash, watch);
                            wanted.push(key);
                        }
                    },
                }
            }
        }
        results
    }
}

/// Each key once, in their order.
pub(crate) fn unique<K: Clone + Eq + Hash>(keys: impl IntoIterator<Item = K>) -> Vec<K> {
    let mut seen = HashSet::new();
    let is_new = |key: &K| seen.insert(key.clone());
    keys.into_iter().filter(is_new).collect()
}

/// What one call of a loader brought, of which each flight takes its own.
struct Brought<K, V> {
    values: Mutex<HashMap<K, V>>,
    took: Duration,
}

/// A load of many keys on its way: a flight, in which the flights of the keys wait.
struct Batch<K, V> {
    flight: Arc<Flight<Arc<Brought<K, V>>>>,
    keys: Vec<K>,
}

impl<K, V> Batch<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn new() -> Self {
        Self {
            flight: Arc::new(Flight::new()),
            keys: Vec::new(),
        }
    }

    /// Makes the flight of `ticket` wait for the batch.
    fn add<S>(&mut self, cache: &Cache<K, V, S>, ticket: &Ticket<K, V, S>, key: K)
    where
        S: BuildHasher + Send + Sync + 'static,
    {
        self.keys.push(key.clone());
        let (cache, hash, watch) = (cache.clone(), ticket.hash, ticket.watch);
        let part = Part {
            flight: Arc::clone(&self.flight),
            seat: Seat::default(),
        };
        ticket.begin(Box::pin(async move {
            let brought = part.await?;
            let value = brought.values.lock().remove(&key);
            let value = value.ok_or(Failure::Absent)?;
            let coming = Coming {
                watch: Some(watch),
                took: brought.took,
                ..Coming::default()
            };
            cache.inner.publish(hash, key, &value, coming);
            Ok(value)
        }));
    }

    /// Brings the load.
    fn begin<S>(mut self, cache: &Cache<K, V, S>, load: &Arc<BulkLoader<K, V>>)
    where
        S: BuildHasher + Send + Sync + 'static,
    {
        let keys = mem::take(&mut self.keys);
        if keys.is_empty() {
            return;
        }
        let (cache, load) = (cache.clone(), Arc::clone(load));
        self.flight.begin(Box::pin(async move {
            let inner = &cache.inner;
            let began = inner.now();
            let values = inner.timed(async { load(keys).await }).await??;
            let took = inner.now() - began;
            inner.loads.count(took);
            let values = Mutex::new(values);
            Ok(Arc::new(Brought { values, took }))
        }));
    }
}

impl<K, V> Drop for Batch<K, V> {
    fn drop(&mut self) {
        // A key's own code panicked: nobody is to wait for a load that will not begin.
        if !self.keys.is_empty() {
            let message = "the bulk load was not begun".into();
            self.flight.end(Err(Failure::Panicked(message)));
        }
    }
}

/// Waits for a batch, and polls it.
struct Part<K, V> {
    flight: Arc<Flight<Arc<Brought<K, V>>>>,
    seat: Seat,
}

impl<K, V> Future for Part<K, V> {
    type Output = Outcome<Arc<Brought<K, V>>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.flight.poll(&mut this.seat, cx, |_| {})
    }
}

impl<K, V> Drop for Part<K, V> {
    fn drop(&mut self) {
        self.flight.stand_up(&mut self.seat);
    }
}
