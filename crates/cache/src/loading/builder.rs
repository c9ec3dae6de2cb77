use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash, RandomState as StdRandom};
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ahash::RandomState;
use stanchion_backoff::Backoff;

#[cfg(feature = "tokio")]
use super::sweep::Sweep;
use super::{Loader, Loading, Open, Parts, Queue, Refresher};
use crate::cache::{BulkLoader, bulk_loader};
use crate::flight::Failure;
use crate::lifetime::Aging;
use crate::refresh::Rules;
use crate::{CacheBuilder, InvalidCache, Refresh};

/// What a [`Loading`] cache is built from; made by [`CacheBuilder::loading`].
#[must_use = "a builder does nothing until `build`"]
pub struct LoadingBuilder<K, V, E, S = RandomState> {
    cache: CacheBuilder<K, V, S>,
    loader: Arc<Loader<K, V>>,
    bulk_loader: Option<Arc<BulkLoader<K, V>>>,
    refresh: Refresh,
    stale_while_refreshing: Duration,
    stale_if_error: Duration,
    retry_waits: RangeInclusive<Duration>,
    refreshes_max: usize,
    finishes: bool,
    seed: Option<u64>,
    error: PhantomData<fn() -> E>,
}

const RETRY_WAITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
const REFRESHES_MAX: usize = 64;

impl<K, V, S> CacheBuilder<K, V, S> {
    /// Goes on to build a cache that loads its values by `loader`, and loads them anew.
    ///
    /// The loader gets the key, and is called by whoever first asks for it, or by the refresher. A
    /// cache whose loader cannot fail has [`Infallible`](std::convert::Infallible) as its error.
    pub fn loading<E, F, Fut>(self, loader: F) -> LoadingBuilder<K, V, E, S>
    where
        F: Fn(K) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        LoadingBuilder {
            cache: self,
            loader: Arc::new(move |key| {
                let load = loader(key);
                Box::pin(async move { load.await.map_err(Failure::of) })
            }),
            bulk_loader: None,
            refresh: Refresh::default(),
            stale_while_refreshing: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            retry_waits: RETRY_WAITS,
            refreshes_max: REFRESHES_MAX,
            finishes: false,
            seed: None,
            error: PhantomData,
        }
    }
}

impl<K, V, E, S> LoadingBuilder<K, V, E, S> {
    /// Sets when a value is loaded anew before its time is over. By default not before.
    pub const fn with_refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = refresh;
        self
    }

    /// Serves a value for `time` after its own is over, while it is loaded anew in the background
    /// (stale-while-revalidate). Nobody waits then, and nothing older is served. By default 0.
    pub const fn with_stale_while_refreshing(mut self, time: Duration) -> Self {
        self.stale_while_refreshing = time;
        self
    }

    /// Serves a value for `time` after its own is over where its load fails (stale-if-error): after
    /// the load, for which who asks waits; or at once, while a failed load rests. Nothing older is
    /// served, however many loads fail. By default 0.
    pub const fn with_stale_if_error(mut self, time: Duration) -> Self {
        self.stale_if_error = time;
        self
    }

    /// Sets how long the loads of a value rest after they failed: from half of the first to the
    /// first, and with each further failure up to twice as long, to the last. By default from 1 second
    /// to 60.
    pub const fn with_retry_waits(mut self, waits: RangeInclusive<Duration>) -> Self {
        self.retry_waits = waits;
        self
    }

    /// Sets how many loads may be under way in the background at once. What is one too many is not
    /// begun; the next read tries again. By default 64, at least 1.
    pub const fn with_refreshes_max(mut self, refreshes: usize) -> Self {
        self.refreshes_max = refreshes;
        self
    }

    /// Finishes loads that nobody waits for any more in the background, as far as it has a place for
    /// them, so that the next who asks finds the value. By default they are dropped.
    pub const fn with_loads_finished(mut self) -> Self {
        self.finishes = true;
        self
    }

    /// Sets from where the random numbers go out, for runs that are to be repeated. By default from a
    /// number that nobody knows.
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    fn rules(&self) -> Result<Rules, InvalidCache> {
        self.cache.check()?;
        if self.refresh.needs_time() && !self.cache.has_time() {
            return Err(InvalidCache::RefreshWithoutTime);
        }
        let stale = self.stale_while_refreshing.max(self.stale_if_error);
        if !stale.is_zero() && !self.cache.has_time() {
            return Err(InvalidCache::StaleWithoutTime);
        }
        if self.refreshes_max == 0 {
            return Err(InvalidCache::RefreshesMax);
        }
        let (first, longest) = (*self.retry_waits.start(), *self.retry_waits.end());
        let backoff = Backoff::new(first, longest);
        Ok(Rules {
            refresh: self.refresh,
            stale_while_refreshing: self.stale_while_refreshing,
            stale_if_error: self.stale_if_error,
            backoff: backoff.map_err(|_| InvalidCache::RetryWaits { first, longest })?,
        })
    }
}

impl<K, V, E, S> LoadingBuilder<K, V, E, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Loads keys that are asked for together by one call of `load`, which may bring fewer than it gets.
    /// It gets those that nobody is loading, up to [`CacheBuilder::with_batch_max`] at a time. Refreshes
    /// and keys that are asked for alone go to the other loader. By default all do.
    pub fn with_bulk_loader<F, Fut, B>(mut self, load: F) -> Self
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<B, E>> + Send + 'static,
        B: IntoIterator<Item = (K, V)>,
        E: Send + Sync + 'static,
    {
        self.bulk_loader = Some(bulk_loader(load));
        self
    }

    /// Builds the cache, and the future that refreshes it.
    ///
    /// # Errors
    ///
    /// [`InvalidCache`], as [`CacheBuilder::build`]; and where a refresh or staleness is wanted of
    /// entries that have no time, no refresh is allowed, or the first wait is 0 or longer than the
    /// last.
    #[expect(clippy::type_complexity, reason = "a cache and its refresher")]
    pub fn build(self) -> Result<(Loading<K, V, E, S>, Refresher<K, V, S>), InvalidCache> {
        let rules = self.rules()?;
        let seed = self.seed.unwrap_or_else(|| StdRandom::new().hash_one(0));
        #[cfg(feature = "tokio")]
        let sweep = rules
            .refresh
            .period()
            .map(|period| Sweep::new(self.cache.clock().clone(), period));
        let parts = Arc::new(Parts {
            cache: self.cache.build_valid(Some(Aging {
                rules,
                random: AtomicU64::new(seed),
            })),
            loader: self.loader,
            bulk_loader: self.bulk_loader,
            queue: Arc::new(Queue::new(self.refreshes_max)),
            finishes: self.finishes,
        });
        let loading = Loading {
            open: Arc::new(Open(Arc::clone(&parts.queue))),
            parts: Arc::clone(&parts),
            error: PhantomData,
        };
        let refresher = Refresher::new(
            parts,
            #[cfg(feature = "tokio")]
            sweep,
        );
        Ok((loading, refresher))
    }

    /// Builds the cache, and spawns what refreshes it: one task, which ends with the last handle.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    #[cfg(feature = "tokio")]
    pub fn build_on(
        self,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Loading<K, V, E, S>, InvalidCache> {
        let _context = runtime.enter();
        let (loading, refresher) = self.build()?;
        runtime.spawn(refresher);
        Ok(loading)
    }
}

impl<K, V, E, S> fmt::Debug for LoadingBuilder<K, V, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadingBuilder")
            .field("cache", &self.cache)
            .field("refresh", &self.refresh)
            .field("stale_while_refreshing", &self.stale_while_refreshing)
            .field("stale_if_error", &self.stale_if_error)
            .field("retry_waits", &self.retry_waits)
            .field("refreshes_max", &self.refreshes_max)
            .field("finishes", &self.finishes)
            .finish_non_exhaustive()
    }
}
