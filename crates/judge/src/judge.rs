use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::{Classify, End, Outcome, Verdict};

use crate::{Call, Closure};

/// How responses and errors are judged: [`ByResult`], [`Classified`], with feature `http` one that
/// waits for the end of the body, and what [`RetryAfter`] adds to each.
pub trait Judge<C, Res, Err> {
    /// The response that is passed on, which may hold the call on.
    type Response;

    /// Judges a response, and ends the call now or at the end of the body. `retry_after` is how long
    /// whoever answered asked to be left alone.
    fn judge(&self, call: C, retry_after: Option<Duration>, response: Res) -> Self::Response;

    /// Judges the error that came instead of a response, and ends the call.
    fn fail(&self, call: C, retry_after: Option<Duration>, error: &Err);

    /// Passes on a response that nobody judges, since nothing was called.
    fn pass(response: Res) -> Self::Response;
}

/// Responses are successes, errors failures.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByResult;

impl<C: Call, Res, Err> Judge<C, Res, Err> for ByResult {
    type Response = Res;

    #[inline]
    fn judge(&self, call: C, retry_after: Option<Duration>, response: Res) -> Res {
        call.record(Outcome::Success, retry_after);
        response
    }

    fn fail(&self, call: C, retry_after: Option<Duration>, _error: &Err) {
        call.record(Outcome::Failure, retry_after);
    }

    fn pass(response: Res) -> Res {
        response
    }
}

/// A [`Classify`] judges; clones share it.
///
/// What it defers to the end of the body it is asked at once, as of a body that was complete.
pub struct Classified<K> {
    classifier: Arc<K>,
}

impl<K> Classified<K> {
    /// Judges by `classifier`.
    #[must_use]
    pub fn new(classifier: K) -> Self {
        Self {
            classifier: Arc::new(classifier),
        }
    }

    fn outcome<Res, Err>(&self, result: Result<&Res, &Err>) -> Outcome
    where
        K: Classify<Res, Err>,
    {
        match self.classifier.classify(result) {
            Verdict::Known(outcome) => outcome,
            Verdict::AtEnd => self.classifier.at_end(End::Complete(&())),
        }
    }
}

impl<C, Res, Err, K> Judge<C, Res, Err> for Classified<K>
where
    C: Call,
    K: Classify<Res, Err>,
{
    type Response = Res;

    #[inline]
    fn judge(&self, call: C, retry_after: Option<Duration>, response: Res) -> Res {
        call.record(self.outcome(Ok(&response)), retry_after);
        response
    }

    fn fail(&self, call: C, retry_after: Option<Duration>, error: &Err) {
        call.record(self.outcome(Err(error)), retry_after);
    }

    fn pass(response: Res) -> Res {
        response
    }
}

/// Reads from a response or an error how long whoever was called asks to be left alone
/// (`Retry-After`), and leaves the verdict to another; clones share the closure.
pub struct RetryAfter<J, F> {
    judge: J,
    read: Arc<F>,
}

impl<J, F> RetryAfter<J, F> {
    /// Has `judge` judge, and told what `read` finds.
    #[must_use]
    pub fn new(judge: J, read: F) -> Self {
        Self {
            judge,
            read: Arc::new(read),
        }
    }
}

impl<C, Res, Err, J, F> Judge<C, Res, Err> for RetryAfter<J, F>
where
    J: Judge<C, Res, Err>,
    F: Fn(Result<&Res, &Err>) -> Option<Duration>,
{
    type Response = J::Response;

    fn judge(&self, call: C, before: Option<Duration>, response: Res) -> J::Response {
        let retry_after = (self.read)(Ok(&response)).or(before);
        self.judge.judge(call, retry_after, response)
    }

    fn fail(&self, call: C, before: Option<Duration>, error: &Err) {
        let retry_after = (self.read)(Err(error)).or(before);
        self.judge.fail(call, retry_after, error);
    }

    fn pass(response: Res) -> J::Response {
        J::pass(response)
    }
}

impl<K> Clone for Classified<K> {
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

impl<K> fmt::Debug for Classified<K> {
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
