//! One load, shared by all who wait for it.
//!
//! The load lives here and not in one of the waiters: whoever comes polls it, so a waiter that is
//! dropped, or held and never polled, blocks nobody.
//!
//! ```text
//!            begin                     poll                  ready, panicked
//!   (Away) ────────► Resting(load) ──────────► Away ─────────────────────────► Over
//!      │                   ▲                    │                                ▲
//!      │ block             └────── pending ─────┘                                │
//!      └──────────► Blocking ────────────────────── ended by its thread ─────────┘
//! ```

mod crowd;
mod failure;
mod stack;

use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crowd::Crowd;
pub use failure::LoadError;
pub(crate) use failure::{Failure, message};
pub(crate) use stack::{Polling, Waiting};

pub(crate) type Outcome<V> = Result<V, Failure>;
pub(crate) type Load<V> = Pin<Box<dyn Future<Output = Outcome<V>> + Send>>;

/// A load and those who wait for it.
pub(crate) struct Flight<V> {
    end: OnceLock<Outcome<V>>,
    state: Mutex<State<V>>,
    crowd: Arc<Crowd>,
    /// Changed under the lock of the key's shard only, so that nobody joins a flight that its last
    /// waiter is about to leave.
    waiters: AtomicUsize,
}

struct State<V> {
    phase: Phase<V>,
    /// Counts the times that the load went away.
    turn: u64,
    /// The places of those who came while it was away.
    late: Vec<usize>,
}

enum Phase<V> {
    /// Somebody polls the load, or is about to bring it.
    Away,
    /// Nobody polls the load: whoever comes may.
    Resting(Load<V>),
    /// The load is a call on its leader's thread.
    Blocking,
    Over,
}

/// A waiter's place in a flight.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    place: crowd::Place,
    /// The turn for which the waiter came too late.
    late: Option<u64>,
    /// Whether it polled the load, or was told that it rests.
    has_looked: bool,
}

impl<V> Flight<V> {
    /// A flight with one waiter, who is to [`begin`](Self::begin) it or to [`block`](Self::block).
    pub(crate) fn new() -> Self {
        Self {
            end: OnceLock::new(),
            state: Mutex::new(State {
                phase: Phase::Away,
                turn: 0,
                late: Vec::new(),
            }),
            crowd: Arc::default(),
            waiters: AtomicUsize::new(1),
        }
    }

    /// By what the flight is known while it lives.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.crowd).addr()
    }

    /// Whether this thread is polling the load.
    pub(crate) fn is_polled_here(&self) -> bool {
        stack::is_polling(self.id())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.get().is_some()
    }

    /// Counts a waiter; under the shard's lock.
    pub(crate) fn join(&self) {
        self.waiters.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a waiter off, and says whether it was the last; under the shard's lock.
    pub(crate) fn leave(&self) -> bool {
        self.waiters.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// Gives the seat of a waiter up.
    pub(crate) fn stand_up(&self, seat: &mut Seat) {
        self.crowd.leave(&mut seat.place);
    }

    /// Brings the load.
    pub(crate) fn begin(&self, load: Load<V>) {
        self.rest(load);
    }

    /// Says that the load is a call that this thread is going to make.
    pub(crate) fn block(&self) {
        self.state.lock().phase = Phase::Blocking;
    }

    /// Ends the flight for everyone.
    pub(crate) fn end(&self, outcome: Outcome<V>) {
        // Whoever registers from here on finds the end when looking again.
        drop(self.end.set(outcome));
        let load = mem::replace(&mut self.state.lock().phase, Phase::Over);
        drop(load);
        self.crowd.wake_all();
    }

    /// Drops the load of a flight without waiters.
    pub(crate) fn cancel(&self) {
        let load = mem::replace(&mut self.state.lock().phase, Phase::Over);
        drop(load);
    }

    /// Waits for the end, and polls the load if nobody else does. `settle` hears the outcome before
    /// anybody else, if this was the poll that brought it.
    pub(crate) fn poll(
        &self,
        seat: &mut Seat,
        cx: &Context<'_>,
        settle: impl FnOnce(&Outcome<V>),
    ) -> Poll<Outcome<V>>
    where
        V: Clone,
    {
        if let Some(end) = self.end.get() {
            return Poll::Ready(end.clone());
        }
        if self.is_polled_here() {
            return Poll::Ready(Err(Failure::Reentrant));
        }
        // Before looking: what happens from here on wakes.
        self.crowd.register(&mut seat.place, cx.waker());
        if let Some(load) = self.take(seat) {
            match self.poll_load(load) {
                Err(load) => self.rest(load),
                Ok(outcome) => {
                    settle(&outcome);
                    self.crowd.leave(&mut seat.place);
                    self.end(outcome);
                }
            }
        }
        match self.end.get() {
            Some(end) => Poll::Ready(end.clone()),
            None => Poll::Pending,
        }
    }

    /// Takes the load away to poll it, if it rests and there is reason to: it was woken, or this
    /// waiter has not looked at it since it last rested.
    ///
    /// Without the second reason two loads that wait for each other would sleep instead of finding
    /// themselves on the [`stack`].
    fn take(&self, seat: &mut Seat) -> Option<Load<V>> {
        let mut state = self.state.lock();
        match &state.phase {
            Phase::Over | Phase::Blocking => None,
            Phase::Away => {
                if seat.late != Some(state.turn) {
                    seat.late = Some(state.turn);
                    seat.has_looked = false;
                    let place = seat.place.index();
                    state.late.push(place);
                }
                None
            }
            Phase::Resting(_) => {
                if !self.crowd.was_woken() && mem::replace(&mut seat.has_looked, true) {
                    return None;
                }
                seat.has_looked = true;
                state.turn += 1;
                match mem::replace(&mut state.phase, Phase::Away) {
                    Phase::Resting(load) => Some(load),
                    _ => None,
                }
            }
        }
    }

    /// Polls the load, which is given back if it is pending.
    fn poll_load(&self, mut load: Load<V>) -> Result<Outcome<V>, Load<V>> {
        let polling = Polling::enter(self.id());
        let waker = Waker::from(Arc::clone(&self.crowd));
        let polled = catch_unwind(AssertUnwindSafe(move || {
            match load.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => Err(load),
                Poll::Ready(outcome) => {
                    // In here, since its drop may panic as well.
                    drop(load);
                    Ok(outcome)
                }
            }
        }));
        drop(polling);
        polled.unwrap_or_else(|payload| Ok(Err(Failure::Panicked(message(&*payload)))))
    }

    /// Lets the load rest, and wakes who came while it was away.
    fn rest(&self, load: Load<V>) {
        let mut state = self.state.lock();
        state.phase = Phase::Resting(load);
        let late = mem::take(&mut state.late);
        drop(state);
        for place in late {
            self.crowd.wake(place);
        }
    }
}

impl<V> fmt::Debug for Flight<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("is_over", &self.is_over())
            .field("waiters", &self.waiters)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
