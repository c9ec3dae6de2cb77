use std::future::{Future, Ready, ready};
use std::hash::Hash;

use crate::{KeyedRateLimiter, Policy, RateLimiter, Rejected, Status};

/// Decides on requests by their key, at once or after asking elsewhere: what the limiters of this
/// process and those on Redis have in common.
///
/// Code that is generic over it limits in one process today, and over many tomorrow. A
/// [`RateLimiter`] has one bucket for all keys.
///
/// # Examples
///
/// ```
/// use stanchion_ratelimit::{AsyncLimiter, KeyedRateLimiter, Quota};
///
/// async fn send(limiter: &impl AsyncLimiter<str>, to: &str) -> bool {
///     limiter.decide(to, 1).await.is_ok()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let quota: Quota = "1/m".parse()?;
/// let limiter = KeyedRateLimiter::<str>::new(quota, 1_000)?;
/// assert!(send(&limiter, "anna").await);
/// assert!(!send(&limiter, "anna").await);
/// # Ok(())
/// # }
/// ```
pub trait AsyncLimiter<K: ?Sized> {
    /// The decision to wait for. It borrows nothing.
    ///
    /// The status is `None` where the request was admitted uncounted.
    type Decision: Future<Output = Result<Option<Status>, Rejected>>;

    /// Admits a request of `key` of this cost, whole or not at all.
    fn decide(&self, key: &K, cost: u64) -> Self::Decision;

    /// Admits a request that has no key, by one bucket that all such requests share; `None` where
    /// there is no such bucket, so that it is refused. Default: there is none; all limiters of this
    /// crate have one.
    fn decide_without_key(&self, _cost: u64) -> Option<Self::Decision> {
        None
    }

    /// The policy of `key`, where it has one of its own, to be told to its client. Default: none has.
    fn policy_of(&self, _key: &K) -> Option<Policy> {
        None
    }
}

impl<K: ?Sized> AsyncLimiter<K> for RateLimiter {
    type Decision = Ready<Result<Option<Status>, Rejected>>;

    fn decide(&self, _key: &K, cost: u64) -> Self::Decision {
        ready(self.check_n(cost).map(Some))
    }

    fn decide_without_key(&self, cost: u64) -> Option<Self::Decision> {
        Some(ready(self.check_n(cost).map(Some)))
    }
}

impl<K: Hash + ?Sized> AsyncLimiter<K> for KeyedRateLimiter<K> {
    type Decision = Ready<Result<Option<Status>, Rejected>>;

    fn decide(&self, key: &K, cost: u64) -> Self::Decision {
        ready(self.check_n(key, cost).map(Some))
    }

    fn decide_without_key(&self, cost: u64) -> Option<Self::Decision> {
        Some(ready(self.check_without_key(cost).map(Some)))
    }

    fn policy_of(&self, key: &K) -> Option<Policy> {
        self.is_per_key().then(|| Self::policy_of(self, key))
    }
}

/// What stands for the key of requests that have none. A client that names it gets what it would get
/// without a key.
#[cfg(feature = "redis")]
const NO_KEY: &[u8] = b"\0no key";

#[cfg(feature = "redis")]
impl<K: crate::KeyBytes + ?Sized> AsyncLimiter<K> for crate::RedisRateLimiter {
    type Decision = crate::RedisDecision;

    fn decide(&self, key: &K, cost: u64) -> Self::Decision {
        self.check_n(key, cost)
    }

    fn decide_without_key(&self, cost: u64) -> Option<Self::Decision> {
        Some(self.check_n(NO_KEY, cost))
    }
}
