//! A gate that holds calls back until the test opens it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::waiters::Waiters;

/// Holds calls and futures back until the test lets them pass; clones share one gate.
///
/// It starts closed. [`before`](Self::before) puts it in front of the answers of a service,
/// [`pass`](Self::pass) is the plain form, for loaders and other async closures.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    state: Arc<Mutex<State>>,
    arrivals: Waiters,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    next_ticket: u64,
    /// Those who wait, in order of arrival; without a waker until first polled.
    waiting: BTreeMap<u64, Option<Waker>>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until the gate lets this call of `pass` through.
    ///
    /// It counts as waiting from here on, polled or not, until it is let through or dropped.
    pub fn pass(&self) -> Pass {
        let mut state = self.state.lock();
        let ticket = state.next_ticket;
        if !state.open {
            state.next_ticket += 1;
            state.waiting.insert(ticket, None);
        }
        drop(state);
        self.arrivals.wake_all();
        Pass {
            gate: self.clone(),
            ticket,
        }
    }

    /// Calls `service` at once and holds its answers back until the gate lets them through.
    pub fn before<S>(&self, service: S) -> Gated<S> {
        Gated {
            inner: service,
            gate: self.clone(),
        }
    }

    /// How many wait at the gate.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Waits until at least `count` wait at the gate: a way to know that spawned tasks have come
    /// this far.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn until_waiting(&self, count: usize) {
        let waiter = self.arrivals.waiter();
        std::future::poll_fn(|cx| {
            waiter.wait(cx.waker());
            if self.waiting() >= count {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Lets the one through that has waited longest; false when nobody waits, and then nothing is
    /// kept for who comes later.
    pub fn open_one(&self) -> bool {
        let first = self.state.lock().waiting.pop_first();
        match first {
            Some((_, waker)) => {
                waker.into_iter().for_each(Waker::wake);
                true
            }
            None => false,
        }
    }

    /// Lets all through that wait now and says how many; who comes later waits.
    pub fn open_all(&self) -> usize {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        let count = waiting.len();
        waiting.into_values().flatten().for_each(Waker::wake);
        count
    }

    /// Lets all through, now and later, until [`close`](Self::close).
    pub fn stay_open(&self) {
        self.state.lock().open = true;
        self.open_all();
    }

    /// Makes who comes from now on wait.
    pub fn close(&self) {
        self.state.lock().open = false;
    }
}

/// Waits at a [`Gate`].
///
/// # Cancel safety
/// Dropping it leaves the gate; being let through is not passed on to the next.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Pass {
    gate: Gate,
    ticket: u64,
}

impl Future for Pass {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        // The old waker outlives the lock: dropping it may drop a task that waits here too.
        let old = match self.gate.state.lock().waiting.get_mut(&self.ticket) {
            Some(place) => place.replace(waker),
            None => return Poll::Ready(()),
        };
        drop(old);
        Poll::Pending
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let left = self.gate.state.lock().waiting.remove(&self.ticket);
        drop(left);
    }
}

/// A service whose answers wait at a [`Gate`]; made by [`Gate::before`]. Clones share the gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    inner: S,
    gate: Gate,
}

impl<S> Gated<S> {
    /// The wrapped service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The wrapped service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, Req> Service<Req> for Gated<S>
where
    S: Service<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = GatedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        GatedFuture {
            inner: self.inner.call(request),
            pass: self.gate.pass(),
            passed: false,
        }
    }
}

pin_project! {
    /// The response of [`Gated`]: waits at the gate, then for the wrapped service.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct GatedFuture<F> {
        #[pin]
        inner: F,
        #[pin]
        pass: Pass,
        passed: bool,
    }
}

impl<F: Future> Future for GatedFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !*this.passed {
            match this.pass.poll(cx) {
                Poll::Ready(()) => *this.passed = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        this.inner.poll(cx)
    }
}
