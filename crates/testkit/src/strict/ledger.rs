//! The books that all clones of one strict service share.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;

use crate::waiters::{Waiter, Waiters};

/// Breaches kept; later ones still panic where they happen.
const BREACHES_MAX: usize = 32;

/// Tells what went on in a [`Strict`](crate::Strict) service and all its clones; clones share.
#[derive(Clone, Debug)]
pub struct StrictHandle {
    books: Arc<Mutex<Books>>,
    waiters: Waiters,
}

#[derive(Debug, Default)]
struct Books {
    permits: usize,
    reserved: usize,
    in_flight: usize,
    reservations: usize,
    calls: usize,
    instances: usize,
    breaches: Vec<String>,
}

impl StrictHandle {
    /// Permits held now, by ready instances and by response futures together.
    #[must_use]
    pub fn permits_out(&self) -> usize {
        let books = self.books.lock();
        books.reserved + books.in_flight
    }

    /// Permits held now by instances that `poll_ready` made ready, or is making ready.
    #[must_use]
    pub fn reserved(&self) -> usize {
        self.books.lock().reserved
    }

    /// Response futures alive now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.books.lock().in_flight
    }

    /// Permits that `poll_ready` has reserved since the start.
    #[must_use]
    pub fn reservations(&self) -> usize {
        self.books.lock().reservations
    }

    /// Calls on ready instances since the start.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.books.lock().calls
    }

    /// The breaches so far, oldest first, each with the place of the offending call; the first 32
    /// are kept.
    #[must_use]
    pub fn breaches(&self) -> Vec<String> {
        self.books.lock().breaches.clone()
    }

    /// Asserts that the contract was never broken.
    ///
    /// # Panics
    /// When it was; the message lists the breaches.
    #[track_caller]
    pub fn assert_clean(&self) {
        let breaches = self.breaches();
        assert!(
            breaches.is_empty(),
            "tower's contract was broken: {}",
            breaches.join("; ")
        );
    }

    /// Asserts that the contract was never broken and that every permit came back.
    ///
    /// # Panics
    /// When it was broken, or a permit is out; the message says who holds it.
    #[track_caller]
    pub fn assert_idle(&self) {
        self.assert_clean();
        let (permits, reserved, in_flight) = {
            let books = self.books.lock();
            (books.permits, books.reserved, books.in_flight)
        };
        assert!(
            reserved + in_flight == 0,
            "{} of {permits} permits did not come back: {reserved} reserved by instances that \
             were not called, {in_flight} held by response futures",
            reserved + in_flight,
        );
    }

    #[track_caller]
    pub(super) fn set_permits(&self, permits: usize) {
        assert!(permits > 0, "permits is 0; at least 1 is needed");
        assert_eq!(self.permits_out(), 0, "permits were set while some are out");
        self.books.lock().permits = permits;
    }

    #[track_caller]
    pub(super) fn breach(&self, what: &str) -> ! {
        let breach = format!("{what}, at {}", Location::caller());
        let mut books = self.books.lock();
        if books.breaches.len() < BREACHES_MAX {
            books.breaches.push(breach.clone());
        }
        drop(books);
        panic!("tower's contract was broken: {breach}");
    }
}

/// One clone of the service: a number for messages, and a place to wait for a permit.
#[derive(Debug)]
pub(super) struct Instance {
    handle: StrictHandle,
    waiter: Waiter,
    number: usize,
    cloned_from: Option<usize>,
}

impl Instance {
    pub(super) fn first(permits: usize) -> Self {
        let books = Books {
            permits,
            ..Books::default()
        };
        Self::of(
            StrictHandle {
                books: Arc::new(Mutex::new(books)),
                waiters: Waiters::default(),
            },
            None,
        )
    }

    pub(super) fn child(&self) -> Self {
        Self::of(self.handle.clone(), Some(self.number))
    }

    fn of(handle: StrictHandle, cloned_from: Option<usize>) -> Self {
        let number = {
            let mut books = handle.books.lock();
            books.instances += 1;
            books.instances
        };
        Self {
            waiter: handle.waiters.waiter(),
            handle,
            number,
            cloned_from,
        }
    }

    pub(super) fn handle(&self) -> &StrictHandle {
        &self.handle
    }

    pub(super) fn poll_reserve(&self, cx: &Context<'_>) -> Poll<Permit> {
        self.waiter.wait(cx.waker());
        let mut books = self.handle.books.lock();
        if books.reserved + books.in_flight >= books.permits {
            return Poll::Pending;
        }
        books.reserved += 1;
        books.reservations += 1;
        drop(books);
        self.waiter.stop();
        Poll::Ready(Permit {
            handle: self.handle.clone(),
            in_call: false,
        })
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instance {}", self.number)?;
        match self.cloned_from {
            Some(parent) => write!(f, " (a clone of instance {parent})"),
            None => Ok(()),
        }
    }
}

/// One permit, given back on drop.
#[derive(Debug)]
pub(super) struct Permit {
    handle: StrictHandle,
    in_call: bool,
}

impl Permit {
    pub(super) fn handle(&self) -> &StrictHandle {
        &self.handle
    }

    pub(super) fn move_into_call(&mut self) {
        let mut books = self.handle.books.lock();
        books.reserved -= 1;
        books.in_flight += 1;
        books.calls += 1;
        self.in_call = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut books = self.handle.books.lock();
        if self.in_call {
            books.in_flight -= 1;
        } else {
            books.reserved -= 1;
        }
        drop(books);
        self.handle.waiters.wake_all();
    }
}
