//! What all shards together may hold.

use std::sync::atomic::{AtomicU64, Ordering};

/// One weight for the whole cache: reserved before an entry goes in, given back after it left, so
/// that what is in never exceeds it.
///
/// Orderings are relaxed: the word alone is exact, and the entries themselves are behind locks.
#[derive(Debug)]
pub(crate) struct Budget {
    capacity: AtomicU64,
    used: AtomicU64,
}

impl Budget {
    pub(crate) const fn new(capacity: u64) -> Self {
        Self {
            capacity: AtomicU64::new(capacity),
            used: AtomicU64::new(0),
        }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    pub(crate) fn set_capacity(&self, capacity: u64) {
        self.capacity.store(capacity, Ordering::Relaxed);
    }

    /// What is in, and what was reserved and is about to go in.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Reserves `weight` if there is room for it.
    pub(crate) fn reserve(&self, weight: u64) -> bool {
        let capacity = self.capacity();
        let fits = |used: u64| used.checked_add(weight).filter(|used| *used <= capacity);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }

    pub(crate) fn release(&self, weight: u64) {
        if weight > 0 {
            self.used.fetch_sub(weight, Ordering::Relaxed);
        }
    }
}
