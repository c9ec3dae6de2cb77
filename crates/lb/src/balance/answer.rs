use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::Closure;
use crate::Unavailable;

/// The error of a service that fails a refused request, as tower's own have it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a request was sent to no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejected {
    /// There was none to pick: no endpoints, none healthy, or all with as many calls in flight as
    /// they may have. Nothing waited.
    Unavailable(Unavailable),
    /// The picked endpoint was not ready, and as many calls wait already as
    /// [`Patience::with_max_pending`](crate::Patience::with_max_pending) allows.
    TooManyPending,
    /// No endpoint that was picked became ready in time.
    NotReady,
}

impl Rejected {
    /// Whether there are endpoints that would do, at another time: the answer 503 with
    /// `Retry-After`, say, rather than 502.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        match self {
            Self::Unavailable(unavailable) => *unavailable == Unavailable::Overloaded,
            Self::TooManyPending | Self::NotReady => true,
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable(_) => "the call was sent to no endpoint",
            Self::TooManyPending => "too many calls wait for an endpoint to become ready",
            Self::NotReady => "no endpoint became ready in time",
        })
    }
}

impl Error for Rejected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable(unavailable) => Some(unavailable),
            Self::TooManyPending | Self::NotReady => None,
        }
    }
}

/// How a refused request is answered: [`Fail`] or [`RespondWith`]. Sealed.
pub trait Answer<Req, Res, Err>: private::Sealed {
    /// The error of the service.
    type Error;

    /// Answers a refused request.
    ///
    /// # Errors
    ///
    /// When a refusal is an error.
    fn refuse(&self, rejected: &Rejected, request: Req) -> Result<Res, Self::Error>;

    /// Passes an error of the inner service on.
    fn error(error: Err) -> Self::Error;
}

mod private {
    #[expect(unnameable_types, reason = "what seals a trait cannot be named")]
    pub trait Sealed {}
    impl Sealed for super::Fail {}
    impl<F> Sealed for super::RespondWith<F> {}
}

/// Answers a refused request with the refusal in a [`BoxError`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Fail;

impl<Req, Res, Err: Into<BoxError>> Answer<Req, Res, Err> for Fail {
    type Error = BoxError;

    fn refuse(&self, rejected: &Rejected, _request: Req) -> Result<Res, BoxError> {
        Err(Box::new(*rejected))
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

impl<Req, Res, Err, F> Answer<Req, Res, Err> for RespondWith<F>
where
    F: Fn(&Rejected, Req) -> Res,
{
    type Error = Err;

    fn refuse(&self, rejected: &Rejected, request: Req) -> Result<Res, Err> {
        Ok((self.respond)(rejected, request))
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
