use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::Inner;
use super::place::Coming;
use crate::flight::{Failure, Flight, Load, Outcome, Polling, Seat, Waiting, message};
use crate::hash::short;

/// A waiter's hold on a flight. Dropped early it leaves the flight, and takes the load with it if
/// nobody else waits.
pub(crate) struct Ticket<K, V, S> {
    pub(super) inner: Arc<Inner<K, V, S>>,
    pub(super) flight: Arc<Flight<V>>,
    pub(crate) hash: u64,
    /// The flight's watch.
    pub(crate) watch: u64,
    pub(super) seat: Seat,
}

impl<K, V, S> Ticket<K, V, S> {
    /// Brings the load of a new flight.
    pub(crate) fn begin(&self, load: Load<V>) {
        self.flight.begin(load);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.flight.is_over()
    }

    /// Another hold on the same flight; while this one keeps it from being the last's.
    pub(crate) fn again(&self) -> Self {
        let shard = self.inner.stripe(self.hash).read();
        self.flight.join();
        drop(shard);
        Self {
            inner: Arc::clone(&self.inner),
            flight: Arc::clone(&self.flight),
            hash: self.hash,
            watch: self.watch,
            seat: Seat::default(),
        }
    }
}

impl<K: Eq, V, S> Ticket<K, V, S> {
    fn settle(&self, outcome: &Outcome<V>) {
        // A value took the watch as it went in.
        if let Err(failure) = outcome {
            if !matches!(failure, Failure::Absent) {
                self.inner.loads.count_failed();
            }
            self.inner.fail(self.hash, self.watch, failure);
        }
    }
}

impl<K, V, S> Ticket<K, V, S>
where
    K: Eq + Hash,
    V: Clone,
    S: BuildHasher,
{
    /// Loads by a call on this thread.
    pub(super) fn call(
        self,
        key: K,
        load: impl FnOnce() -> Result<(V, Coming), Failure>,
    ) -> Outcome<V> {
        let polling = Polling::enter(self.flight.id());
        let called = catch_unwind(AssertUnwindSafe(|| {
            let (value, coming) = load()?;
            self.inner.publish(self.hash, key, &value, coming);
            Ok(value)
        }));
        drop(polling);
        let told = match &called {
            Ok(outcome) => outcome.clone(),
            Err(payload) => Err(Failure::Panicked(message(&**payload))),
        };
        self.settle(&told);
        self.flight.end(told);
        called.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Waits by parking this thread.
    pub(crate) fn wait(&mut self) -> Outcome<V> {
        let Some(_waiting) = Waiting::enter(self.flight.id()) else {
            return Err(Failure::Reentrant);
        };
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match Pin::new(&mut *self).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl<K, V, S> Unpin for Ticket<K, V, S> {}

impl<K: Eq, V: Clone, S> Future for Ticket<K, V, S> {
    type Output = Outcome<V>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<V>> {
        let this = self.get_mut();
        let mut seat = std::mem::take(&mut this.seat);
        let polled = this
            .flight
            .poll(&mut seat, cx, |outcome| this.settle(outcome));
        this.seat = seat;
        polled
    }
}

impl<K, V, S> Drop for Ticket<K, V, S> {
    fn drop(&mut self) {
        if self.flight.is_over() {
            return;
        }
        self.flight.stand_up(&mut self.seat);
        let mut shard = self.inner.stripe(self.hash).write();
        if self.flight.leave() {
            let watch = shard.watches.take(short(self.hash), self.watch);
            drop(shard);
            drop(watch);
            self.flight.cancel();
        }
    }
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
