use std::fmt;
use std::sync::Arc;

use stanchion_core::KeyExtractor;

use super::Closure;
use crate::{Balancer, EndpointId, PickContext, Picked, Unavailable};

/// What of a request a pick goes by: nothing ([`Anywhere`]), the hash of a key ([`ByHash`]), the
/// endpoint that its session is bound to ([`ByAffinity`]), or both. Sealed.
pub trait Route<Req>: private::Sealed {
    /// Picks an endpoint for the request, another one than `avoid` if there is one.
    ///
    /// # Errors
    ///
    /// As [`Balancer::pick`].
    #[inline]
    fn pick<A>(
        &self,
        balancer: &Balancer<A>,
        request: &Req,
        avoid: &[EndpointId],
    ) -> Result<Picked<A>, Unavailable> {
        let context = PickContext::new().with_avoid(avoid);
        self.with_context(request, context, |context| balancer.pick(&context))
    }

    /// Adds to the context what the request tells.
    fn with_context<T>(
        &self,
        request: &Req,
        context: PickContext<'_>,
        then: impl FnOnce(PickContext<'_>) -> T,
    ) -> T;
}

mod private {
    #[expect(unnameable_types, reason = "what seals a trait cannot be named")]
    pub trait Sealed {}
    impl Sealed for super::Anywhere {}
    impl<E, R> Sealed for super::ByHash<E, R> {}
    impl<E, R> Sealed for super::ByAffinity<E, R> {}
}

/// All requests are alike.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Anywhere;

impl<Req> Route<Req> for Anywhere {
    #[inline]
    fn with_context<T>(
        &self,
        _request: &Req,
        context: PickContext<'_>,
        then: impl FnOnce(PickContext<'_>) -> T,
    ) -> T {
        then(context)
    }
}

/// Hashes a key of the request; clones share the extractor.
pub struct ByHash<E, R> {
    extractor: Arc<E>,
    rest: R,
}

impl<E, R> ByHash<E, R> {
    pub(super) fn new(extractor: E, rest: R) -> Self {
        let extractor = Arc::new(extractor);
        Self { extractor, rest }
    }
}

impl<Req, E, R> Route<Req> for ByHash<E, R>
where
    E: KeyExtractor<Req, Key: AsRef<[u8]>>,
    R: Route<Req>,
{
    fn with_context<T>(
        &self,
        request: &Req,
        context: PickContext<'_>,
        then: impl FnOnce(PickContext<'_>) -> T,
    ) -> T {
        let hash = |key: &E::Key| stanchion_hashing::key_hash(key.as_ref());
        let context = match self.extractor.extract(request) {
            Some(key) => context.with_hash(hash(&key)),
            None => context,
        };
        self.rest.with_context(request, context, then)
    }
}

/// Finds the endpoint that the request's session is bound to; clones share the extractor.
pub struct ByAffinity<E, R> {
    extractor: Arc<E>,
    rest: R,
}

impl<E, R> ByAffinity<E, R> {
    pub(super) fn new(extractor: E, rest: R) -> Self {
        let extractor = Arc::new(extractor);
        Self { extractor, rest }
    }
}

impl<Req, E, R> Route<Req> for ByAffinity<E, R>
where
    E: KeyExtractor<Req, Key: AsRef<str>>,
    R: Route<Req>,
{
    fn with_context<T>(
        &self,
        request: &Req,
        context: PickContext<'_>,
        then: impl FnOnce(PickContext<'_>) -> T,
    ) -> T {
        match self.extractor.extract(request) {
            Some(id) => {
                let id: &E::Key = &id;
                let context = context.with_affinity(id.as_ref());
                self.rest.with_context(request, context, then)
            }
            None => self.rest.with_context(request, context, then),
        }
    }
}

impl<E, R: Clone> Clone for ByHash<E, R> {
    fn clone(&self) -> Self {
        Self {
            extractor: self.extractor.clone(),
            rest: self.rest.clone(),
        }
    }
}

impl<E, R: Clone> Clone for ByAffinity<E, R> {
    fn clone(&self) -> Self {
        Self {
            extractor: self.extractor.clone(),
            rest: self.rest.clone(),
        }
    }
}

impl<E, R: fmt::Debug> fmt::Debug for ByHash<E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByHash")
            .field("extractor", &Closure::of(&*self.extractor))
            .field("rest", &self.rest)
            .finish()
    }
}

impl<E, R: fmt::Debug> fmt::Debug for ByAffinity<E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByAffinity")
            .field("extractor", &Closure::of(&*self.extractor))
            .field("rest", &self.rest)
            .finish()
    }
}
