use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::Closure;
use crate::{Policy, Rejected, Status};

/// The error of a layer that fails a refused request, as tower's own layers have it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How a layer answers a refused request: [`Fail`], [`RespondWith`], or with feature `http` an
/// answer in its terms. Sealed.
///
/// `Ok` is what the limit tells of an admission, and `No` of a refusal: a composite tells of each of
/// its limits ([`Standings`](crate::Standings), [`Refused`](crate::Refused)).
pub trait Answer<Req, Res, Err, Ok = Option<Status>, No = Rejected>: private::Sealed {
    /// The error of the service.
    type Error;
    /// What is kept from an admission until the response is there.
    type Note;

    /// Whether it tells a client's own policy, so that somebody has to find it.
    const TELLS_POLICY: bool = false;

    /// Answers a refused request.
    ///
    /// # Errors
    ///
    /// When a refusal is an error.
    fn refuse(&self, refused: &No, request: Req) -> Result<Res, Self::Error>;

    /// The same for a client with a policy of its own.
    ///
    /// # Errors
    ///
    /// When a refusal is an error.
    fn refuse_by(
        &self,
        _own: Option<Policy>,
        refused: &No,
        request: Req,
    ) -> Result<Res, Self::Error> {
        self.refuse(refused, request)
    }

    /// Keeps what the response will need of an admission; of a request that was not counted, that
    /// is `None`.
    fn note(&self, admitted: Ok) -> Self::Note;

    /// The same for a client with a policy of its own.
    fn note_by(&self, _own: Option<Policy>, admitted: Ok) -> Self::Note {
        self.note(admitted)
    }

    /// Completes the response to an admitted request.
    fn complete(note: Self::Note, response: Res) -> Res;

    /// Passes an error of the inner service on.
    fn error(error: Err) -> Self::Error;
}

pub(crate) mod private {
    #[expect(unnameable_types, reason = "what seals a trait cannot be named")]
    pub trait Sealed {}
    impl Sealed for super::Fail {}
    impl<F> Sealed for super::RespondWith<F> {}
}

/// Answers a refused request with [`Rejected`], or [`Refused`](crate::Refused) by several limits, in a
/// [`BoxError`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Fail;

impl<Req, Res, Err, Ok, No> Answer<Req, Res, Err, Ok, No> for Fail
where
    Err: Into<BoxError>,
    No: Error + Clone + Send + Sync + 'static,
{
    type Error = BoxError;
    type Note = ();

    fn refuse(&self, refused: &No, _request: Req) -> Result<Res, BoxError> {
        Err(refused.clone().into())
    }

    fn note(&self, _admitted: Ok) {}

    fn complete((): (), response: Res) -> Res {
        response
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

impl<Req, Res, Err, F, Ok, No> Answer<Req, Res, Err, Ok, No> for RespondWith<F>
where
    F: Fn(&No, Req) -> Res,
{
    type Error = Err;
    type Note = ();

    fn refuse(&self, refused: &No, request: Req) -> Result<Res, Err> {
        Result::Ok((self.respond)(refused, request))
    }

    fn note(&self, _admitted: Ok) {}

    fn complete((): (), response: Res) -> Res {
        response
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
