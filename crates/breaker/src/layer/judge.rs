use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::{Classify, Outcome};

use super::{Closure, at_once};

/// How a layer judges responses and errors: [`ByResult`], [`Classified`], and what
/// [`RetryAfter`] adds to either. Sealed.
pub trait Judge<Res, Err>: private::Sealed {
    /// Judges a response, or the error that came instead.
    fn judge(&self, result: Result<&Res, &Err>) -> Judgement;
}

mod private {
    #[expect(unnameable_types, reason = "what seals a trait cannot be named")]
    pub trait Sealed {}
    impl Sealed for super::ByResult {}
    impl<C> Sealed for super::Classified<C> {}
    impl<J, F> Sealed for super::RetryAfter<J, F> {}
}

/// The outcome of a call, and how long the dependency asked to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judgement {
    /// The outcome.
    pub outcome: Outcome,
    /// What was asked, if anything.
    pub retry_after: Option<Duration>,
}

/// Responses are successes, errors failures.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ByResult;

impl<Res, Err> Judge<Res, Err> for ByResult {
    #[inline]
    fn judge(&self, result: Result<&Res, &Err>) -> Judgement {
        let outcome = match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        };
        Judgement {
            outcome,
            retry_after: None,
        }
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
    #[inline]
    fn judge(&self, result: Result<&Res, &Err>) -> Judgement {
        Judgement {
            outcome: at_once(&*self.classifier, result),
            retry_after: None,
        }
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
    fn judge(&self, result: Result<&Res, &Err>) -> Judgement {
        Judgement {
            retry_after: (self.read)(result),
            ..self.judge.judge(result)
        }
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
