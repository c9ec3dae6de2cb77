use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::cache::Ticket;
use crate::flight::Outcome;

/// The loads that nobody waits for, on their way to the refresher. Of these and of those that it
/// polls there are at most as many as there are places.
pub(super) struct Queue<K, V, S> {
    state: Mutex<State<K, V, S>>,
    /// Relaxed: it guards nothing but the number.
    under_way: AtomicUsize,
    places: usize,
}

struct State<K, V, S> {
    jobs: Vec<Job<K, V, S>>,
    /// Of the refresher.
    waker: Option<Waker>,
    /// Whether there are a refresher and a handle.
    is_open: bool,
}

/// The right to have one load under way; dropping gives it back.
pub(super) struct Place<K, V, S>(Arc<Queue<K, V, S>>);

/// A load that the refresher waits for.
pub(super) struct Job<K, V, S> {
    ticket: Ticket<K, V, S>,
    _place: Place<K, V, S>,
}

/// As long as this lives there is a handle.
pub(super) struct Open<K, V, S>(pub(super) Arc<Queue<K, V, S>>);

impl<K, V, S> Queue<K, V, S> {
    pub(super) fn new(places: usize) -> Self {
        Self {
            state: Mutex::new(State {
                jobs: Vec::new(),
                waker: None,
                is_open: true,
            }),
            under_way: AtomicUsize::new(0),
            places,
        }
    }

    /// A place, if there is one left and somebody who polls what takes it.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place<K, V, S>> {
        if !self.state.lock().is_open {
            return None;
        }
        let more = |now: usize| (now < self.places).then_some(now + 1);
        self.under_way
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Place(Arc::clone(self)))
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Hands a load to the refresher; without one it is dropped, unless others wait for it.
    pub(super) fn push(&self, ticket: Ticket<K, V, S>, place: Place<K, V, S>) {
        let job = Job {
            ticket,
            _place: place,
        };
        let mut state = self.state.lock();
        if !state.is_open {
            drop(state);
            drop(job);
            return;
        }
        state.jobs.push(job);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// What came since this was last asked, of which the next wakes; `None` if nothing will.
    pub(super) fn take(&self, cx: &Context<'_>) -> Option<Vec<Job<K, V, S>>> {
        let mut state = self.state.lock();
        if !state.is_open {
            return None;
        }
        let old = state.waker.replace(cx.waker().clone());
        let jobs = mem::take(&mut state.jobs);
        drop(state);
        drop(old);
        Some(jobs)
    }

    /// Ends it: what waits in it is dropped, and nothing comes in any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_open = false;
        let (jobs, waker) = (mem::take(&mut state.jobs), state.waker.take());
        drop(state);
        drop(jobs);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl<K, V, S> Drop for Place<K, V, S> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<K, V, S> Drop for Open<K, V, S> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<K: Eq, V: Clone, S> Future for Job<K, V, S> {
    type Output = Outcome<V>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<V>> {
        Pin::new(&mut self.ticket).poll(cx)
    }
}
