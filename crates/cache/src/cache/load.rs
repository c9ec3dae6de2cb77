//! Loading what is not there: one load for each key at a time.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::future::Future;
#[cfg(feature = "tokio")]
use std::future::poll_fn;
use std::hash::{BuildHasher, Hash};
#[cfg(feature = "tokio")]
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "tokio")]
use std::task::Poll;
use std::time::Duration;

use super::ticket::Ticket;
use super::{Cache, Inner};
use crate::LoadError;
use crate::flight::{Failure, Flight, Outcome, Seat};
use crate::hash::{hash, short};

/// What came of looking for a key, or for the load of it.
enum Joined<K, V, S> {
    Found(V),
    /// The load of the key is what this thread is doing.
    Reentrant,
    Follows(Ticket<K, V, S>),
    /// There was no load: this caller starts it, for the key.
    Leads(Ticket<K, V, S>, K),
}

impl<K, V, S> Cache<K, V, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// The value of `key`, loaded if it is not there: once, however many ask for it.
    ///
    /// See [`try_get_or_load`](Self::try_get_or_load), of which this is the form for loads that
    /// cannot fail by themselves.
    ///
    /// # Errors
    ///
    /// [`LoadError`], except [`LoadError::Failed`].
    ///
    /// # Cancel safety
    ///
    /// As with [`try_get_or_load`](Self::try_get_or_load).
    pub async fn get_or_load<Q, F, Fut>(&self, key: &Q, load: F) -> Result<V, LoadError>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = V> + Send + 'static,
    {
        let load = || async { Ok::<_, Infallible>(load().await) };
        self.try_get_or_load(key, load).await
    }

    /// The value of `key`, loaded if it is not there: once, however many ask for it.
    ///
    /// Who asks while the key is being loaded waits for that load, and polls it: a caller that goes
    /// away, or keeps its future without polling it, holds up nobody. The value is put in unless the
    /// key was inserted, removed or invalidated since the load began; then it goes only to those who
    /// waited, and who asks from then on starts another load.
    ///
    /// Callers of one key may have different types of error: they share the value, and an error with
    /// those of its type; the others then load by themselves.
    ///
    /// # Errors
    ///
    /// [`LoadError`], shared by all who waited. Nothing is put in, and who asks next starts another
    /// load.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the load to the others who wait. The last takes it along: it is
    /// dropped where it is.
    ///
    /// # Complexity
    ///
    /// As [`get`](Self::get) if the key is there. A load takes two allocations and two clones of the
    /// key; each waiter keeps one waker.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_cache::{Cache, LoadError};
    ///
    /// # let block_on = |future: std::pin::Pin<Box<dyn Future<Output = _>>>| {
    /// #     let mut future = future;
    /// #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop {
    /// #         if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut cx) {
    /// #             return done;
    /// #         }
    /// #     }
    /// # };
    /// # block_on(Box::pin(async {
    /// let ages: Cache<String, u32> = Cache::new(1000);
    /// let age = ages.try_get_or_load("Anna", || async { "41".parse() }).await;
    /// assert_eq!(age.unwrap(), 41);
    ///
    /// let age = ages.try_get_or_load("Bert", || async { "?".parse() }).await;
    /// assert!(matches!(age, Err(LoadError::Failed(_))));
    /// # }));
    /// ```
    pub async fn try_get_or_load<Q, F, Fut, E>(&self, key: &Q, load: F) -> Result<V, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        let (ticket, key) = loop {
            let outcome = match self.join(key) {
                Joined::Found(value) => return Ok(value),
                Joined::Reentrant => return Err(LoadError::Reentrant),
                Joined::Leads(ticket, key) => break (ticket, key),
                Joined::Follows(ticket) => ticket.await,
            };
            if let Some(result) = typed(outcome) {
                return result;
            }
        };
        let (cache, hash, watch) = (self.clone(), ticket.hash, ticket.watch);
        ticket.begin(Box::pin(async move {
            let began = cache.inner.now();
            let value = cache.inner.timed(load()).await?.map_err(Failure::of)?;
            cache.inner.loads.count(cache.inner.now() - began);
            cache.inner.publish(hash, watch, key, &value);
            Ok(value)
        }));
        own(ticket.await)
    }

    /// The value of `key`, loaded on this thread if it is not there and nobody else is loading it;
    /// else the thread waits. The form of [`get_or_load`](Self::get_or_load) for code that is not
    /// async; both share their loads.
    ///
    /// # Errors
    ///
    /// [`LoadError`], except [`LoadError::Failed`].
    ///
    /// # Panics
    ///
    /// If `load` does.
    pub fn get_or_load_blocking<Q, F>(&self, key: &Q, load: F) -> Result<V, LoadError>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> V,
    {
        self.try_get_or_load_blocking(key, || Ok::<_, Infallible>(load()))
    }

    /// The value of `key`, loaded on this thread if it is not there and nobody else is loading it;
    /// else the thread waits. The form of [`try_get_or_load`](Self::try_get_or_load) for code that
    /// is not async; both share their loads.
    ///
    /// While it waits for an async load the thread may poll it, so with a load that needs its
    /// runtime's context, call this from within that runtime. Loads that block their threads and
    /// wait for each other are told apart from slow ones: the one that would close the circle gets
    /// [`LoadError::Reentrant`].
    ///
    /// # Errors
    ///
    /// [`LoadError`], shared by all who waited. Nothing is put in, and who asks next starts another
    /// load.
    ///
    /// # Panics
    ///
    /// If `load` does; who waited for it gets [`LoadError::Panicked`].
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_cache::Cache;
    ///
    /// let squares: Cache<u64, u64> = Cache::new(1000);
    /// assert_eq!(squares.get_or_load_blocking(&12, || 12 * 12).unwrap(), 144);
    /// assert_eq!(squares.get(&12), Some(144));
    /// ```
    pub fn try_get_or_load_blocking<Q, F, E>(&self, key: &Q, load: F) -> Result<V, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Result<V, E>,
        E: Send + Sync + 'static,
    {
        let (ticket, key) = loop {
            let outcome = match self.join(key) {
                Joined::Found(value) => return Ok(value),
                Joined::Reentrant => return Err(LoadError::Reentrant),
                Joined::Leads(ticket, key) => break (ticket, key),
                Joined::Follows(ticket) => ticket.wait(),
            };
            if let Some(result) = typed(outcome) {
                return result;
            }
        };
        ticket.flight.block();
        let inner = Arc::clone(&self.inner);
        own(ticket.call(key, || {
            let began = inner.now();
            let value = load().map_err(Failure::of)?;
            inner.loads.count(inner.now() - began);
            Ok(value)
        }))
    }

    fn join<Q>(&self, key: &Q) -> Joined<K, V, S>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.get(key) {
            return Joined::Found(value);
        }
        let inner = &self.inner;
        let hash = hash(&inner.hasher, key);
        let stripe = inner.stripe(hash);
        let shard = stripe.read();
        if let Some((watch, flight)) = shard.watches.flight(short(hash), key) {
            let ticket = self.board(hash, watch, flight);
            drop(shard);
            return ticket.into();
        }
        drop(shard);

        // Two for who starts a load, of which who came too late keeps neither.
        let keys = (key.to_owned(), key.to_owned());
        let mut shard = stripe.write();
        let slot = shard.find(short(hash), key);
        if let Some(value) = slot.and_then(|slot| inner.live(&shard, slot)) {
            let value = value.clone();
            drop(shard);
            return Joined::Found(value);
        }
        if let Some((watch, flight)) = shard.watches.flight(short(hash), key) {
            let ticket = self.board(hash, watch, flight);
            drop(shard);
            return ticket.into();
        }
        let flight = Arc::new(Flight::new());
        let watch = shard
            .watches
            .add(short(hash), keys.0, Some(Arc::clone(&flight)));
        drop(shard);
        Joined::Leads(self.ticket(hash, watch, flight), keys.1)
    }

    /// Joins a flight, under the lock of its shard; `None` if this thread is polling its load.
    fn board(&self, hash: u64, watch: u64, flight: &Arc<Flight<V>>) -> Option<Ticket<K, V, S>> {
        if flight.is_polled_here() {
            return None;
        }
        flight.join();
        self.inner.loads.count_joined();
        Some(self.ticket(hash, watch, Arc::clone(flight)))
    }

    fn ticket(&self, hash: u64, watch: u64, flight: Arc<Flight<V>>) -> Ticket<K, V, S> {
        Ticket {
            inner: Arc::clone(&self.inner),
            flight,
            hash,
            watch,
            seat: Seat::default(),
        }
    }
}

impl<K, V, S> From<Option<Ticket<K, V, S>>> for Joined<K, V, S> {
    fn from(ticket: Option<Ticket<K, V, S>>) -> Self {
        ticket.map_or(Self::Reentrant, Self::Follows)
    }
}

impl<K, V, S> Inner<K, V, S> {
    /// Waits for a load as long as it may take.
    #[cfg(feature = "tokio")]
    async fn timed<F: Future>(&self, load: F) -> Result<F::Output, Failure> {
        let Some(timeout) = self.lifetime.load_timeout else {
            return Ok(load.await);
        };
        let mut end = pin!(self.lifetime.clock.sleep(timeout));
        let mut load = pin!(load);
        poll_fn(|cx| match load.as_mut().poll(cx) {
            Poll::Ready(loaded) => Poll::Ready(Ok(loaded)),
            Poll::Pending => end.as_mut().poll(cx).map(|()| Err(Failure::TimedOut)),
        })
        .await
    }

    /// Waits for a load as long as it takes.
    #[cfg(not(feature = "tokio"))]
    async fn timed<F: Future>(&self, load: F) -> Result<F::Output, Failure> {
        Ok(load.await)
    }
}

impl<K, V, S> Inner<K, V, S>
where
    K: Eq + Hash,
    V: Clone,
    S: BuildHasher,
{
    /// Puts a loaded value in, unless something happened to its key.
    pub(super) fn publish(&self, hash: u64, watch: u64, key: K, value: &V) {
        // Outdated is as good: whoever waited gets the value from the flight.
        drop(self.insert_if(hash, Some(watch), key, value.clone(), None));
    }
}

/// The outcome of a load with errors of type `E`; `None` if they are of another type.
fn typed<V, E: Send + Sync + 'static>(outcome: Outcome<V>) -> Option<Result<V, LoadError<E>>> {
    match outcome {
        Ok(value) => Some(Ok(value)),
        Err(failure) => failure.into_error().map(Err),
    }
}

/// The outcome of the load that this caller brought.
fn own<V, E: Send + Sync + 'static>(outcome: Outcome<V>) -> Result<V, LoadError<E>> {
    typed(outcome).unwrap_or_else(|| unreachable!("a load fails with its own type of error"))
}

/// Counts loads. Relaxed: each counter is exact, and none tells of another.
#[derive(Debug, Default)]
pub(super) struct Loads {
    done: AtomicU64,
    failed: AtomicU64,
    joined: AtomicU64,
    nanos: AtomicU64,
}

impl Loads {
    fn count(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.done.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn count_joined(&self) {
        self.joined.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn joined(&self) -> u64 {
        self.joined.load(Ordering::Relaxed)
    }

    pub(super) fn time(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}
