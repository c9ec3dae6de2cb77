use std::borrow::ToOwned;
use std::error::Error;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::{KeyExtractor, Outcome};
use stanchion_judge::{Call, Closure};

use crate::{Breaker, KeyedBreaker, OwnedPermit, Rejected, Throttle, ThrottlePermit, Throttled};

/// What a layer asks whether a request may pass: a [`Breaker`], a [`Keyed`] one, or a
/// [`Throttle`]. Sealed.
pub trait Guard<Req>: private::Sealed {
    /// What a request that passes holds until its outcome is known.
    type Permit: Call;
    /// The refusal.
    type Rejected: Error + Copy + Send + Sync + 'static;

    /// Lets a request through, or refuses it.
    ///
    /// # Errors
    ///
    /// When it is refused.
    fn admit(&self, request: &Req) -> Result<Self::Permit, Self::Rejected>;
}

pub(crate) mod private {
    #[expect(unnameable_types, reason = "what seals a trait cannot be named")]
    pub trait Sealed {}
    impl Sealed for super::Breaker {}
    impl Sealed for super::Throttle {}
    impl<E, K: ?Sized + ToOwned> Sealed for super::Keyed<E, K> {}
}

impl<Req> Guard<Req> for Breaker {
    type Permit = OwnedPermit;
    type Rejected = Rejected;

    #[inline]
    fn admit(&self, _request: &Req) -> Result<OwnedPermit, Rejected> {
        self.try_acquire_owned()
    }
}

impl Call for OwnedPermit {
    /// What is known opens the breaker, or lets the next trial begin, at once.
    const LASTS_TO_THE_END: bool = false;

    fn answered(&mut self) {
        Self::answered(self);
    }

    #[inline]
    fn record(self, outcome: Outcome, retry_after: Option<Duration>) {
        match retry_after {
            None => self.record(outcome),
            Some(time) => self.record_with_retry_after(outcome, time),
        }
    }
}

impl<Req> Guard<Req> for Throttle {
    type Permit = ThrottlePermit;
    type Rejected = Throttled;

    #[inline]
    fn admit(&self, _request: &Req) -> Result<ThrottlePermit, Throttled> {
        self.try_acquire()
    }
}

impl Call for ThrottlePermit {
    const LASTS_TO_THE_END: bool = false;

    #[inline]
    fn record(self, outcome: Outcome, _retry_after: Option<Duration>) {
        self.record(outcome);
    }
}

/// A keyed breaker with what finds the key in a request; clones share both.
///
/// A request without a key passes, and nothing is recorded of it.
pub struct Keyed<E, K: ?Sized + ToOwned> {
    breaker: KeyedBreaker<K>,
    extractor: Arc<E>,
}

impl<E, K: ?Sized + ToOwned> Keyed<E, K> {
    pub(super) fn new(breaker: KeyedBreaker<K>, extractor: E) -> Self {
        Self {
            breaker,
            extractor: Arc::new(extractor),
        }
    }

    /// The keyed breaker.
    #[must_use]
    pub fn breaker(&self) -> &KeyedBreaker<K> {
        &self.breaker
    }
}

impl<Req, E, K> Guard<Req> for Keyed<E, K>
where
    E: KeyExtractor<Req, Key = K>,
    K: ?Sized + ToOwned + Hash + Eq + 'static,
{
    type Permit = OwnedPermit;
    type Rejected = Rejected;

    #[inline]
    fn admit(&self, request: &Req) -> Result<OwnedPermit, Rejected> {
        match self.extractor.extract(request) {
            Some(key) => self.breaker.try_acquire(&key),
            None => Ok(OwnedPermit::untracked()),
        }
    }
}

impl<E, K: ?Sized + ToOwned> Clone for Keyed<E, K> {
    fn clone(&self) -> Self {
        Self {
            breaker: self.breaker.clone(),
            extractor: self.extractor.clone(),
        }
    }
}

impl<E, K: ?Sized + ToOwned> fmt::Debug for Keyed<E, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("breaker", &self.breaker)
            .field("extractor", &Closure::of(&*self.extractor))
            .finish()
    }
}
