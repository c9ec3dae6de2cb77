use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::Closure;
use crate::Rejected;

/// The error of a layer that fails a refused request, as tower's own layers have it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How a layer answers a refused request: [`Fail`] or [`RespondWith`]. Sealed.
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

/// Answers a refused request with [`Rejected`] in a [`BoxError`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Fail;

impl<Req, Res, Err: Into<BoxError>> Answer<Req, Res, Err> for Fail {
    type Error = BoxError;

    fn refuse(&self, rejected: &Rejected, _request: Req) -> Result<Res, BoxError> {
        Err((*rejected).into())
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
