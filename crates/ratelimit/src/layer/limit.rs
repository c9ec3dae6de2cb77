use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use stanchion_core::KeyExtractor;

use super::{Anew, Closure};
use crate::{CompositeRateLimiter, KeyedRateLimiter, Policy, RateLimiter};
use crate::{Refused, Rejected, Standings, Status};

/// What a layer limits requests by: a [`RateLimiter`], a [`Keyed`] one, or a
/// [`CompositeRateLimiter`]. Sealed.
pub trait Limit<Req>: private::Sealed {
    /// What is told of an admission; `None` when the request passes without being counted.
    type Admitted;
    /// What is told of a refusal.
    type Refused;

    /// Decides on a request.
    ///
    /// # Errors
    ///
    /// When the request is refused.
    fn check(&self, request: &Req) -> Result<Self::Admitted, Self::Refused>;

    /// The policy of this request's key, where it has one of its own.
    fn policy_of(&self, _request: &Req) -> Option<Policy> {
        None
    }
}

pub(crate) mod private {
    #[cfg(feature = "http")]
    use crate::Policy;

    #[expect(unnameable_types, reason = "what seals a trait cannot be named")]
    pub trait Sealed {
        /// What one stream, or one key, is limited by, each with the name that it has among others.
        #[cfg(feature = "http")]
        fn policies(&self) -> Vec<(Option<String>, Policy)>;
    }
    impl Sealed for super::RateLimiter {
        #[cfg(feature = "http")]
        fn policies(&self) -> Vec<(Option<String>, Policy)> {
            vec![(None, self.policy())]
        }
    }
    impl<E, K: ?Sized> Sealed for super::Keyed<E, K> {
        #[cfg(feature = "http")]
        fn policies(&self) -> Vec<(Option<String>, Policy)> {
            vec![(None, self.limiter.policy())]
        }
    }
    impl<Req> Sealed for super::CompositeRateLimiter<Req> {
        #[cfg(feature = "http")]
        fn policies(&self) -> Vec<(Option<String>, Policy)> {
            let limits = self.limits().iter();
            limits
                .map(|limit| (Some(limit.name().to_owned()), limit.policy()))
                .collect()
        }
    }
}

impl<Req> Limit<Req> for RateLimiter {
    type Admitted = Option<Status>;
    type Refused = Rejected;

    #[inline]
    fn check(&self, _request: &Req) -> Result<Option<Status>, Rejected> {
        Self::check(self).map(Some)
    }
}

impl<Req> Limit<Req> for CompositeRateLimiter<Req> {
    type Admitted = Standings;
    type Refused = Refused;

    #[inline]
    fn check(&self, request: &Req) -> Result<Standings, Refused> {
        self.decide(request, 1)
    }
}

/// What becomes of a request that has no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissingKey {
    /// It is refused, with [`Reason::NoKey`](crate::Reason::NoKey).
    #[default]
    Refuse,
    /// All such requests share one bucket, with the quota of a key.
    Share,
    /// It passes uncounted.
    Pass,
}

/// A keyed limiter with what finds the key in a request; clones share both.
pub struct Keyed<E, K: ?Sized> {
    limiter: KeyedRateLimiter<K>,
    extractor: Arc<E>,
    keyless: Keyless,
}

#[derive(Clone)]
enum Keyless {
    Refuse,
    Share(RateLimiter),
    Pass,
}

impl<E, K: ?Sized> Keyed<E, K> {
    pub(super) fn new(limiter: KeyedRateLimiter<K>, extractor: E) -> Self {
        Self {
            limiter,
            extractor: Arc::new(extractor),
            keyless: Keyless::Refuse,
        }
    }

    pub(super) fn on_missing_key(mut self, missing: MissingKey) -> Self {
        self.keyless = match missing {
            MissingKey::Refuse => Keyless::Refuse,
            MissingKey::Share => Keyless::Share(self.limiter.alone()),
            MissingKey::Pass => Keyless::Pass,
        };
        self
    }

    /// The limiter.
    #[must_use]
    pub fn limiter(&self) -> &KeyedRateLimiter<K> {
        &self.limiter
    }
}

impl<Req, E, K> Limit<Req> for Keyed<E, K>
where
    E: KeyExtractor<Req, Key = K>,
    K: Hash + ToOwned + ?Sized,
{
    type Admitted = Option<Status>;
    type Refused = Rejected;

    #[inline]
    fn check(&self, request: &Req) -> Result<Option<Status>, Rejected> {
        match (self.extractor.extract(request), &self.keyless) {
            (Some(key), _) => self.limiter.check(&*key).map(Some),
            (None, Keyless::Pass) => Ok(None),
            (None, Keyless::Share(limiter)) => limiter.check().map(Some),
            (None, Keyless::Refuse) => Err(self.limiter.refuse(Rejected::no_key())),
        }
    }

    fn policy_of(&self, request: &Req) -> Option<Policy> {
        if !self.limiter.is_per_key() {
            return None;
        }
        let key = self.extractor.extract(request)?;
        Some(self.limiter.policy_of(&*key))
    }
}

impl Anew for RateLimiter {
    fn anew(&self) -> Self {
        self.anew()
    }
}

impl<K: ?Sized> Anew for KeyedRateLimiter<K> {
    fn anew(&self) -> Self {
        self.anew()
    }
}

impl<Req> Anew for CompositeRateLimiter<Req> {
    fn anew(&self) -> Self {
        self.anew()
    }
}

impl<E, K: ?Sized> Anew for Keyed<E, K> {
    fn anew(&self) -> Self {
        Self {
            limiter: self.limiter.anew(),
            extractor: self.extractor.clone(),
            keyless: match &self.keyless {
                Keyless::Share(limiter) => Keyless::Share(limiter.anew()),
                other => other.clone(),
            },
        }
    }
}

#[cfg(feature = "tokio")]
impl<L: Anew> Anew for crate::Waiting<L> {
    fn anew(&self) -> Self {
        self.anew_with(self.limiter().anew())
    }
}

impl<E, K: ?Sized> Clone for Keyed<E, K> {
    fn clone(&self) -> Self {
        Self {
            limiter: self.limiter.clone(),
            extractor: self.extractor.clone(),
            keyless: self.keyless.clone(),
        }
    }
}

impl<E, K: ?Sized> fmt::Debug for Keyed<E, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("limiter", &self.limiter)
            .field("extractor", &Closure::of(&*self.extractor))
            .finish_non_exhaustive()
    }
}
