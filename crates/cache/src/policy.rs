//! Who leaves when the cache is full: a choice of algorithms behind one trait.

mod fifo;
mod ghost;
mod lfu;
mod list;
mod lru;
mod marks;
#[cfg(test)]
mod models;
mod s3_fifo;
mod shadow;
mod sieve;
mod sketch;
mod tuner;
mod w_tiny_lfu;

use std::fmt;

use fifo::Fifo;
use lfu::Lfu;
use lru::Lru;
use s3_fifo::S3Fifo;
use sieve::Sieve;
use w_tiny_lfu::WTinyLfu;

pub(crate) use list::{NONE, reserve};
pub(crate) use tuner::Tuner;

/// Which entry leaves when the cache is full.
///
/// A hit under [`Lru`](Self::Lru) and [`Lfu`](Self::Lfu) takes its shard's lock for itself; under
/// all others readers share it, and a hit writes two bits of its entry at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// W-TinyLFU whose window follows the workload: as small as pays under scans and loops, as large
    /// as the cache where only recency counts. The default, and what to take unless measured.
    #[default]
    Adaptive,
    /// Least recently used.
    Lru,
    /// Least frequently used since it was inserted, counted up to 255; of those, the least recently
    /// used. Does not age.
    Lfu,
    /// First in, first out.
    Fifo,
    /// SIEVE: one queue, whose hand spares what was hit since it last came by.
    Sieve,
    /// S3-FIFO: newcomers must be hit twice in a small queue to enter the main one.
    S3Fifo,
    /// W-TinyLFU with a window of 1 %: the most frequent stay.
    WTinyLfu,
}

/// The window of [`Policy::WTinyLfu`], in per cent.
const STATIC_WINDOW: u8 = 1;

/// An order of the slots of one shard, and the rule by which one of them leaves.
///
/// The shard numbers its slots densely from 0, inserts and removes each alternately, and holds its
/// lock exclusively whenever `self` is.
pub(crate) trait Evict {
    /// A hit, under the shared lock.
    fn touch(&self, slot: u32);

    /// A hit, under the exclusive lock.
    fn hit(&mut self, slot: u32) {
        self.touch(slot);
    }

    /// `slot` is taken into use for the key of `hash`; what had to leave for it has left.
    fn insert(&mut self, slot: u32, hash: u32);

    /// `slot` is given up for another reason than [`evict`](Self::evict).
    fn remove(&mut self, slot: u32);

    /// Chooses one slot and removes it; `None` only if there is none. `hashes` has the short hash of
    /// each slot.
    fn evict(&mut self, hashes: &[u32]) -> Option<u32>;

    /// An insertion, which follows, found room, so that nothing leaves for it.
    fn make_room(&mut self) {}

    /// Makes room for `slots` slots.
    fn reserve(&mut self, slots: usize);
}

/// The order of one shard.
pub(crate) enum Order {
    Fifo(Fifo),
    Lfu(Lfu),
    Lru(Lru),
    S3Fifo(S3Fifo),
    Sieve(Sieve),
    WTinyLfu(WTinyLfu),
}

impl Order {
    pub(crate) fn new(policy: Policy) -> Self {
        match policy {
            Policy::Adaptive => Self::WTinyLfu(WTinyLfu::new(tuner::WINDOW_AT_START)),
            Policy::Fifo => Self::Fifo(Fifo::default()),
            Policy::Lfu => Self::Lfu(Lfu::default()),
            Policy::Lru => Self::Lru(Lru::default()),
            Policy::S3Fifo => Self::S3Fifo(S3Fifo::default()),
            Policy::Sieve => Self::Sieve(Sieve::default()),
            Policy::WTinyLfu => Self::WTinyLfu(WTinyLfu::new(STATIC_WINDOW)),
        }
    }

    /// Sets the window of an adaptive order, in per cent; nothing for others.
    pub(crate) fn set_window(&mut self, percent: u8) {
        if let Self::WTinyLfu(order) = self {
            order.set_window(percent);
        }
    }

    fn inner(&mut self) -> &mut dyn Evict {
        match self {
            Self::Fifo(order) => order,
            Self::Lfu(order) => order,
            Self::Lru(order) => order,
            Self::S3Fifo(order) => order,
            Self::Sieve(order) => order,
            Self::WTinyLfu(order) => order,
        }
    }
}

impl Evict for Order {
    #[inline]
    fn touch(&self, slot: u32) {
        match self {
            Self::WTinyLfu(order) => order.touch(slot),
            Self::S3Fifo(order) => order.touch(slot),
            Self::Sieve(order) => order.touch(slot),
            Self::Fifo(_) | Self::Lfu(_) | Self::Lru(_) => {}
        }
    }

    fn hit(&mut self, slot: u32) {
        self.inner().hit(slot);
    }

    fn insert(&mut self, slot: u32, hash: u32) {
        self.inner().insert(slot, hash);
    }

    fn remove(&mut self, slot: u32) {
        self.inner().remove(slot);
    }

    fn evict(&mut self, hashes: &[u32]) -> Option<u32> {
        self.inner().evict(hashes)
    }

    fn make_room(&mut self) {
        self.inner().make_room();
    }

    fn reserve(&mut self, slots: usize) {
        self.inner().reserve(slots);
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Fifo(_) => "Fifo",
            Self::Lfu(_) => "Lfu",
            Self::Lru(_) => "Lru",
            Self::S3Fifo(_) => "S3Fifo",
            Self::Sieve(_) => "Sieve",
            Self::WTinyLfu(_) => "WTinyLfu",
        };
        f.debug_struct(name).finish_non_exhaustive()
    }
}

impl Policy {
    /// Whether a hit changes the order at once, and so needs the lock for itself.
    pub(crate) const fn orders_at_hits(self) -> bool {
        matches!(self, Self::Lru | Self::Lfu)
    }
}
