//! A cache that knows how its values are loaded, and so can load them anew.

mod builder;
mod driver;
mod queue;
#[cfg(feature = "tokio")]
mod sweep;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ahash::RandomState;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::cache::{BulkLoader, Joined, Looked, Ticket, typed, unique};
use crate::flight::Outcome;
use crate::refresh::Age;
use crate::{Cache, LoadError};

pub use builder::LoadingBuilder;
pub use driver::Refresher;
use queue::{Open, Queue};

/// A [`Cache`] with a loader: it loads what is not there, and loads anew what is about to be stale,
/// or is stale already, while it serves what it has. Made by [`CacheBuilder::loading`].
///
/// Clones share one cache and the refreshes under way. What it holds is reached as
/// [`cache`](Self::cache): to insert, remove and invalidate, each of which wins over a load or a
/// refresh of its key that is under way.
///
/// Refreshes are done by the [`Refresher`] that came with it; where that is not polled, values are
/// served until they may not be any more, and whoever then waits loads by itself.
///
/// [`CacheBuilder::loading`]: crate::CacheBuilder::loading
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_cache::{Cache, Refresh};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # async fn fetch(sku: u64) -> std::io::Result<u64> { Ok(sku * 100) }
/// let (prices, refresher) = Cache::builder(10_000)
///     .with_time_to_live(Duration::from_secs(60))
///     .loading(|sku: u64| fetch(sku))
///     .with_refresh(Refresh::after(0.8)?)
///     .with_stale_if_error(Duration::from_secs(600))
///     .build()?;
/// tokio::spawn(refresher);
///
/// assert_eq!(prices.get_or_load(&7).await?, 700);
/// assert_eq!(prices.cache().get(&7), Some(700));
/// # Ok(())
/// # }
/// ```
pub struct Loading<K, V, E = Infallible, S = RandomState> {
    parts: Arc<Parts<K, V, S>>,
    open: Arc<Open<K, V, S>>,
    error: PhantomData<fn() -> E>,
}

type Loader<K, V> = dyn Fn(K) -> Pin<Box<dyn Future<Output = Outcome<V>> + Send>> + Send + Sync;

/// How many keys are loaded one by one at once, where they are asked for together.
const LOADS_AT_ONCE: usize = 16;

/// What callers and the refresher share.
struct Parts<K, V, S> {
    cache: Cache<K, V, S>,
    loader: Arc<Loader<K, V>>,
    bulk_loader: Option<Arc<BulkLoader<K, V>>>,
    queue: Arc<Queue<K, V, S>>,
    /// Whether a load that nobody waits for any more is finished.
    finishes: bool,
}

/// What became of a wish to load anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Begun,
    /// It is being loaded, or changed meanwhile.
    Needless,
    /// As many as may be are under way.
    Full,
}

impl<K, V, E, S> Loading<K, V, E, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// The value of `key`: what is there, if it may be served, and else what its load brings.
    ///
    /// Waits only if there is nothing, or what is there is too old to be served while it is loaded
    /// anew; and then for one load, with all others who ask.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the load failed and there is no value that may be served instead.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the load to the others who wait. Without others it is dropped, or
    /// finished by the refresher with [`LoadingBuilder::with_loads_finished`].
    pub async fn get_or_load<Q>(&self, key: &Q) -> Result<V, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        match self.look(key) {
            Some(value) => Ok(value),
            None => self.load(key).await,
        }
    }

    /// The value of `key`, which is loaded unless it came meanwhile.
    async fn load<Q>(&self, key: &Q) -> Result<V, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        loop {
            let held = match self.join(key) {
                Ok(held) => held,
                Err(result) => return result,
            };
            let (hash, watch) = (held.ticket.hash, held.ticket.watch);
            match typed(held.await) {
                Some(Err(error)) => return self.parts.cache.excuse(key).ok_or(error),
                Some(loaded) => return loaded,
                // An error of another type, from a load that was begun at the cache itself.
                None => self.parts.cache.forget(hash, watch),
            }
        }
    }

    /// [`get_or_load`](Self::get_or_load) for code that is not async: the thread waits, and while it
    /// does it may poll the load. Where the loader needs its runtime's context, call this from within
    /// that runtime.
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Self::get_or_load).
    pub fn get_or_load_blocking<Q>(&self, key: &Q) -> Result<V, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.look(key) {
            return Ok(value);
        }
        loop {
            let held = match self.join(key) {
                Ok(held) => held,
                Err(result) => return result,
            };
            let (hash, watch) = (held.ticket.hash, held.ticket.watch);
            match typed(held.wait()) {
                Some(Err(error)) => return self.parts.cache.excuse(key).ok_or(error),
                Some(loaded) => return loaded,
                None => self.parts.cache.forget(hash, watch),
            }
        }
    }

    /// The values of `keys`, with no result for those that a load of many did not bring.
    ///
    /// Each key is served, refreshed or loaded as by [`get_or_load`](Self::get_or_load). What is to be
    /// loaded is loaded together if the cache has a
    /// [bulk loader](LoadingBuilder::with_bulk_loader); else one by one, up to 16 at once.
    ///
    /// # Errors
    ///
    /// The [`LoadError`] of each key whose load failed and that has no value to be served instead.
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_load`](Self::get_or_load), for each key.
    pub async fn get_or_load_all(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> HashMap<K, Result<V, LoadError<E>>> {
        let mut results = HashMap::new();
        let mut missing = Vec::new();
        for key in unique(keys) {
            match self.look(&key) {
                Some(value) => drop(results.insert(key, Ok(value))),
                None => missing.push(key),
            }
        }
        if let Some(load) = &self.parts.bulk_loader {
            let join = |key: &K| self.parts.cache.join_aged(key);
            let mut loaded = self.parts.cache.load_all(missing, join, load).await;
            for (key, result) in &mut loaded {
                if result.is_err()
                    && let Some(value) = self.parts.cache.excuse(key)
                {
                    *result = Ok(value);
                }
            }
            results.extend(loaded);
            return results;
        }
        let load = |key: K| async move {
            let loaded = self.load(&key).await;
            (key, loaded)
        };
        let mut missing = missing.into_iter();
        let mut loads: FuturesUnordered<_> =
            missing.by_ref().take(LOADS_AT_ONCE).map(load).collect();
        while let Some((key, loaded)) = loads.next().await {
            results.insert(key, loaded);
            loads.extend(missing.next().map(load));
        }
        results
    }

    /// Has `key` loaded anew in the background, whatever its age and whether or not it is there; and
    /// says whether that began. It does not if the key is being loaded already, or as many refreshes
    /// as allowed are under way.
    pub fn refresh<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        self.parts.start(key, None) == Start::Begun
    }

    fn look<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        match self.parts.cache.look(key) {
            Looked::Serve(value) => Some(value),
            Looked::Refresh(value, age) => {
                self.parts.start(key, Some(age));
                Some(value)
            }
            Looked::Load => None,
        }
    }

    /// A hold on the load of `key`, or what is known without it.
    fn join<Q>(&self, key: &Q) -> Result<Held<K, V, S>, Result<V, LoadError<E>>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let ticket = match self.parts.cache.join_aged(key) {
            Joined::Found(value) => return Err(Ok(value)),
            Joined::Reentrant => return Err(Err(LoadError::Reentrant)),
            Joined::Follows(ticket) => ticket,
            Joined::Leads(ticket, key) => {
                self.parts.begin(&ticket, key, false);
                ticket
            }
        };
        let queue = self.parts.finishes.then(|| Arc::clone(&self.parts.queue));
        Ok(Held { ticket, queue })
    }
}

impl<K, V, E, S> Loading<K, V, E, S> {
    /// What it holds. Reads of it give what is there whether or not it is stale, and load nothing.
    #[must_use]
    pub fn cache(&self) -> &Cache<K, V, S> {
        &self.parts.cache
    }
}

impl<K, V, S> Parts<K, V, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    fn begin(&self, ticket: &Ticket<K, V, S>, key: K, is_refresh: bool) {
        let (loader, own) = (Arc::clone(&self.loader), key.clone());
        let load = move || loader(own);
        self.cache.begin_with(ticket, key, is_refresh, load);
    }

    /// Has `key` loaded anew, if what is there has the age that was `seen`.
    fn start<Q>(&self, key: &Q, seen: Option<Age>) -> Start
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let Some(place) = self.queue.place() else {
            self.cache.count_refused_refresh();
            return Start::Full;
        };
        let Some((ticket, key)) = self.cache.lead_refresh(key, seen) else {
            return Start::Needless;
        };
        self.begin(&ticket, key, true);
        self.queue.push(ticket, place);
        Start::Begun
    }
}

/// A hold on a load, which dropped early may leave the load to the refresher.
struct Held<K, V, S> {
    ticket: Ticket<K, V, S>,
    queue: Option<Arc<Queue<K, V, S>>>,
}

impl<K, V, S> Held<K, V, S>
where
    K: Eq + Hash,
    V: Clone,
    S: BuildHasher,
{
    fn wait(mut self) -> Outcome<V> {
        self.ticket.wait()
    }
}

impl<K: Eq, V: Clone, S> Future for Held<K, V, S> {
    type Output = Outcome<V>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<V>> {
        Pin::new(&mut self.ticket).poll(cx)
    }
}

impl<K, V, S> Drop for Held<K, V, S> {
    fn drop(&mut self) {
        let Some(queue) = self.queue.take() else {
            return;
        };
        if self.ticket.is_over() {
            return;
        }
        if let Some(place) = queue.place() {
            queue.push(self.ticket.again(), place);
        }
    }
}

impl<K, V, E, S> Clone for Loading<K, V, E, S> {
    fn clone(&self) -> Self {
        Self {
            parts: Arc::clone(&self.parts),
            open: Arc::clone(&self.open),
            error: PhantomData,
        }
    }
}

impl<K, V, E, S> fmt::Debug for Loading<K, V, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loading")
            .field("cache", &self.parts.cache)
            .field("refreshes", &self.parts.queue.under_way())
            .finish_non_exhaustive()
    }
}
