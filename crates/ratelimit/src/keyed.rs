mod key_hash;
mod line;
mod table;

use std::error::Error;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use stanchion_core::{Clock, Observe};

#[cfg(feature = "tower")]
use crate::RateLimiter;
use crate::gcra::Gcra;
use crate::{Event, Quota, Rejected, Status};
use key_hash::KeyHash;
use table::Table;

/// Limits the rate of each key on its own, in memory that never grows; clones share the buckets.
///
/// All memory is taken when the limiter is built: 22.4 bytes per key. A bucket that has refilled
/// is as good as absent, so its place serves the next key that comes; there is no sweeper. Keys
/// are not kept: a bucket is told by 53 bits of a hash with secrets of this limiter's own, so who
/// chooses the keys cannot make two of them meet, and two given keys share a bucket with
/// probability 2⁻⁵³.
///
/// **Full.** A new key that finds no place, because the buckets where it could stand are all in
/// use, is limited through one cell that all such keys share, with the same quota, and is counted
/// ([`KeyedSnapshot::overflowed`]). Keys that have a bucket are not touched. So who invents keys
/// gets one more quota for all of them together, once the table is full; before that, each
/// invented key brings its own burst. Put a limit by address in front of keys that a client can
/// invent.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_ratelimit::{KeyedRateLimiter, Quota};
///
/// let quota = Quota::new(1, Duration::from_secs(60))?;
/// let limiter = KeyedRateLimiter::<str>::new(quota, 10_000)?;
/// assert!(limiter.check("anna").is_ok());
/// assert!(limiter.check("bela").is_ok());
/// assert!(limiter.check("anna").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyedRateLimiter<K: ?Sized> {
    shared: Arc<Shared>,
    clock: Clock,
    observer: Option<Arc<dyn Observe<Event> + Send + Sync>>,
    key: PhantomData<fn(&K)>,
}

struct Shared {
    quota: Quota,
    gcra: Gcra,
    key_hash: KeyHash,
    max_keys: usize,
    table: Table,
}

/// A keyed limiter in plain numbers, to make metrics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedSnapshot {
    /// Keys that the limiter was built for.
    pub max_keys: usize,
    /// Bytes that the buckets take; fixed.
    pub bytes: usize,
    /// Requests that went to the shared cell because their key found no place, since the start.
    pub overflowed: u64,
}

/// The most keys that one limiter can be built for.
const MAX_KEYS: usize = 1 << 31;

impl<K: ?Sized> KeyedRateLimiter<K> {
    /// Full buckets with this quota for up to `max_keys` keys in use at once, on the system's
    /// clock.
    ///
    /// # Errors
    ///
    /// `max_keys` must be from 1 to 2³¹.
    pub fn new(quota: Quota, max_keys: usize) -> Result<Self, InvalidMaxKeys> {
        if !(1..=MAX_KEYS).contains(&max_keys) {
            return Err(InvalidMaxKeys { max_keys });
        }
        Ok(Self {
            shared: Arc::new(Shared {
                quota,
                gcra: Gcra::new(&quota),
                key_hash: KeyHash::new(),
                max_keys,
                table: Table::new(max_keys),
            }),
            clock: Clock::system(),
            observer: None,
            key: PhantomData,
        })
    }

    /// Reads `clock` from now on. Default: [`Clock::system`]. All clones of one limiter must read
    /// the same clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Tells `observer` what happens through this handle and its later clones. Default: nobody.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observe<Event> + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// A limiter with the same quota, clock and observer, for requests that have no key.
    #[cfg(feature = "tower")]
    pub(crate) fn alone(&self) -> RateLimiter {
        RateLimiter::new(self.quota()).with_parts(self.clock.clone(), self.observer.clone())
    }

    /// Tells the observer of a refusal that needed no bucket.
    #[cfg(feature = "tower")]
    pub(crate) fn refuse(&self, rejected: Rejected) -> Rejected {
        if let Some(observer) = &self.observer {
            observer.observe(&Event::Rejected(rejected));
        }
        rejected
    }

    /// The quota of each key.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.shared.quota
    }

    /// The limiter in plain numbers; O(1).
    #[must_use]
    pub fn snapshot(&self) -> KeyedSnapshot {
        KeyedSnapshot {
            max_keys: self.shared.max_keys,
            bytes: self.shared.table.bytes(),
            overflowed: self.shared.table.overflowed(),
        }
    }

    /// Counts the keys whose bucket is not full. Reads all buckets: O(`max_keys`).
    #[must_use]
    pub fn count_keys(&self) -> usize {
        self.shared.table.live(&self.shared.gcra, self.clock.now())
    }
}

impl<K: ?Sized + Hash> KeyedRateLimiter<K> {
    /// Admits one request of `key`, or refuses it.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when the quota of `key` is used up; nothing was taken.
    ///
    /// # Complexity
    ///
    /// O(1), no allocation. An admission swaps one word; only a new key, or the first of an era, locks two cache
    /// lines for a few dozen instructions. A refusal locks and writes nothing.
    #[inline]
    pub fn check(&self, key: &K) -> Result<Status, Rejected> {
        self.check_n(key, 1)
    }

    /// Admits a request of `key` of this cost, whole or not at all. A cost of 0 is always admitted
    /// and takes nothing.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when less than `cost` is left, or `cost` is above the burst and will never
    /// fit; nothing was taken.
    #[inline]
    pub fn check_n(&self, key: &K, cost: u64) -> Result<Status, Rejected> {
        let shared = &*self.shared;
        let hash = shared.key_hash.hash(key);
        let now = || self.clock.now();
        let decision = shared.table.check(&shared.gcra, hash, now, cost);
        let result = decision.into_result(&shared.gcra, cost);
        if let Some(observer) = &self.observer {
            if decision.overflowed {
                observer.observe(&Event::Overflowed);
            }
            if let Err(rejected) = &result {
                observer.observe(&Event::Rejected(*rejected));
            }
        }
        result
    }

    /// Where the bucket of `key` stands; takes nothing.
    #[must_use]
    pub fn peek(&self, key: &K) -> Status {
        let shared = &*self.shared;
        let hash = shared.key_hash.hash(key);
        let ahead = shared.table.peek(&shared.gcra, hash, self.clock.now());
        Status::new(shared.gcra, ahead)
    }
}

impl<K: ?Sized> Clone for KeyedRateLimiter<K> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            clock: self.clock.clone(),
            observer: self.observer.clone(),
            key: PhantomData,
        }
    }
}

impl<K: ?Sized> fmt::Debug for KeyedRateLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimiter")
            .field("quota", &self.shared.quota)
            .field("max_keys", &self.shared.max_keys)
            .finish_non_exhaustive()
    }
}

/// A number of keys that no limiter can be built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidMaxKeys {
    max_keys: usize,
}

impl fmt::Display for InvalidMaxKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "max_keys is {}, must be from 1 to {MAX_KEYS}",
            self.max_keys
        )
    }
}

impl Error for InvalidMaxKeys {}
