//! Loading what is not there: one load for each key at a time.

use std::any::Any;
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

use super::place::Coming;
use super::ticket::Ticket;
use super::{Cache, Inner};
use crate::LoadError;
use crate::flight::{Failure, Flight, Outcome, Seat};
use crate::hash::{hash, short};
use crate::shard::Shard;

/// What came of looking for a key, or for the load of it.
pub(crate) enum Joined<K, V, S> {
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
            let ticket = match self.join(key) {
                Joined::Found(value) => return Ok(value),
                Joined::Reentrant => return Err(LoadError::Reentrant),
                Joined::Leads(ticket, key) => break (ticket, key),
                Joined::Follows(ticket) => ticket,
            };
            let (hash, watch) = (ticket.hash, ticket.watch);
            if let Some(result) = typed(ticket.await) {
                return result;
            }
            self.forget(hash, watch);
        };
        self.begin(&ticket, key, false, || async {
            let value = load().await.map_err(Failure::of)?;
            Ok((value, Keep::AsOthers))
        });
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
            let mut ticket = match self.join(key) {
                Joined::Found(value) => return Ok(value),
                Joined::Reentrant => return Err(LoadError::Reentrant),
                Joined::Leads(ticket, key) => break (ticket, key),
                Joined::Follows(ticket) => ticket,
            };
            if let Some(result) = typed(ticket.wait()) {
                return result;
            }
            self.forget(ticket.hash, ticket.watch);
        };
        ticket.flight.block();
        let inner = Arc::clone(&self.inner);
        let watch = Some(ticket.watch);
        own(ticket.call(key, || {
            let began = inner.now();
            let value = load().map_err(Failure::of)?;
            let took = inner.now() - began;
            inner.loads.count(took);
            let coming = Coming {
                watch,
                took,
                ..Coming::default()
            };
            Ok((value, coming))
        }))
    }

    pub(super) fn join<Q>(&self, key: &Q) -> Joined<K, V, S>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.get(key) {
            return Joined::Found(value);
        }
        self.board_or_lead(key, |shard, slot| self.inner.live(shard, slot).cloned())
    }

    /// Joins the load of `key`, or starts one, unless meanwhile a value came: `there` looks at what is
    /// in the key's slot.
    pub(super) fn board_or_lead<Q>(
        &self,
        key: &Q,
        there: impl Fn(&Shard<K, V>, u32) -> Option<V>,
    ) -> Joined<K, V, S>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let inner = &self.inner;
        let hash = hash(&inner.hasher, key);
        let stripe = inner.stripe(hash);
        let shard = stripe.read();
        if let Some((watch, flight)) = shard.watches.flight(short(hash), key, || inner.now()) {
            let ticket = self.board(hash, watch, flight);
            drop(shard);
            return ticket.into();
        }
        drop(shard);

        // Two for who starts a load, of which who came too late keeps neither.
        let keys = (key.to_owned(), key.to_owned());
        let mut shard = stripe.write();
        let slot = shard.find(short(hash), key);
        if let Some(value) = slot.and_then(|slot| there(&shard, slot)) {
            drop(shard);
            return Joined::Found(value);
        }
        if let Some((watch, flight)) = shard.watches.flight(short(hash), key, || inner.now()) {
            let ticket = self.board(hash, watch, flight);
            drop(shard);
            return ticket.into();
        }
        if shard.watches.is_loaded_here(short(hash), key) {
            drop(shard);
            return Joined::Reentrant;
        }
        let outdated = shard
            .watches
            .take_outdated(short(hash), key, || inner.now());
        let ticket = self.lead(&mut shard, hash, keys.0);
        drop(shard);
        drop(outdated);
        Joined::Leads(ticket, keys.1)
    }

    /// Forgets a flight that ended in an error of another type, which may be kept.
    pub(crate) fn forget(&self, hash: u64, watch: u64) {
        self.inner.unwatch(hash, watch);
    }

    /// Starts a flight of which this caller is the only waiter, under the lock of its shard.
    pub(super) fn lead(&self, shard: &mut Shard<K, V>, hash: u64, key: K) -> Ticket<K, V, S> {
        let flight = Arc::new(Flight::new());
        let shared = self.inner.loads.are_shared();
        let watch = shard
            .watches
            .add(short(hash), key, Some(Arc::clone(&flight)), shared);
        self.ticket(hash, watch, flight)
    }

    /// Brings the load of a flight that this caller leads.
    pub(super) fn begin<F, Fut>(&self, ticket: &Ticket<K, V, S>, key: K, is_refresh: bool, load: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(V, Keep), Failure>> + Send + 'static,
    {
        let (cache, hash, watch) = (self.clone(), ticket.hash, ticket.watch);
        ticket.begin(Box::pin(async move {
            let inner = &cache.inner;
            let began = inner.now();
            let (value, keep) = inner.timed(load()).await??;
            let took = inner.now() - began;
            inner.loads.count(took);
            let time_to_live = match keep {
                Keep::Not => {
                    inner.unwatch(hash, watch);
                    return Ok(value);
                }
                Keep::For(time) => Some(time),
                Keep::AsOthers => None,
            };
            let coming = Coming {
                watch: Some(watch),
                time_to_live,
                took,
                is_refresh,
                ..Coming::default()
            };
            inner.publish(hash, key, &value, coming);
            Ok(value)
        }));
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
    pub(super) async fn timed<F: Future>(&self, load: F) -> Result<F::Output, Failure> {
        let Some(timeout) = self.loads.rules.timeout else {
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
    pub(super) async fn timed<F: Future>(&self, load: F) -> Result<F::Output, Failure> {
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
    pub(super) fn publish(&self, hash: u64, key: K, value: &V, coming: Coming) {
        // Outdated is as good: whoever waited gets the value from the flight.
        drop(self.insert_as(hash, key, value.clone(), coming));
    }
}

impl<K, V, S> Inner<K, V, S> {
    /// Takes a flight out of its shard, if it is still there: who comes now starts another.
    fn unwatch(&self, hash: u64, watch: u64) {
        let mut shard = self.stripe(hash).write();
        let watch = shard.watches.take(short(hash), watch);
        drop(shard);
        drop(watch);
    }
}

impl<K: Eq, V, S> Inner<K, V, S> {
    /// A load ended in `failure`: what is there of its key rests before it is loaded anew, or the
    /// error is kept, or nothing is left of it.
    pub(super) fn fail(&self, hash: u64, watch: u64, failure: &Failure) {
        let keep_for = self.loads.keep_for(failure);
        let mut shard = self.stripe(hash).write();
        let key = shard.watches.key(short(hash), watch);
        let slot = key.and_then(|key| shard.find(short(hash), key));
        let slot = slot.filter(|slot| self.live(&shard, *slot).is_some());
        if let (Some(slot), Some(aging)) = (slot, &self.lifetime.aging) {
            let (age, now) = (shard.age(slot), self.now());
            shard.set_age(slot, aging.rules.failed(age, now, aging.random()));
        }
        let watch = match keep_for {
            Some(time) if slot.is_none() => {
                shard.watches.keep(short(hash), watch, self.now() + time)
            }
            _ => shard.watches.take(short(hash), watch),
        };
        drop(shard);
        drop(watch);
    }
}

/// The outcome of a load with errors of type `E`; `None` if they are of another type.
pub(crate) fn typed<V, E: Send + Sync + 'static>(
    outcome: Outcome<V>,
) -> Option<Result<V, LoadError<E>>> {
    match outcome {
        Ok(value) => Some(Ok(value)),
        Err(failure) => failure.into_error().map(Err),
    }
}

/// The outcome of the load that this caller brought.
fn own<V, E: Send + Sync + 'static>(outcome: Outcome<V>) -> Result<V, LoadError<E>> {
    typed(outcome).unwrap_or_else(|| unreachable!("a load fails with its own type of error"))
}

/// Whether a value that was loaded is put in.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "a layer is to decide")]
pub(crate) enum Keep {
    /// For the time that all have.
    AsOthers,
    For(Duration),
    Not,
}

/// How long an error is kept; `None` if it is not.
pub(crate) type ErrorTime = Arc<dyn Fn(&(dyn Any + Send + Sync)) -> Option<Duration> + Send + Sync>;

/// How a cache loads.
#[derive(Clone)]
pub(crate) struct LoadRules {
    /// The time that a load may take.
    #[cfg(feature = "tokio")]
    pub(crate) timeout: Option<Duration>,
    pub(crate) is_each_alone: bool,
    pub(crate) batch_max: usize,
    pub(crate) error_time: Option<ErrorTime>,
}

/// How many keys are loaded at once, if nothing else is said.
const BATCH_MAX: usize = 1000;

impl Default for LoadRules {
    fn default() -> Self {
        Self {
            #[cfg(feature = "tokio")]
            timeout: None,
            is_each_alone: false,
            batch_max: BATCH_MAX,
            error_time: None,
        }
    }
}

/// How loads are done, and how many were. Relaxed: each counter is exact, and none tells of another.
#[derive(Default)]
pub(super) struct Loads {
    rules: LoadRules,
    done: AtomicU64,
    failed: AtomicU64,
    joined: AtomicU64,
    refreshes: AtomicU64,
    refused_refreshes: AtomicU64,
    stale: AtomicU64,
    nanos: AtomicU64,
}

impl Loads {
    pub(super) fn new(rules: LoadRules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    pub(super) fn batch_max(&self) -> usize {
        self.rules.batch_max
    }

    fn are_shared(&self) -> bool {
        !self.rules.is_each_alone
    }

    /// How long to keep a failure. A panic or a load that took too long says nothing of the key.
    fn keep_for(&self, failure: &Failure) -> Option<Duration> {
        match (failure, &self.rules.error_time) {
            (Failure::Failed(error), Some(time)) => time(&**error).filter(|time| !time.is_zero()),
            _ => None,
        }
    }

    pub(super) fn count(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.done.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refresh(&self) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused_refresh(&self) {
        self.refused_refreshes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_stale(&self) {
        self.stale.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refreshes(&self) -> u64 {
        self.refreshes.load(Ordering::Relaxed)
    }

    pub(super) fn refused_refreshes(&self) -> u64 {
        self.refused_refreshes.load(Ordering::Relaxed)
    }

    pub(super) fn stale(&self) -> u64 {
        self.stale.load(Ordering::Relaxed)
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
