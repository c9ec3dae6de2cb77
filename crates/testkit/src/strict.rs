//! A service that fails the test when its caller breaks tower's contract.

mod ledger;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

pub use self::ledger::StrictHandle;
use self::ledger::{Instance, Permit};

/// Wraps a service and fails the test when tower's contract is broken.
///
/// - `call` on an instance that was not made ready. Readiness belongs to one instance, `call` uses
///   it up, and a clone is never ready.
/// - A lost permit: `poll_ready` reserves one of a bounded number of permits, `call` moves it into
///   the response future, and the drop of the instance or of the future gives it back. With none
///   left, `poll_ready` waits; [`StrictHandle::assert_idle`] tells who still holds one.
/// - A response future polled again after it has answered.
///
/// A breach panics where it happens and stays in the [`handle`](Self::handle), so that one whose
/// panic was swallowed by a task is still seen by [`StrictHandle::assert_clean`].
///
/// Clones share the permits and the handle, and start without a reservation.
pub struct Strict<S> {
    inner: S,
    instance: Instance,
    permit: Option<Permit>,
    ready: bool,
}

impl<S> Strict<S> {
    /// Wraps `inner`, with 16 permits.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            instance: Instance::first(16),
            permit: None,
            ready: false,
        }
    }

    /// Sets how many permits there are, before the first one is taken; 16 by default.
    ///
    /// # Panics
    /// When `permits` is 0, or a permit is out.
    #[must_use]
    pub fn with_permits(self, permits: usize) -> Self {
        self.instance.handle().set_permits(permits);
        self
    }

    /// The books of this service and all its clones.
    #[must_use]
    pub fn handle(&self) -> StrictHandle {
        self.instance.handle().clone()
    }

    /// The wrapped service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The wrapped service; a reservation is given back.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone> Clone for Strict<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            instance: self.instance.child(),
            permit: None,
            ready: false,
        }
    }
}

impl<S> fmt::Debug for Strict<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strict")
            .field("instance", &format_args!("{}", self.instance))
            .field("reserved", &self.permit.is_some())
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

impl<S, Req> Service<Req> for Strict<S>
where
    S: Service<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = StrictFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.permit.is_none() {
            match self.instance.poll_reserve(cx) {
                Poll::Ready(permit) => self.permit = Some(permit),
                Poll::Pending => return Poll::Pending,
            }
        }
        let polled = self.inner.poll_ready(cx);
        self.ready = matches!(polled, Poll::Ready(Ok(())));
        if matches!(polled, Poll::Ready(Err(_))) {
            self.permit = None;
        }
        polled
    }

    #[track_caller]
    fn call(&mut self, request: Req) -> Self::Future {
        let ready = std::mem::take(&mut self.ready);
        let (true, Some(mut permit)) = (ready, self.permit.take()) else {
            self.instance.handle().breach(&format!(
                "`call` on {}, which was not made ready",
                self.instance
            ));
        };
        permit.move_into_call();
        StrictFuture {
            inner: self.inner.call(request),
            permit,
            answered: false,
        }
    }
}

pin_project! {
    /// The response of [`Strict`]; holds the permit until it is dropped.
    #[must_use = "futures do nothing unless polled"]
    pub struct StrictFuture<F> {
        #[pin]
        inner: F,
        permit: Permit,
        answered: bool,
    }
}

impl<F: Future> Future for StrictFuture<F> {
    type Output = F::Output;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if *this.answered {
            let handle = this.permit.handle();
            handle.breach("a response future was polled again after it had answered");
        }
        let polled = this.inner.poll(cx);
        *this.answered = polled.is_ready();
        polled
    }
}

impl<F> fmt::Debug for StrictFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StrictFuture")
            .field("answered", &self.answered)
            .finish_non_exhaustive()
    }
}
