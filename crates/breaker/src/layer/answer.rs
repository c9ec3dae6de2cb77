use std::error::Error;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::sync::Arc;

use tower_service::Service;

use super::Closure;
use super::fallback::FallbackFuture;

/// The error of a layer that fails a refused request, as tower's own layers have it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How a layer answers a refused request: [`Fail`], [`RespondWith`] or [`Fallback`]. Sealed.
pub trait Answer<Rej, Req, Res, Err>: private::Sealed {
    /// The error of the service.
    type Error;
    /// The answer, which may take its time.
    type Future: Future<Output = Result<Res, Self::Error>>;

    /// Answers a refused request.
    fn refuse(&self, rejected: Rej, request: Req) -> Self::Future;

    /// Passes an error of the inner service on.
    fn error(error: Err) -> Self::Error;
}

mod private {
    #[expect(unnameable_types, reason = "what seals a trait cannot be named")]
    pub trait Sealed {}
    impl Sealed for super::Fail {}
    impl<F> Sealed for super::RespondWith<F> {}
    impl<B> Sealed for super::Fallback<B> {}
}

/// Answers a refused request with the refusal in a [`BoxError`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Fail;

impl<Rej, Req, Res, Err> Answer<Rej, Req, Res, Err> for Fail
where
    Rej: Error + Send + Sync + 'static,
    Err: Into<BoxError>,
{
    type Error = BoxError;
    type Future = Ready<Result<Res, BoxError>>;

    fn refuse(&self, rejected: Rej, _request: Req) -> Self::Future {
        ready(Err(rejected.into()))
    }

    fn error(error: Err) -> BoxError {
        error.into()
    }
}

/// Answers a refused request with a closure's response; clones share the closure.
pub struct RespondWith<F> {
    respond: Arc<F>,
}

impl<F> RespondWith<F> {
    pub(super) fn new(respond: F) -> Self {
        Self {
            respond: Arc::new(respond),
        }
    }
}

impl<Rej, Req, Res, Err, F> Answer<Rej, Req, Res, Err> for RespondWith<F>
where
    F: Fn(&Rej, Req) -> Res,
{
    type Error = Err;
    type Future = Ready<Result<Res, Err>>;

    fn refuse(&self, rejected: Rej, request: Req) -> Self::Future {
        ready(Ok((self.respond)(&rejected, request)))
    }

    fn error(error: Err) -> Err {
        error
    }
}

/// Sends a refused request to another service. Each has a clone of its own, which is made ready
/// first.
#[derive(Clone, Debug)]
pub struct Fallback<B> {
    service: B,
}

impl<B> Fallback<B> {
    pub(super) fn new(service: B) -> Self {
        Self { service }
    }
}

impl<Rej, Req, Res, Err, B> Answer<Rej, Req, Res, Err> for Fallback<B>
where
    B: Service<Req, Response = Res, Error = Err> + Clone,
{
    type Error = Err;
    type Future = FallbackFuture<B, Req>;

    fn refuse(&self, _rejected: Rej, request: Req) -> Self::Future {
        FallbackFuture::new(self.service.clone(), request)
    }

    fn error(error: Err) -> Err {
        error
    }
}

impl<F> Clone for RespondWith<F> {
    fn clone(&self) -> Self {
        Self {
            respond: self.respond.clone(),
        }
    }
}

impl<F> fmt::Debug for RespondWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RespondWith")
            .field("respond", &Closure::of(&*self.respond))
            .finish()
    }
}
