use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::{Classify, End, Outcome, Verdict};

use super::{Closure, Record};

/// How a layer judges responses and errors: [`ByResult`], [`Classified`], with feature `http` one
/// that waits for the end of the body, and what [`RetryAfter`] adds to each. Sealed.
pub trait Judge<Res, Err>: private::Sealed {
    /// The response that is passed on, which may hold the permit on.
    type Response<P: Record>;

    /// Judges a response, or the error that came instead, and returns the permit with the verdict,
    /// now or at the end of the body.
    ///
    /// # Errors
    ///
    /// The error that came.
    fn judge<P: Record>(
        &self,
        permit: P,
        retry_after: Option<Duration>,
        result: Result<Res, Err>,
    ) -> Result<Self::Response<P>, Err>;

    /// Passes on a response that nobody judges, since nothing was called.
    fn pass<P: Record>(response: Res) -> Self::Response<P>;
}

pub(crate) mod private {
    #[expect(unnameable_types, reason = "what seals a trait cannot be named")]
    pub trait Sealed {}
    impl Sealed for super::ByResult {}
    impl<C> Sealed for super::Classified<C> {}
    #[cfg(feature = "http")]
    impl<C> Sealed for crate::AtEnd<C> {}
    impl<J, F> Sealed for super::RetryAfter<J, F> {}
}

/// Responses are successes, errors failures.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ByResult;

impl<Res, Err> Judge<Res, Err> for ByResult {
    type Response<P: Record> = Res;

    #[inline]
    fn judge<P: Record>(
        &self,
        permit: P,
        retry_after: Option<Duration>,
        result: Result<Res, Err>,
    ) -> Result<Res, Err> {
        let outcome = match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        };
        permit.record(outcome, retry_after);
        result
    }

    fn pass<P: Record>(response: Res) -> Res {
        response
    }
}

/// A [`Classify`] judges; clones share it.
pub struct Classified<C> {
    classifier: Arc<C>,
}

impl<C> Classified<C> {
    pub(super) fn new(classifier: C) -> Self {
        Self {
            classifier: Arc::new(classifier),
        }
    }
}

impl<C: Classify<Res, Err>, Res, Err> Judge<Res, Err> for Classified<C> {
    type Response<P: Record> = Res;

    #[inline]
    fn judge<P: Record>(
        &self,
        permit: P,
        retry_after: Option<Duration>,
        result: Result<Res, Err>,
    ) -> Result<Res, Err> {
        let outcome = match self.classifier.classify(result.as_ref()) {
            Verdict::Known(outcome) => outcome,
            Verdict::AtEnd => self.classifier.at_end(End::Complete(&())),
        };
        permit.record(outcome, retry_after);
        result
    }

    fn pass<P: Record>(response: Res) -> Res {
        response
    }
}

/// Adds what the dependency asked for; clones share the closure that reads it.
pub struct RetryAfter<J, F> {
    judge: J,
    read: Arc<F>,
}

impl<J, F> RetryAfter<J, F> {
    pub(super) fn new(judge: J, read: F) -> Self {
        Self {
            judge,
            read: Arc::new(read),
        }
    }
}

impl<J, F, Res, Err> Judge<Res, Err> for RetryAfter<J, F>
where
    J: Judge<Res, Err>,
    F: Fn(Result<&Res, &Err>) -> Option<Duration>,
{
    type Response<P: Record> = J::Response<P>;

    fn judge<P: Record>(
        &self,
        permit: P,
        _retry_after: Option<Duration>,
        result: Result<Res, Err>,
    ) -> Result<J::Response<P>, Err> {
        let retry_after = (self.read)(result.as_ref());
        self.judge.judge(permit, retry_after, result)
    }

    fn pass<P: Record>(response: Res) -> J::Response<P> {
        J::pass(response)
    }
}

impl<C> Clone for Classified<C> {
    fn clone(&self) -> Self {
        Self {
            classifier: self.classifier.clone(),
        }
    }
}

impl<J: Clone, F> Clone for RetryAfter<J, F> {
    fn clone(&self) -> Self {
        Self {
            judge: self.judge.clone(),
            read: self.read.clone(),
        }
    }
}

impl<C> fmt::Debug for Classified<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classifier = Closure::of(&*self.classifier);
        f.debug_tuple("Classified").field(&classifier).finish()
    }
}

impl<J: fmt::Debug, F> fmt::Debug for RetryAfter<J, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryAfter")
            .field("judge", &self.judge)
            .field("read", &Closure::of(&*self.read))
            .finish()
    }
}
