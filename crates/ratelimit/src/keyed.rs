mod key_hash;
mod keys;
mod line;
mod max_keys;
mod shared;
mod slots;
mod states;
mod store;
mod table;
mod uniform;
mod when_full;

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use stanchion_core::{Clock, Observe};

#[cfg(feature = "tower")]
use crate::RateLimiter;
#[cfg(feature = "tokio")]
use crate::jitter::Jitter;
use crate::status::Detour;
use crate::{Event, Policy, Quota, Rejected, Status};
pub(crate) use key_hash::KeyHash;
use key_hash::NoKey;
use keys::Keys;
pub use max_keys::InvalidMaxKeys;
pub use shared::KeyedSnapshot;
use shared::Shared;
pub(crate) use slots::{Claim, OfKey};
pub(crate) use states::States;
pub(crate) use when_full::Place;
pub use when_full::WhenFull;

/// Limits the rate of each key on its own, by any [`Policy`], in memory that never grows; clones
/// share what is used.
///
/// All places are taken when the limiter is built. A key that has used nothing, or whose use has
/// expired, is as good as absent, so its place serves the next key that comes; there is no
/// sweeper. Keys are not kept: one is told by 53 bits (where the policy is a token bucket for all,
/// else 64) of a hash with secrets of this limiter's own, so who chooses the keys cannot make two
/// of them meet, and two given keys share a place with probability 2⁻⁵³.
///
/// | policy | bytes for each of `max_keys` | a check |
/// |---|---|---|
/// | a token bucket for all keys | 22.4 | lock-free |
/// | quotas by key ([`per_key`](Self::per_key)) | 56 | a short lock on a part of the table |
/// | another algorithm | 1.4 · (24 + its state), and what it notes | the same |
///
/// **Full.** What becomes of a new key that finds no place, because the places where it could
/// stand are all in use, says [`WhenFull`]: it shares one more state with all such keys (the
/// default), is refused, or takes the place of another. Each is counted in the
/// [snapshot](Self::snapshot). None of them makes a key safe that a client can invent: before the
/// table is full, each invented key brings its own burst. Put a limit by address in front.
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
/// limiter.reset("anna");
/// assert!(limiter.check("anna").is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyedRateLimiter<K: ?Sized> {
    shared: Arc<Shared<K>>,
    clock: Clock,
    observer: Option<Arc<dyn Observe<Event> + Send + Sync>>,
    when_full: WhenFull,
    #[cfg(feature = "tokio")]
    jitter: Option<Arc<Jitter>>,
}

impl<K: ?Sized> KeyedRateLimiter<K> {
    /// Limits each key by this policy (a [`Quota`] is one), for up to `max_keys` keys in use at
    /// once, on the system's clock.
    ///
    /// # Errors
    ///
    /// `max_keys` must be from 1 to 2³¹.
    pub fn new(policy: impl Into<Policy>, max_keys: usize) -> Result<Self, InvalidMaxKeys> {
        let max_keys = InvalidMaxKeys::unless_valid(max_keys)?;
        let keys = Keys::of(policy.into(), max_keys);
        Ok(Self::from_keys(keys, max_keys))
    }

    /// Limits each key by the quota that `quota_of` tells for it, or by `common` where it tells
    /// none; for up to `max_keys` keys in use at once, on the system's clock.
    ///
    /// `quota_of` is asked at each check, so what it looks up may change at any time: what a key
    /// has used is kept as the time that it takes to refill. It runs before any lock is taken, and
    /// should be quick. Keys without a place share a state under `common`.
    ///
    /// # Errors
    ///
    /// `max_keys` must be from 1 to 2³¹.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::{Arc, RwLock};
    /// use stanchion_ratelimit::{KeyedRateLimiter, Quota};
    ///
    /// let tiers = Arc::new(RwLock::new(HashMap::from([("anna", "100/s".parse()?)])));
    /// let lookup = tiers.clone();
    /// let quota_of = move |key: &str| lookup.read().ok()?.get(key).copied();
    /// let limiter = KeyedRateLimiter::<str>::per_key("10/s".parse()?, quota_of, 10_000)?;
    /// assert_eq!(limiter.check("anna")?.limit(), 100);
    /// assert_eq!(limiter.check("bela")?.limit(), 10);
    ///
    /// tiers.write().unwrap().insert("bela", "50/s".parse()?);
    /// assert_eq!(limiter.check("bela")?.limit(), 50);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn per_key(
        common: Quota,
        quota_of: impl Fn(&K) -> Option<Quota> + Send + Sync + 'static,
        max_keys: usize,
    ) -> Result<Self, InvalidMaxKeys> {
        let max_keys = InvalidMaxKeys::unless_valid(max_keys)?;
        let keys = Keys::by_key(common, Arc::new(quota_of), max_keys);
        Ok(Self::from_keys(keys, max_keys))
    }

    fn from_keys(keys: Keys<K>, max_keys: usize) -> Self {
        Self {
            shared: Arc::new(Shared::new(keys, max_keys)),
            clock: Clock::system(),
            observer: None,
            when_full: WhenFull::default(),
            #[cfg(feature = "tokio")]
            jitter: None,
        }
    }

    /// What becomes of new keys through this handle and its later clones, when there is no place.
    /// Default: [`WhenFull::Share`].
    #[must_use]
    pub fn with_when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
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

    /// Lengthens each wait of [`acquire`](Self::acquire) by chance, by up to `max` and never beyond
    /// its deadline. Default: nothing. Holds for this handle and its later clones.
    #[must_use]
    #[cfg(feature = "tokio")]
    pub fn with_jitter(mut self, max: std::time::Duration) -> Self {
        self.jitter = Some(Arc::new(Jitter::new(max)));
        self
    }

    /// The same limiter with nothing used.
    #[cfg(feature = "tower")]
    pub(crate) fn anew(&self) -> Self {
        let shared = &*self.shared;
        let keys = shared.keys.anew(shared.max_keys);
        Self {
            shared: Arc::new(Shared::new(keys, shared.max_keys)),
            ..self.clone()
        }
    }

    /// A limiter with the same policy, clock and observer, for requests that have no key.
    #[cfg(feature = "tower")]
    pub(crate) fn alone(&self) -> RateLimiter {
        RateLimiter::new(self.policy()).with_parts(self.clock.clone(), self.observer.clone())
    }

    /// Tells the observer of a refusal that needed no bucket.
    #[cfg(feature = "tower")]
    pub(crate) fn refuse(&self, rejected: Rejected) -> Rejected {
        if let Some(observer) = &self.observer {
            observer.observe(&Event::Rejected(rejected));
        }
        rejected
    }

    /// The policy that each key is limited by, or what is common to those without a quota of their
    /// own.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.shared.keys.policy()
    }

    /// Whether keys may have quotas of their own.
    pub(crate) fn is_per_key(&self) -> bool {
        matches!(self.shared.keys, Keys::PerKey { .. })
    }

    /// The limiter in plain numbers; O(1).
    #[must_use]
    pub fn snapshot(&self) -> KeyedSnapshot {
        self.shared.snapshot()
    }

    /// Counts the keys that have used something. Reads all places: O(`max_keys`).
    #[must_use]
    pub fn count_keys(&self) -> usize {
        self.shared.keys.live(self.clock.now())
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
    /// O(1), no allocation but a sliding log's notes. Of a token bucket for all keys, an admission
    /// swaps one word; only a new key, or the first of an era, locks two cache lines for a few
    /// dozen instructions, and a refusal locks and writes nothing. Other checks hold a lock on a
    /// 64th of the table (all of it for fewer than 6,000 keys).
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
    #[inline(always)]
    pub fn check_n(&self, key: &K, cost: u64) -> Result<Status, Rejected> {
        let shared = &*self.shared;
        let hash = shared.key_hash.hash(key);
        // The common case in one piece, as in `RateLimiter::check_n`.
        if let (Keys::Buckets { gcra, table, .. }, None) = (&shared.keys, &self.observer) {
            match table.check_once(gcra, hash, || self.clock.now(), cost) {
                Some((true, ahead)) => return Ok(Status::new(*gcra, ahead)),
                Some((false, ahead)) => {
                    return Err(Rejected::exceeded(Status::new(*gcra, ahead), cost));
                }
                None => {}
            }
        }
        self.check_by_any(Some(key), hash, cost).result()
    }

    /// The same for a request that has no key, by one state that all such requests share.
    pub(crate) fn check_without_key(&self, cost: u64) -> Result<Status, Rejected> {
        let hash = self.shared.key_hash.hash(&NoKey);
        self.check_by_any(None, hash, cost).result()
    }

    #[inline(never)]
    fn check_by_any(&self, key: Option<&K>, hash: u64, cost: u64) -> Detour {
        let keys = &self.shared.keys;
        let (result, place) = keys.check(key, hash, &self.clock, cost, self.when_full);
        if place != Place::Own {
            self.tell_place(place);
        }
        if let (Some(observer), Err(rejected)) = (&self.observer, &result) {
            observer.observe(&Event::Rejected(*rejected));
        }
        result.into()
    }

    #[cold]
    fn tell_place(&self, place: Place) {
        let event = self.shared.count(place);
        if let (Some(observer), Some(event)) = (&self.observer, event) {
            observer.observe(&event);
        }
    }

    /// The policy that `key` is limited by: its own, or the common one.
    #[must_use]
    pub fn policy_of(&self, key: &K) -> Policy {
        let keys = &self.shared.keys;
        keys.own(key).map_or_else(|| keys.policy(), Policy::from)
    }

    /// Where `key` stands; takes nothing.
    #[must_use]
    pub fn peek(&self, key: &K) -> Status {
        let shared = &*self.shared;
        let hash = shared.key_hash.hash(key);
        shared.keys.peek(key, hash, self.clock.now())
    }

    /// Forgets what `key` has used. What it took from the state that keys without a place share
    /// stays taken.
    pub fn reset(&self, key: &K) {
        let shared = &*self.shared;
        let hash = shared.key_hash.hash(key);
        shared.keys.reset(hash, self.clock.now());
    }
}

impl<K: ?Sized> Clone for KeyedRateLimiter<K> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            clock: self.clock.clone(),
            observer: self.observer.clone(),
            when_full: self.when_full,
            #[cfg(feature = "tokio")]
            jitter: self.jitter.clone(),
        }
    }
}

impl<K: ?Sized> fmt::Debug for KeyedRateLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimiter")
            .field("policy", &self.policy())
            .field("max_keys", &self.shared.max_keys)
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}

/// Maps a hash onto `0..size` by its high bits.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the result is below `size`"
)]
fn scale_down(hash: u64, size: usize) -> usize {
    ((u128::from(hash) * size as u128) >> 64) as usize
}
