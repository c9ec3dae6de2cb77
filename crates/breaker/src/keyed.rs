mod shard;
mod table;

use std::borrow::ToOwned;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use stanchion_core::{Classify, Clock, Observe, Outcome};

use crate::sync::{AtomicU64, Ordering};
use crate::{Breaker, CallError, Config, Event, InvalidConfig, OwnedPermit, Rejected, Snapshot};
use table::{Found, Table};

/// A breaker for each key (host, tenant, route), in bounded numbers; clones share them.
///
/// A key's breaker is made when it is first asked for. It is also the registry of what it made:
/// [`find`](Self::find) a breaker by its key to force it, and go through all with
/// [`for_each`](Self::for_each) or [`snapshots`](Self::snapshots).
///
/// **Full.** A new key takes the place of one whose breaker is as good as new: closed, with all
/// traffic back and no opening remembered, held by nobody, and not asked for during the
/// [idle time](Self::with_idle_time). Where there is none in the whole table, the new key is let
/// through untracked, and counted: whoever invents keys cannot make a breaker forget that it is open,
/// or about to be. Keys are told apart in full, and found by a hash with a random seed.
///
/// | for each key | |
/// |---|---|
/// | memory | 1 kB of heap, and 64 bytes for each of up to 8 processors; the key; and its window: 4 bytes a call, or 370 bytes for each processor, where it is of time in ten slices |
/// | a call | a hash, a shared lock on a part of the table, a clock read, and the breaker's own |
///
/// # Examples
///
/// ```
/// use stanchion_breaker::{Config, KeyedBreaker, State, Window};
/// use stanchion_core::Outcome;
///
/// let config = Config::new(Window::calls(2)?);
/// let hosts = KeyedBreaker::<str>::new(config, 1_000)?;
/// for _ in 0..2 {
///     hosts.try_acquire("a.example")?.record(Outcome::Failure);
/// }
/// assert!(hosts.try_acquire("a.example").is_err());
/// assert!(hosts.try_acquire("b.example").is_ok());
///
/// let mut open = Vec::new();
/// hosts.for_each(|host, breaker| {
///     if breaker.state() == State::Open {
///         open.push(host.to_owned());
///     }
/// });
/// assert_eq!(open, ["a.example"]);
/// hosts.find("a.example").expect("it was called").reset();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyedBreaker<K: ?Sized + ToOwned> {
    shared: Arc<Shared<K>>,
}

struct Shared<K: ?Sized + ToOwned> {
    setup: Setup<K>,
    /// Apart, since it can be changed.
    config_of: RwLock<ConfigOf<K>>,
    table: Table<K>,
    untracked: AtomicU64,
    evicted: AtomicU64,
}

type ConfigOf<K> = Arc<dyn Fn(&K) -> Config + Send + Sync>;
type Observer = Arc<dyn Observe<Event> + Send + Sync>;
type ObserverOf<K> = Arc<dyn Fn(&K) -> Observer + Send + Sync>;

/// What it is built of.
struct Setup<K: ?Sized> {
    max_keys: usize,
    idle_after: u64,
    clock: Clock,
    observer_of: Option<ObserverOf<K>>,
}

/// A keyed breaker in plain numbers, to make metrics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedSnapshot {
    /// Keys that it was built for.
    pub max_keys: usize,
    /// Keys that have a breaker.
    pub keys: usize,
    /// Calls that were let through without a breaker, because there was no place, ever.
    pub untracked_total: u64,
    /// Breakers that were forgotten to make place, ever.
    pub evicted_total: u64,
}

const MAX_KEYS: usize = 1 << 24;
const IDLE: Duration = Duration::from_secs(60);

impl<K: ?Sized + ToOwned + Hash + Eq + 'static> KeyedBreaker<K> {
    /// Breakers of this configuration for up to `max_keys` keys, on the system's clock.
    ///
    /// # Errors
    ///
    /// `max_keys` must be 1 to 2²⁴.
    pub fn new(config: Config, max_keys: usize) -> Result<Self, InvalidConfig> {
        Self::per_key(move |_| config.clone(), max_keys)
    }

    /// Breakers of the configuration that `config_of` tells for the key, for up to `max_keys` keys.
    ///
    /// It is asked when a key's breaker is made, under a lock, and must not use this keyed breaker.
    ///
    /// # Errors
    ///
    /// `max_keys` must be 1 to 2²⁴.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::num::NonZeroU32;
    /// use stanchion_breaker::{Config, KeyedBreaker};
    ///
    /// let strict = Config::consecutive_failures(NonZeroU32::MIN);
    /// let table = HashMap::from([("payments", strict)]);
    /// let config_of = move |route: &str| table.get(route).cloned().unwrap_or_default();
    /// let routes = KeyedBreaker::<str>::per_key(config_of, 100)?;
    /// # Ok::<(), stanchion_breaker::InvalidConfig>(())
    /// ```
    pub fn per_key(
        config_of: impl Fn(&K) -> Config + Send + Sync + 'static,
        max_keys: usize,
    ) -> Result<Self, InvalidConfig> {
        if !(1..=MAX_KEYS).contains(&max_keys) {
            let allowed = format!("1 to {MAX_KEYS}");
            return Err(InvalidConfig::new("max_keys", max_keys, allowed));
        }
        let setup = Setup {
            max_keys,
            idle_after: nanos(IDLE),
            clock: Clock::system(),
            observer_of: None,
        };
        Ok(Self::made(setup, Arc::new(config_of)))
    }

    /// One like this, without keys: how long a key must not have been asked for before its breaker
    /// may be forgotten. Default: 60 seconds. A dependency that is called less often may lose the
    /// failures that its window held, where there are too many keys.
    ///
    /// # Errors
    ///
    /// `idle_time` must be at most 1 day.
    pub fn with_idle_time(self, idle_time: Duration) -> Result<Self, InvalidConfig> {
        if idle_time > Duration::from_secs(86_400) {
            return Err(InvalidConfig::new("idle_time", idle_time, "at most 1 day"));
        }
        Ok(self.made_anew(|setup| setup.idle_after = nanos(idle_time)))
    }

    /// One like this, without keys, that reads `clock`. Default: [`Clock::system`].
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.made_anew(|setup| setup.clock = clock)
    }

    /// One like this, without keys, where the observer that `observer_of` gives for a key hears of
    /// its breaker. Default: nobody does. Asked as `config_of` is.
    #[must_use]
    pub fn with_observers<O>(self, observer_of: impl Fn(&K) -> O + Send + Sync + 'static) -> Self
    where
        O: Observe<Event> + Send + Sync + 'static,
    {
        let observer_of = move |key: &K| -> Observer { Arc::new(observer_of(key)) };
        self.made_anew(|setup| setup.observer_of = Some(Arc::new(observer_of)))
    }

    fn made_anew(self, change: impl FnOnce(&mut Setup<K>)) -> Self {
        let Setup {
            max_keys,
            idle_after,
            clock,
            observer_of,
        } = &self.shared.setup;
        let mut setup = Setup {
            max_keys: *max_keys,
            idle_after: *idle_after,
            clock: clock.clone(),
            observer_of: observer_of.clone(),
        };
        change(&mut setup);
        let config_of = self.shared.config_of.read().clone();
        Self::made(setup, config_of)
    }

    fn made(setup: Setup<K>, config_of: ConfigOf<K>) -> Self {
        Self {
            shared: Arc::new(Shared {
                table: Table::new(setup.max_keys, setup.idle_after),
                setup,
                config_of: RwLock::new(config_of),
                untracked: AtomicU64::new(0),
                evicted: AtomicU64::new(0),
            }),
        }
    }

    /// The breaker of `key`, made if there is none yet; `None` when there is no place for it.
    ///
    /// While someone holds it, it is not forgotten.
    #[must_use]
    pub fn breaker(&self, key: &K) -> Option<Breaker> {
        let shared = &*self.shared;
        let now = shared.setup.clock.now().as_nanos();
        match shared.table.find_or_make(key, now, || shared.make(key)) {
            Found::Known(breaker) => Some(breaker),
            Found::Made { breaker, evicted } => {
                if evicted {
                    shared.evicted.fetch_add(1, Ordering::Relaxed);
                }
                Some(breaker)
            }
            Found::NoRoom => {
                shared.untracked.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// The breaker of `key`, if it has one.
    #[must_use]
    pub fn find(&self, key: &K) -> Option<Breaker> {
        self.shared.table.find(key)
    }

    /// Lets a call of `key` through, or refuses it; a key without a place is let through, and its
    /// permit records nothing.
    ///
    /// # Errors
    ///
    /// [`Rejected`], as the key's [`Breaker::try_acquire`] has it.
    pub fn try_acquire(&self, key: &K) -> Result<OwnedPermit, Rejected> {
        match self.breaker(key) {
            Some(breaker) => breaker.into_permit(),
            None => Ok(OwnedPermit::untracked()),
        }
    }

    /// Runs `future` if the breaker of `key` lets it through: `Ok` is a success, `Err` a failure.
    ///
    /// # Errors
    ///
    /// [`CallError::Rejected`] when it was refused and not polled, else the future's own.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future; the call then counts by the
    /// [`CancelPolicy`](crate::CancelPolicy).
    pub async fn call<T, E>(
        &self,
        key: &K,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError<E>> {
        let by_result = |result: Result<&T, &E>| match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        };
        self.call_with(key, by_result, future).await
    }

    /// As [`call`](Self::call), with the outcome that `classifier` gives. What it defers to the
    /// end of a body is asked at once: there is no body here.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn call_with<T, E>(
        &self,
        key: &K,
        classifier: impl Classify<T, E>,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError<E>> {
        match self.breaker(key) {
            Some(breaker) => breaker.call_with(classifier, future).await,
            None => future.await.map_err(CallError::Failed),
        }
    }

    /// Forgets the breaker of `key`, whatever its state; whether there was one. Who holds it goes
    /// on with it alone.
    pub fn forget(&self, key: &K) -> bool {
        self.shared.table.forget(key)
    }

    /// Takes configurations from `config_of` from now on. Breakers whose configuration differs go on
    /// as [`Breaker::reconfigured`] has it; handles that someone holds keep the old one.
    pub fn reconfigure(&self, config_of: impl Fn(&K) -> Config + Send + Sync + 'static) {
        let config_of: ConfigOf<K> = Arc::new(config_of);
        // First for new keys: who asked the old one holds a part's lock, and is corrected below.
        *self.shared.config_of.write() = config_of.clone();
        self.shared.table.change_each(|key, breaker| {
            let config = config_of(key);
            if *breaker.config() != config {
                *breaker = breaker.reconfigured(config);
            }
        });
    }

    /// Shows each key and its breaker to `see`, in no order. It runs without a lock, over the
    /// breakers that there were in each part of the table when it came to that.
    pub fn for_each(&self, mut see: impl FnMut(&K, &Breaker)) {
        self.shared.table.for_each(|key, breaker| {
            see(key, breaker);
            self.shared.table.has_changed();
        });
    }

    /// Each key with its breaker in plain numbers, in no order.
    #[must_use]
    pub fn snapshots(&self) -> Vec<(K::Owned, Snapshot)> {
        let mut all = Vec::new();
        let table = &self.shared.table;
        table.for_each(|key, breaker| all.push((key.to_owned(), breaker.snapshot())));
        all
    }

    /// The whole in plain numbers; O(1).
    #[must_use]
    pub fn snapshot(&self) -> KeyedSnapshot {
        let shared = &*self.shared;
        KeyedSnapshot {
            max_keys: shared.setup.max_keys,
            keys: shared.table.len(),
            untracked_total: shared.untracked.load(Ordering::Relaxed),
            evicted_total: shared.evicted.load(Ordering::Relaxed),
        }
    }
}

impl<K: ?Sized + ToOwned> Shared<K> {
    fn make(&self, key: &K) -> Breaker {
        let config_of = self.config_of.read().clone();
        let observer = self.setup.observer_of.as_ref().map(|of| of(key));
        Breaker::made(config_of(key), self.setup.clock.clone(), observer)
    }
}

/// At most a day, which a u64 holds.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl<K: ?Sized + ToOwned> Clone for KeyedBreaker<K> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<K: ?Sized + ToOwned> fmt::Debug for KeyedBreaker<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBreaker")
            .field("max_keys", &self.shared.setup.max_keys)
            .finish_non_exhaustive()
    }
}
