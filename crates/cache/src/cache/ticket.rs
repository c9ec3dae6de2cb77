use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::Inner;
use crate::flight::{Failure, Flight, Load, Outcome, Polling, Seat, Waiting, message};
use crate::hash::short;

/// A waiter's hold on a flight. Dropped early it leaves the flight, and takes the load with it if
/// nobody else waits.
pub(super) struct Ticket<K, V, S> {
    pub(super) inner: Arc<Inner<K, V, S>>,
    pub(super) flight: Arc<Flight<V>>,
    pub(super) hash: u64,
    /// The flight's watch.
    pub(super) watch: u64,
    pub(super) seat: Seat,
}

impl<K, V, S> Ticket<K, V, S> {
    /// Takes the flight out of the shard, if it is still there: who comes now starts another.
    fn unwatch(&self) {
        let mut shard = self.inner.stripe(self.hash).write();
        let watch = shard.watches.take(short(self.hash), self.watch);
        drop(shard);
        drop(watch);
    }

    fn settle(&self, outcome: &Outcome<V>) {
        // A value took the watch as it went in.
        if outcome.is_err() {
            self.inner.loads.count_failed();
            self.unwatch();
        }
    }

    /// Brings the load of a new flight.
    pub(super) fn begin(&self, load: Load<V>) {
        self.flight.begin(load);
    }
}

impl<K, V, S> Ticket<K, V, S>
where
    K: Eq + Hash,
    V: Clone,
    S: BuildHasher,
{
    /// Loads by a call on this thread.
    pub(super) fn call(self, key: K, load: impl FnOnce() -> Outcome<V>) -> Outcome<V> {
        let polling = Polling::enter(self.flight.id());
        let called = catch_unwind(AssertUnwindSafe(|| {
            let value = load()?;
            self.inner.publish(self.hash, self.watch, key, &value);
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
    pub(super) fn wait(self) -> Outcome<V> {
        let Some(_waiting) = Waiting::enter(self.flight.id()) else {
            return Err(Failure::Reentrant);
        };
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut ticket = pin!(self);
        loop {
            match ticket.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl<K, V, S> Unpin for Ticket<K, V, S> {}

impl<K, V: Clone, S> Future for Ticket<K, V, S> {
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
