//! The limiter as a tower layer.

mod answer;
mod deciding;
mod future;
mod limit;
mod per_service;
mod service;

use std::fmt;

use stanchion_core::KeyExtractor;
use tower_layer::Layer;

use crate::{CompositeRateLimiter, KeyedRateLimiter, Policy, RateLimiter};

#[cfg(feature = "http")]
pub(crate) use answer::private::Sealed;
pub use answer::{Answer, BoxError, Fail, RespondWith};
pub use deciding::{AsyncRateLimit, AsyncRateLimitLayer, AsyncResponseFuture, Together};
pub use future::ResponseFuture;
#[cfg(feature = "http")]
pub(crate) use limit::private::Sealed as Quoted;
pub use limit::{Keyed, Limit, MissingKey};
pub use per_service::PerService;
pub(crate) use per_service::private::Anew;
pub use service::{Isolate, Propagate, RateLimit};

/// Limits the rate of requests before they reach a service.
///
/// The layer holds the limiter: all services that it makes, and all their clones, share its
/// buckets; [`per_service`](Self::per_service) makes it one limiter for each. A request is refused in
/// `call`, before the inner service is touched; nothing waits. [`AsyncRateLimitLayer`] can.
///
/// By default the service is always ready, and the response future readies and calls a clone of
/// the inner service, so that a busy inner service cannot hide refusals. Back-pressure stops here;
/// [`propagate_readiness`](Self::propagate_readiness) passes it on.
///
/// A refusal is an error: [`Rejected`](crate::Rejected), found in the [`BoxError`] with
/// `downcast_ref`. [`respond_with`](Self::respond_with) makes it a response instead, and leaves
/// the inner service's error type as it is.
///
/// Admitting and refusing allocate nothing, but for the error's box.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_ratelimit::{Quota, RateLimitLayer, Rejected};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(RateLimitLayer::new(Quota::new(1, Duration::from_secs(60))?))
///     .service(service_fn(|name: &'static str| async move {
///         Ok::<_, std::convert::Infallible>(format!("hello, {name}"))
///     }));
///
/// assert_eq!(service.clone().oneshot("anna").await?, "hello, anna");
/// let error = service.oneshot("bela").await.unwrap_err();
/// assert!(error.downcast_ref::<Rejected>().is_some());
/// # Ok(())
/// # }
/// ```
#[must_use = "a layer does nothing until it wraps a service"]
#[derive(Clone, Debug)]
pub struct RateLimitLayer<L, A = Fail, R = Isolate> {
    limit: L,
    answer: A,
    readiness: R,
}

impl RateLimitLayer<RateLimiter> {
    /// One limit for all requests together, with a limiter of its own.
    pub fn new(policy: impl Into<Policy>) -> Self {
        Self::from_limiter(RateLimiter::new(policy))
    }

    /// One limit for all requests together, shared with whoever else holds `limiter`.
    pub fn from_limiter(limiter: RateLimiter) -> Self {
        Self {
            limit: limiter,
            answer: Fail,
            readiness: Isolate,
        }
    }
}

impl<Req> RateLimitLayer<CompositeRateLimiter<Req>> {
    /// Several limits at once, all or nothing: what one refuses, none has counted.
    ///
    /// A refusal is a [`Refused`](crate::Refused), which names the limits that were violated; over
    /// HTTP (`http`) each limit tells its policy and where it stands, under its own name.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_ratelimit::{
    ///     CompositeLimit, CompositeRateLimiter, Quota, RateLimitLayer, Refused,
    /// };
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let limits = CompositeRateLimiter::new([
    ///     CompositeLimit::shared("service", "1000/s".parse::<Quota>()?),
    ///     CompositeLimit::keyed("client", "1/m".parse::<Quota>()?, 10_000, |id: &u64| Some(*id)),
    /// ])?;
    /// let service = ServiceBuilder::new()
    ///     .layer(RateLimitLayer::composite(limits))
    ///     .service(service_fn(|id: u64| async move {
    ///         Ok::<_, std::convert::Infallible>(id)
    ///     }));
    /// assert_eq!(service.clone().oneshot(7).await?, 7);
    /// let error = service.oneshot(7).await.unwrap_err();
    /// let refused = error.downcast_ref::<Refused>().unwrap();
    /// assert!(refused.violated().eq(["client"]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn composite(limits: CompositeRateLimiter<Req>) -> Self {
        Self {
            limit: limits,
            answer: Fail,
            readiness: Isolate,
        }
    }
}

impl<E, K: ?Sized> RateLimitLayer<Keyed<E, K>> {
    /// A limit for each key that `extractor` finds.
    ///
    /// A request without a key is refused; [`on_missing_key`](RateLimitLayer::on_missing_key)
    /// changes that. Extractors that read HTTP requests with any body go to `keyed_http` (feature
    /// `http`), which need not be told one.
    pub fn keyed<Req>(limiter: KeyedRateLimiter<K>, extractor: E) -> Self
    where
        E: KeyExtractor<Req, Key = K>,
    {
        Self {
            limit: Keyed::new(limiter, extractor),
            answer: Fail,
            readiness: Isolate,
        }
    }
}

impl<E, K: ?Sized, A, R> RateLimitLayer<Keyed<E, K>, A, R> {
    /// What becomes of a request without a key. Default: [`MissingKey::Refuse`].
    pub fn on_missing_key(mut self, missing: MissingKey) -> Self {
        self.limit = self.limit.on_missing_key(missing);
        self
    }
}

impl<L, R> RateLimitLayer<L, Fail, R> {
    /// Answers a refused request with `respond(&rejected, request)` instead of an error.
    pub fn respond_with<F>(self, respond: F) -> RateLimitLayer<L, RespondWith<F>, R> {
        self.answer(RespondWith::new(respond))
    }

    pub(crate) fn answer<A>(self, answer: A) -> RateLimitLayer<L, A, R> {
        RateLimitLayer {
            limit: self.limit,
            answer,
            readiness: self.readiness,
        }
    }

    #[cfg(feature = "http")]
    pub(crate) fn limit(&self) -> &L {
        &self.limit
    }
}

impl<L, A> RateLimitLayer<L, A, Isolate> {
    /// Passes the inner service's readiness on: `poll_ready` polls it, and `call` uses the very
    /// instance that was readied. A refusal keeps that readiness for the next call.
    ///
    /// The inner service need not be `Clone` then; but while it is not ready, nobody is refused.
    pub fn propagate_readiness(self) -> RateLimitLayer<L, A, Propagate> {
        RateLimitLayer {
            limit: self.limit,
            answer: self.answer,
            readiness: Propagate::default(),
        }
    }
}

impl<S, L, A, R> Layer<S> for RateLimitLayer<L, A, R>
where
    L: Clone,
    A: Clone,
    R: Clone,
{
    type Service = RateLimit<S, L, A, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(
            inner,
            self.limit.clone(),
            self.answer.clone(),
            self.readiness.clone(),
        )
    }
}

/// Shows a closure by its type's name.
pub(crate) struct Closure<T>(std::marker::PhantomData<T>);

impl<T> Closure<T> {
    pub(crate) fn of(_closure: &T) -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T> fmt::Debug for Closure<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<T>())
    }
}
