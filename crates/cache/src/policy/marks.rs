//! What a hit writes: two bits of one byte, and only until they are full.

use std::sync::atomic::{AtomicU8, Ordering};

use super::list::reserve;

/// One byte for each slot.
///
/// | bits | meaning |
/// |---|---|
/// | 7–2 | the queue that the slot is in; changes under the exclusive lock only |
/// | 1–0 | hits since the policy last looked, at most [`HITS_MAX`] |
///
/// Orderings are relaxed: the shard's lock orders what a writer does, and two readers who count at
/// once may lose a hit, which only makes an entry look a little colder. A hot entry is full, so that
/// its hits write nothing and its line stays shared between processors.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    bytes: Vec<AtomicU8>,
}

pub(crate) const HITS_MAX: u8 = 3;

const QUEUE_SHIFT: u32 = 2;

impl Marks {
    #[inline]
    pub(crate) fn touch(&self, slot: u32) {
        let byte = &self.bytes[slot as usize];
        let seen = byte.load(Ordering::Relaxed);
        if seen & HITS_MAX < HITS_MAX {
            byte.store(seen + 1, Ordering::Relaxed);
        }
    }

    /// Sets the queue of `slot`, and its hits to none.
    pub(crate) fn set(&mut self, slot: u32, queue: u8) {
        let byte = AtomicU8::new(queue << QUEUE_SHIFT);
        match self.bytes.get_mut(slot as usize) {
            Some(place) => *place = byte,
            None => self.bytes.push(byte),
        }
    }

    pub(crate) fn queue(&mut self, slot: u32) -> u8 {
        *self.bytes[slot as usize].get_mut() >> QUEUE_SHIFT
    }

    pub(crate) fn hits(&mut self, slot: u32) -> u8 {
        *self.bytes[slot as usize].get_mut() & HITS_MAX
    }

    /// Takes one of the hits of `slot`, which has some, away.
    pub(crate) fn forget_one(&mut self, slot: u32) {
        *self.bytes[slot as usize].get_mut() -= 1;
    }

    pub(crate) fn reserve(&mut self, slots: usize) {
        reserve(&mut self.bytes, slots);
    }
}
