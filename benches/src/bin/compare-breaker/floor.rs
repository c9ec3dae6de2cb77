//! The least that a breaker can do.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use stanchion_core::Clock;

/// Closed: a word that all read, an index that all take, and a slot that is as it was. No
/// generation, no verdict, no permit.
pub(crate) struct BareWindow {
    open: AtomicU64,
    next: Apart<AtomicU64>,
    slots: [AtomicU32; 128],
}

/// On a cache line of its own.
#[repr(align(64))]
struct Apart<T>(T);

impl BareWindow {
    pub(crate) fn new() -> Self {
        Self {
            open: AtomicU64::new(0),
            next: Apart(AtomicU64::new(0)),
            slots: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    #[inline]
    pub(crate) fn succeed(&self) -> bool {
        if self.open.load(Ordering::Acquire) != 0 {
            return false;
        }
        let index = self.next.0.fetch_add(1, Ordering::Relaxed);
        let slot = &self.slots[(index % 128) as usize];
        if slot.load(Ordering::Relaxed) != 0 {
            slot.store(0, Ordering::Relaxed);
        }
        true
    }
}

/// Open: a word, a moment, and the clock. Counts nothing, tells nothing.
pub(crate) struct BareWord {
    until: AtomicU64,
    clock: Clock,
}

impl BareWord {
    pub(crate) fn open() -> Self {
        Self {
            until: AtomicU64::new(u64::MAX),
            clock: Clock::system(),
        }
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.clock.now().as_nanos() >= self.until.load(Ordering::Acquire)
    }
}
