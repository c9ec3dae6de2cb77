use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::{Classify, End, Outcome, Verdict};

use super::Closure;
use crate::Picked;

/// How responses and errors are judged: [`ByResult`], [`Classified`], with feature `http` one that
/// waits for the end of the body, and what [`RetryAfter`] adds to each. Sealed.
pub trait Judge<Res, Err>: private::Sealed {
    /// The response that is passed on, which may keep the call in flight.
    type Response<A>;

    /// Judges a response, and ends the call now or at the end of the body. The endpoint asked to be
    /// left alone for `retry_after`, which is 0 if it did not.
    fn judge<A>(
        &self,
        picked: Picked<A>,
        retry_after: Duration,
        response: Res,
    ) -> Self::Response<A>;

    /// Judges an error, and ends the call.
    fn fail<A>(&self, picked: Picked<A>, retry_after: Duration, error: &Err);

    /// Passes on a response that came from no endpoint.
    fn pass<A>(response: Res) -> Self::Response<A>;
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
    type Response<A> = Res;

    #[inline]
    fn judge<A>(&self, picked: Picked<A>, retry_after: Duration, response: Res) -> Res {
        picked.record_with_retry_after(Outcome::Success, retry_after);
        response
    }

    fn fail<A>(&self, picked: Picked<A>, retry_after: Duration, _error: &Err) {
        picked.record_with_retry_after(Outcome::Failure, retry_after);
    }

    fn pass<A>(response: Res) -> Res {
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

    fn outcome<Res, Err>(&self, result: Result<&Res, &Err>) -> Outcome
    where
        C: Classify<Res, Err>,
    {
        match self.classifier.classify(result) {
            Verdict::Known(outcome) => outcome,
            Verdict::AtEnd => self.classifier.at_end(End::Complete(&())),
        }
    }
}

impl<C: Classify<Res, Err>, Res, Err> Judge<Res, Err> for Classified<C> {
    type Response<A> = Res;

    #[inline]
    fn judge<A>(&self, picked: Picked<A>, retry_after: Duration, response: Res) -> Res {
        picked.record_with_retry_after(self.outcome(Ok(&response)), retry_after);
        response
    }

    fn fail<A>(&self, picked: Picked<A>, retry_after: Duration, error: &Err) {
        picked.record_with_retry_after(self.outcome(Err(error)), retry_after);
    }

    fn pass<A>(response: Res) -> Res {
        response
    }
}

/// Adds what the endpoint asked for; clones share the closure that reads it.
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
    type Response<A> = J::Response<A>;

    fn judge<A>(&self, picked: Picked<A>, before: Duration, response: Res) -> J::Response<A> {
        let retry_after = (self.read)(Ok(&response)).unwrap_or(before);
        self.judge.judge(picked, retry_after, response)
    }

    fn fail<A>(&self, picked: Picked<A>, before: Duration, error: &Err) {
        let retry_after = (self.read)(Err(error)).unwrap_or(before);
        self.judge.fail(picked, retry_after, error);
    }

    fn pass<A>(response: Res) -> J::Response<A> {
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
