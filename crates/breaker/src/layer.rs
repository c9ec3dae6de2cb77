//! The breaker as a tower layer.

mod answer;
mod fallback;
mod future;
mod guard;
mod service;

use std::time::Duration;

use stanchion_core::KeyExtractor;
use tower_layer::Layer;

use crate::{Breaker, KeyedBreaker};

pub use answer::{Answer, BoxError, Fail, Fallback, RespondWith};
pub use fallback::FallbackFuture;
pub use future::ResponseFuture;
pub use guard::{Guard, Keyed};
pub use service::{BreakerService, Isolate, Propagate};
use stanchion_judge::Closure;
#[cfg(feature = "http")]
pub use stanchion_judge::{AtEnd, JudgedBody};
pub use stanchion_judge::{ByResult, Call, Classified, Judge, RetryAfter};

/// Puts a breaker in front of a service.
///
/// The layer holds the breaker: all services that it makes, and all their clones, share it. A
/// call is refused in `call`, before the inner service is touched; nothing waits.
///
/// By default the service is always ready, and the response future readies and calls a clone of
/// the inner service, so that a stuck inner service cannot hide refusals. Back-pressure stops here;
/// [`propagate_readiness`](Self::propagate_readiness) passes it on.
///
/// A refusal is an error: [`Rejected`](crate::Rejected), found in the [`BoxError`] with
/// `downcast_ref`. [`respond_with`](Self::respond_with) makes it a response instead, and
/// [`fallback`](Self::fallback) another service's; both leave the inner service's error type as it
/// is.
///
/// Passing and refusing allocate nothing, but for the error's box. A future that is dropped before
/// its end counts by the breaker's [`CancelPolicy`](crate::CancelPolicy), and gives its trial back.
///
/// # Examples
///
/// ```
/// use stanchion_breaker::{Breaker, BreakerLayer, Config, Rejected};
/// use stanchion_core::Outcome;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let breaker = Breaker::new(Config::default());
/// let service = ServiceBuilder::new()
///     .layer(BreakerLayer::new(breaker.clone()).classify(
///         |result: Result<&u16, &std::io::Error>| match result {
///             Ok(503) => Outcome::Overload,
///             Ok(status) if *status < 500 => Outcome::Success,
///             _ => Outcome::Failure,
///         },
///     ))
///     .service(service_fn(|_request: ()| async { Ok::<u16, std::io::Error>(200) }));
///
/// assert_eq!(service.clone().oneshot(()).await?, 200);
/// breaker.force_open();
/// let error = service.oneshot(()).await.unwrap_err();
/// assert!(error.downcast_ref::<Rejected>().is_some());
/// # Ok(())
/// # }
/// ```
#[must_use = "a layer does nothing until it wraps a service"]
#[derive(Clone, Debug)]
pub struct BreakerLayer<G = Breaker, J = ByResult, A = Fail, R = Isolate> {
    guard: G,
    judge: J,
    answer: A,
    readiness: R,
}

impl<G> BreakerLayer<G> {
    /// Shares a [`Breaker`] or a [`Throttle`](crate::Throttle) with whoever else holds it.
    /// Responses are successes, errors failures; [`classify`](Self::classify) changes that.
    pub fn new(guard: G) -> Self {
        Self {
            guard,
            judge: ByResult,
            answer: Fail,
            readiness: Isolate,
        }
    }
}

impl<E, K: ?Sized + ToOwned> BreakerLayer<Keyed<E, K>> {
    /// A breaker for each key that `extractor` finds. A request without a key passes, and nothing is
    /// recorded of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_breaker::{BreakerLayer, Config, KeyedBreaker};
    ///
    /// let shards = KeyedBreaker::<u32>::new(Config::default(), 64)?;
    /// let by_shard = |request: &(u32, String)| Some(request.0);
    /// let layer = BreakerLayer::keyed(shards, by_shard);
    /// # Ok::<(), stanchion_breaker::InvalidConfig>(())
    /// ```
    pub fn keyed<Req>(breaker: KeyedBreaker<K>, extractor: E) -> Self
    where
        E: KeyExtractor<Req, Key = K>,
    {
        Self::new(Keyed::new(breaker, extractor))
    }
}

impl<G, A, R> BreakerLayer<G, ByResult, A, R> {
    /// Judges responses and errors by `classifier`; clones share it.
    ///
    /// What it defers to the end of the body is asked when the head is there, as of a body that was
    /// complete; `classify_body` (feature `http`) waits for that end.
    pub fn classify<C>(self, classifier: C) -> BreakerLayer<G, Classified<C>, A, R> {
        self.judge(|ByResult| Classified::new(classifier))
    }

    /// Judges responses and errors by `classifier`; clones share it. What it defers to the end of
    /// the body is asked when that ends: with its trailers, when it breaks, or when it is dropped. A
    /// trial lasts that long; whether a call was slow is settled by its head, since how fast a body is
    /// read is up to the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Response;
    /// use stanchion_breaker::{Breaker, BreakerLayer};
    /// use stanchion_core::{Classify, End, Outcome, Verdict};
    ///
    /// struct GrpcStatus;
    /// impl<B, E> Classify<Response<B>, E> for GrpcStatus {
    ///     fn classify(&self, result: Result<&Response<B>, &E>) -> Verdict {
    ///         match result {
    ///             Ok(_) => Verdict::AtEnd,
    ///             Err(_) => Outcome::Failure.into(),
    ///         }
    ///     }
    ///     fn at_end(&self, end: End<'_>) -> Outcome {
    ///         match end {
    ///             End::Complete(trailers) => match trailers.get("grpc-status") {
    ///                 Some(b"0") => Outcome::Success,
    ///                 Some(b"8") => Outcome::Overload,
    ///                 _ => Outcome::Failure,
    ///             },
    ///             End::Dropped => Outcome::Ignore,
    ///             _ => Outcome::Failure,
    ///         }
    ///     }
    /// }
    /// let layer = BreakerLayer::new(Breaker::default()).classify_body(GrpcStatus);
    /// ```
    #[cfg(feature = "http")]
    pub fn classify_body<C>(self, classifier: C) -> BreakerLayer<G, AtEnd<C>, A, R> {
        self.judge(|ByResult| AtEnd::new(classifier))
    }
}

impl<G, J, A, R> BreakerLayer<G, J, A, R> {
    /// Reads from a response or an error how long the dependency asks to be left alone. It counts
    /// where that call opens the breaker, and its [`OpenTime`](crate::OpenTime) heeds it.
    pub fn retry_after<F, Res, Err>(self, read: F) -> BreakerLayer<G, RetryAfter<J, F>, A, R>
    where
        F: Fn(Result<&Res, &Err>) -> Option<Duration>,
    {
        self.judge(|judge| RetryAfter::new(judge, read))
    }

    fn judge<K>(self, make: impl FnOnce(J) -> K) -> BreakerLayer<G, K, A, R> {
        BreakerLayer {
            guard: self.guard,
            judge: make(self.judge),
            answer: self.answer,
            readiness: self.readiness,
        }
    }
}

impl<G, J, R> BreakerLayer<G, J, Fail, R> {
    /// Answers a refused request with `respond(&rejected, request)` instead of an error.
    pub fn respond_with<F>(self, respond: F) -> BreakerLayer<G, J, RespondWith<F>, R> {
        self.answer(RespondWith::new(respond))
    }

    /// Sends a refused request to `service` instead: a cache, another region. It gives the same
    /// responses and errors as the inner one; what it does is not judged.
    pub fn fallback<B>(self, service: B) -> BreakerLayer<G, J, Fallback<B>, R> {
        self.answer(Fallback::new(service))
    }

    fn answer<A>(self, answer: A) -> BreakerLayer<G, J, A, R> {
        BreakerLayer {
            guard: self.guard,
            judge: self.judge,
            answer,
            readiness: self.readiness,
        }
    }
}

impl<G, J, A> BreakerLayer<G, J, A, Isolate> {
    /// Passes the inner service's readiness on: `poll_ready` polls it, and `call` uses the very
    /// instance that was readied. A refusal keeps that readiness for the next call.
    ///
    /// The inner service need not be `Clone` then; but while it is not ready, nobody is refused.
    pub fn propagate_readiness(self) -> BreakerLayer<G, J, A, Propagate> {
        BreakerLayer {
            guard: self.guard,
            judge: self.judge,
            answer: self.answer,
            readiness: Propagate::default(),
        }
    }
}

impl<S, G, J, A, R> Layer<S> for BreakerLayer<G, J, A, R>
where
    G: Clone,
    J: Clone,
    A: Clone,
    R: Clone,
{
    type Service = BreakerService<S, G, J, A, R>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService::new(
            inner,
            self.guard.clone(),
            self.judge.clone(),
            self.answer.clone(),
            self.readiness.clone(),
        )
    }
}
