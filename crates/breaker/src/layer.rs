//! The breaker as a tower layer.

mod answer;
mod future;
mod judge;
mod service;

use std::fmt;
use std::time::Duration;

use stanchion_core::Classify;
use tower_layer::Layer;

use crate::Breaker;

pub use answer::{Answer, BoxError, Fail, RespondWith};
pub use future::ResponseFuture;
pub use judge::{ByResult, Classified, Judge, Judgement, RetryAfter};
pub use service::{BreakerService, Isolate, Propagate};

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
/// `downcast_ref`. [`respond_with`](Self::respond_with) makes it a response instead, and leaves
/// the inner service's error type as it is.
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
pub struct BreakerLayer<J = ByResult, A = Fail, R = Isolate> {
    breaker: Breaker,
    judge: J,
    answer: A,
    readiness: R,
}

impl BreakerLayer {
    /// Shares `breaker` with whoever else holds it. Responses are successes, errors failures;
    /// [`classify`](Self::classify) changes that.
    pub fn new(breaker: Breaker) -> Self {
        Self {
            breaker,
            judge: ByResult,
            answer: Fail,
            readiness: Isolate,
        }
    }
}

impl<A, R> BreakerLayer<ByResult, A, R> {
    /// Judges responses and errors by `classifier`; clones share it.
    ///
    /// What it defers to the end of the body is asked when the head is there, as of a body that was
    /// complete: the layer does not know of bodies.
    pub fn classify<C>(self, classifier: C) -> BreakerLayer<Classified<C>, A, R> {
        self.judge(|ByResult| Classified::new(classifier))
    }
}

impl<J, A, R> BreakerLayer<J, A, R> {
    /// Reads from a response or an error how long the dependency asks to be left alone. It counts
    /// where that call opens the breaker, and its [`OpenTime`](crate::OpenTime) heeds it.
    pub fn retry_after<F, Res, Err>(self, read: F) -> BreakerLayer<RetryAfter<J, F>, A, R>
    where
        F: Fn(Result<&Res, &Err>) -> Option<Duration>,
    {
        self.judge(|judge| RetryAfter::new(judge, read))
    }

    fn judge<K>(self, make: impl FnOnce(J) -> K) -> BreakerLayer<K, A, R> {
        BreakerLayer {
            breaker: self.breaker,
            judge: make(self.judge),
            answer: self.answer,
            readiness: self.readiness,
        }
    }
}

impl<J, R> BreakerLayer<J, Fail, R> {
    /// Answers a refused request with `respond(&rejected, request)` instead of an error.
    pub fn respond_with<F>(self, respond: F) -> BreakerLayer<J, RespondWith<F>, R> {
        BreakerLayer {
            breaker: self.breaker,
            judge: self.judge,
            answer: RespondWith::new(respond),
            readiness: self.readiness,
        }
    }
}

impl<J, A> BreakerLayer<J, A, Isolate> {
    /// Passes the inner service's readiness on: `poll_ready` polls it, and `call` uses the very
    /// instance that was readied. A refusal keeps that readiness for the next call.
    ///
    /// The inner service need not be `Clone` then; but while it is not ready, nobody is refused.
    pub fn propagate_readiness(self) -> BreakerLayer<J, A, Propagate> {
        BreakerLayer {
            breaker: self.breaker,
            judge: self.judge,
            answer: self.answer,
            readiness: Propagate::default(),
        }
    }
}

impl<S, J, A, R> Layer<S> for BreakerLayer<J, A, R>
where
    J: Clone,
    A: Clone,
    R: Clone,
{
    type Service = BreakerService<S, J, A, R>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService::new(
            inner,
            self.breaker.clone(),
            self.judge.clone(),
            self.answer.clone(),
            self.readiness.clone(),
        )
    }
}

/// Shows a closure by its type's name.
struct Closure<T>(std::marker::PhantomData<T>);

impl<T> Closure<T> {
    fn of(_closure: &T) -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T> fmt::Debug for Closure<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<T>())
    }
}

/// Asks a classifier at once, bodies or not.
fn at_once<Res, Err>(
    classifier: &impl Classify<Res, Err>,
    result: Result<&Res, &Err>,
) -> stanchion_core::Outcome {
    match classifier.classify(result) {
        stanchion_core::Verdict::Known(outcome) => outcome,
        stanchion_core::Verdict::AtEnd => classifier.at_end(stanchion_core::End::Complete(&())),
    }
}
