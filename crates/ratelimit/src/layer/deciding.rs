//! The layer for limiters that may have to ask elsewhere: the decision is awaited in the call's future.

mod future;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use stanchion_core::KeyExtractor;
use tower_layer::Layer;
use tower_service::Service;

use super::{Answer, Closure, Fail, Isolate, MissingKey, Propagate, RespondWith};
use crate::{AsyncLimiter, Policy, Rejected};
pub use future::AsyncResponseFuture;
use future::{Call, Decision};

/// Limits the rate of each key by a limiter that may have to ask elsewhere, such as one on Redis.
///
/// It is [`RateLimitLayer`](crate::RateLimitLayer) for any [`AsyncLimiter`]: the layer holds the
/// limiter, so all services that it makes share it; a request is refused before the inner service
/// is called, as an error or by [`respond_with`](Self::respond_with). The response future decides
/// first, for as long as the limiter waits at most.
///
/// By default the service is always ready, and an admitted request readies and calls a clone of
/// the inner service; see [`propagate_readiness`](Self::propagate_readiness).
///
/// With [`Waiting`](crate::Waiting) (feature `tokio`) requests wait for their slots. They do so in
/// the response future and not in `poll_ready`: before there is a request there is no key and no
/// deadline, and what is reserved for a service that is ready and not called is lost for others.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use std::time::Duration;
/// use stanchion_ratelimit::{AsyncRateLimitLayer, LeakyBucket, RateLimiter, Waiting};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// // One every millisecond; up to 50 wait for their turn.
/// let limiter = RateLimiter::new(LeakyBucket::new(1_000, Duration::from_secs(1), 50)?);
/// let waiting = Waiting::new(limiter, Duration::from_millis(200))?;
/// let service = ServiceBuilder::new()
///     .layer(AsyncRateLimitLayer::new(waiting))
///     .service(service_fn(|name: &'static str| async move {
///         Ok::<_, std::convert::Infallible>(format!("hello, {name}"))
///     }));
/// for name in ["anna", "bela", "carl"] {
///     service.clone().oneshot(name).await?;
/// }
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[must_use = "a layer does nothing until it wraps a service"]
pub struct AsyncRateLimitLayer<L, E, A = Fail, R = Isolate> {
    limit: AsyncLimit<L, E>,
    answer: A,
    readiness: R,
}

/// A limiter, and what finds the key.
struct AsyncLimit<L, E> {
    limiter: L,
    extractor: Arc<E>,
    missing: MissingKey,
}

/// Finds one key for all requests together.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Together;

impl<Req> KeyExtractor<Req> for Together {
    type Key = ();

    fn extract<'a>(&'a self, _request: &'a Req) -> Option<Cow<'a, ()>> {
        Some(Cow::Borrowed(&()))
    }
}

impl<L: AsyncLimiter<()>> AsyncRateLimitLayer<L, Together> {
    /// One limit for all requests together.
    pub fn new(limiter: L) -> Self {
        Self {
            limit: AsyncLimit {
                limiter,
                extractor: Arc::new(Together),
                missing: MissingKey::Refuse,
            },
            answer: Fail,
            readiness: Isolate,
        }
    }
}

impl<L, E> AsyncRateLimitLayer<L, E> {
    /// A limit for each key that `extractor` finds. A request without a key is refused;
    /// [`on_missing_key`](AsyncRateLimitLayer::on_missing_key) changes that.
    pub fn keyed<Req>(limiter: L, extractor: E) -> Self
    where
        E: KeyExtractor<Req>,
        L: AsyncLimiter<E::Key>,
    {
        Self {
            limit: AsyncLimit {
                limiter,
                extractor: Arc::new(extractor),
                missing: MissingKey::Refuse,
            },
            answer: Fail,
            readiness: Isolate,
        }
    }
}

impl<L, E, A: Clone, R: Clone> AsyncRateLimitLayer<L, E, A, R> {
    /// The same layer with another limiter.
    pub(super) fn with_limiter(&self, limiter: L) -> Self {
        Self {
            limit: AsyncLimit {
                limiter,
                extractor: self.limit.extractor.clone(),
                missing: self.limit.missing,
            },
            answer: self.answer.clone(),
            readiness: self.readiness.clone(),
        }
    }
}

impl<L, E, A, R> AsyncRateLimitLayer<L, E, A, R> {
    /// The limiter.
    #[must_use]
    pub fn limiter(&self) -> &L {
        &self.limit.limiter
    }

    /// What becomes of a request without a key. Default: [`MissingKey::Refuse`].
    ///
    /// The bucket of [`MissingKey::Share`] is the limiter's, so whoever else holds the limiter draws
    /// from it, too, and on Redis all instances; a limiter without one refuses
    /// ([`AsyncLimiter::decide_without_key`]).
    pub fn on_missing_key(mut self, missing: MissingKey) -> Self {
        self.limit.missing = missing;
        self
    }
}

impl<L, E, R> AsyncRateLimitLayer<L, E, Fail, R> {
    /// Answers a refused request with `respond(&rejected, request)` instead of an error.
    pub fn respond_with<F>(self, respond: F) -> AsyncRateLimitLayer<L, E, RespondWith<F>, R> {
        self.answer(RespondWith::new(respond))
    }

    pub(crate) fn answer<A>(self, answer: A) -> AsyncRateLimitLayer<L, E, A, R> {
        AsyncRateLimitLayer {
            limit: self.limit,
            answer,
            readiness: self.readiness,
        }
    }
}

impl<L, E, A> AsyncRateLimitLayer<L, E, A, Isolate> {
    /// Passes the inner service's readiness on: `poll_ready` polls it, and an admitted request calls
    /// the very instance that was readied.
    ///
    /// That instance goes with the request while the decision is awaited, and a clone takes its
    /// place. With a refusal it is dropped, and what it had reserved is free again.
    pub fn propagate_readiness(self) -> AsyncRateLimitLayer<L, E, A, Propagate> {
        AsyncRateLimitLayer {
            limit: self.limit,
            answer: self.answer,
            readiness: Propagate::default(),
        }
    }
}

impl<S, L, E, A, R> Layer<S> for AsyncRateLimitLayer<L, E, A, R>
where
    L: Clone,
    A: Clone,
    R: Clone,
{
    type Service = AsyncRateLimit<S, L, E, A, R>;

    fn layer(&self, inner: S) -> Self::Service {
        AsyncRateLimit {
            inner,
            limit: self.limit.clone(),
            answer: self.answer.clone(),
            readiness: self.readiness.clone(),
        }
    }
}

/// The service that [`AsyncRateLimitLayer`] makes; clones share the limiter.
pub struct AsyncRateLimit<S, L, E, A = Fail, R = Isolate> {
    inner: S,
    limit: AsyncLimit<L, E>,
    answer: A,
    readiness: R,
}

impl<S, L, E, A, R> AsyncRateLimit<S, L, E, A, R> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service. Calling it goes round the limit.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, out of the limit.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<L, E> AsyncLimit<L, E> {
    fn policy_of<Req, K>(&self, request: &Req) -> Option<Policy>
    where
        E: KeyExtractor<Req, Key = K>,
        L: AsyncLimiter<K>,
        K: ToOwned + ?Sized,
    {
        self.limiter.policy_of(&*self.extractor.extract(request)?)
    }

    fn decide<Req, K>(&self, request: &Req) -> Decision<L::Decision>
    where
        E: KeyExtractor<Req, Key = K>,
        L: AsyncLimiter<K>,
        K: ToOwned + ?Sized,
    {
        match self.extractor.extract(request) {
            Some(key) => Decision::Asking {
                decision: self.limiter.decide(&*key, 1),
            },
            None => self.decide_without_key(),
        }
    }

    fn decide_without_key<K>(&self) -> Decision<L::Decision>
    where
        L: AsyncLimiter<K>,
        K: ?Sized,
    {
        let shared = match self.missing {
            MissingKey::Pass => return Decision::Known { result: Ok(None) },
            MissingKey::Share => self.limiter.decide_without_key(1),
            MissingKey::Refuse => None,
        };
        match shared {
            Some(decision) => Decision::Asking { decision },
            None => Decision::Known {
                result: Err(Rejected::no_key()),
            },
        }
    }
}

impl<S, L, E, A, Req, K> Service<Req> for AsyncRateLimit<S, L, E, A, Isolate>
where
    S: Service<Req> + Clone,
    E: KeyExtractor<Req, Key = K>,
    L: AsyncLimiter<K>,
    A: Answer<Req, S::Response, S::Error> + Clone,
    K: ToOwned + ?Sized,
{
    type Response = S::Response;
    type Error = A::Error;
    type Future = AsyncResponseFuture<S, Req, A, L::Decision>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let decision = self.limit.decide(&request);
        let call = Call {
            service: self.inner.clone(),
            ready: false,
            own: A::TELLS_POLICY
                .then(|| self.limit.policy_of(&request))
                .flatten(),
            request,
            answer: self.answer.clone(),
        };
        AsyncResponseFuture::new(decision, call)
    }
}

/// # Panics
///
/// `call` panics where it is not preceded by a `poll_ready` that was ready, as tower's contract
/// has it.
impl<S, L, E, A, Req, K> Service<Req> for AsyncRateLimit<S, L, E, A, Propagate>
where
    S: Service<Req> + Clone,
    E: KeyExtractor<Req, Key = K>,
    L: AsyncLimiter<K>,
    A: Answer<Req, S::Response, S::Error> + Clone,
    K: ToOwned + ?Sized,
{
    type Response = S::Response;
    type Error = A::Error;
    type Future = AsyncResponseFuture<S, Req, A, L::Decision>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        if !self.readiness.ready {
            ready!(self.inner.poll_ready(context)).map_err(A::error)?;
            self.readiness.ready = true;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        assert!(self.readiness.ready, "call without poll_ready");
        self.readiness.ready = false;
        let decision = self.limit.decide(&request);
        let clone = self.inner.clone();
        let call = Call {
            service: std::mem::replace(&mut self.inner, clone),
            ready: true,
            own: A::TELLS_POLICY
                .then(|| self.limit.policy_of(&request))
                .flatten(),
            request,
            answer: self.answer.clone(),
        };
        AsyncResponseFuture::new(decision, call)
    }
}

impl<L: Clone, E> Clone for AsyncLimit<L, E> {
    fn clone(&self) -> Self {
        Self {
            limiter: self.limiter.clone(),
            extractor: self.extractor.clone(),
            missing: self.missing,
        }
    }
}

impl<L: fmt::Debug, E> fmt::Debug for AsyncLimit<L, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncLimit")
            .field("limiter", &self.limiter)
            .field("extractor", &Closure::of(&*self.extractor))
            .finish_non_exhaustive()
    }
}

impl<L: Clone, E, A: Clone, R: Clone> Clone for AsyncRateLimitLayer<L, E, A, R> {
    fn clone(&self) -> Self {
        Self {
            limit: self.limit.clone(),
            answer: self.answer.clone(),
            readiness: self.readiness.clone(),
        }
    }
}

impl<L: fmt::Debug, E, A: fmt::Debug, R> fmt::Debug for AsyncRateLimitLayer<L, E, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRateLimitLayer")
            .field("limit", &self.limit)
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}

impl<S: Clone, L: Clone, E, A: Clone, R: Clone> Clone for AsyncRateLimit<S, L, E, A, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limit: self.limit.clone(),
            answer: self.answer.clone(),
            readiness: self.readiness.clone(),
        }
    }
}

impl<S: fmt::Debug, L: fmt::Debug, E, A: fmt::Debug, R> fmt::Debug
    for AsyncRateLimit<S, L, E, A, R>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRateLimit")
            .field("inner", &self.inner)
            .field("limit", &self.limit)
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}
