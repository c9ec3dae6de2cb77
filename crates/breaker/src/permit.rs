use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::Outcome;

use crate::breaker::{Shared, Token};

/// The right to make one call; comes back with [`record`](Self::record).
///
/// Dropped without, it gives back its trial, if it held one, and counts by the
/// [`CancelPolicy`](crate::CancelPolicy).
#[must_use = "a permit that is dropped counts as cancelled; record the call's outcome"]
pub struct Permit<'a> {
    shared: &'a Shared,
    token: Token,
}

/// A [`Permit`] that may be sent away and outlive the breaker's handles.
#[must_use = "a permit that is dropped counts as cancelled; record the call's outcome"]
pub struct OwnedPermit {
    /// `None` once the outcome is recorded, and where there is no breaker.
    shared: Option<Arc<Shared>>,
    token: Token,
}

impl<'a> Permit<'a> {
    #[inline]
    pub(crate) fn new(shared: &'a Shared, token: Token) -> Self {
        Self { shared, token }
    }

    /// Tells that the answer is there, and only the outcome is out: the rest of a body, say, which takes
    /// as long as its reader does. Whether the call was slow is settled by now, and it no longer hangs.
    ///
    /// Dropped from then on, the permit of a call that was not slow is none of
    /// [`CancelPolicy::FailureIfOlderThan`](crate::CancelPolicy::FailureIfOlderThan).
    pub fn answered(&mut self) {
        self.token = self.shared.answered(self.token);
    }

    /// Tells how the call went. Of a call that began in another state it only goes to the metrics.
    #[inline(always)]
    pub fn record(self, outcome: Outcome) {
        self.shared.finish(self.token, outcome, None);
        mem::forget(self);
    }

    /// Tells how the call went, and how long the dependency asked to be left alone
    /// (`Retry-After`). Where this call opens the breaker it stays open for that long, if its
    /// [`OpenTime`](crate::OpenTime) heeds it.
    #[inline]
    pub fn record_with_retry_after(self, outcome: Outcome, retry_after: Duration) {
        self.shared.finish(self.token, outcome, Some(retry_after));
        mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.shared.cancel(self.token);
    }
}

impl OwnedPermit {
    #[inline]
    pub(crate) fn new(shared: Arc<Shared>, token: Token) -> Self {
        Self {
            shared: Some(shared),
            token,
        }
    }

    /// Of a call that no breaker counts.
    pub(crate) fn untracked() -> Self {
        Self {
            shared: None,
            token: Token::of_nothing(),
        }
    }

    /// As [`Permit::answered`].
    pub fn answered(&mut self) {
        if let Some(shared) = &self.shared {
            self.token = shared.answered(self.token);
        }
    }

    /// Whether the call is one of a half-open breaker's trials, which others may wait for.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.token.is_trial()
    }

    /// As [`Permit::record`].
    #[inline]
    pub fn record(mut self, outcome: Outcome) {
        self.finish(outcome, None);
    }

    /// As [`Permit::record_with_retry_after`].
    #[inline]
    pub fn record_with_retry_after(mut self, outcome: Outcome, retry_after: Duration) {
        self.finish(outcome, Some(retry_after));
    }

    fn finish(&mut self, outcome: Outcome, retry_after: Option<Duration>) {
        if let Some(shared) = self.shared.take() {
            shared.finish(self.token, outcome, retry_after);
        }
    }
}

impl Drop for OwnedPermit {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.cancel(self.token);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.token).finish()
    }
}

impl fmt::Debug for OwnedPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedPermit").field(&self.token).finish()
    }
}
