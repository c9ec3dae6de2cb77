use super::Evict;
use super::list::{Links, List, NONE};
use super::marks::Marks;

/// SIEVE: one queue, and a hand that walks from its tail to its head, clears what was hit and
/// evicts what was not.
///
/// Source: Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024, algorithm 1.
#[derive(Debug)]
pub(crate) struct Sieve {
    links: Links,
    queue: List,
    marks: Marks,
    /// Where the hand goes on; [`NONE`] starts at the tail.
    hand: u32,
}

impl Default for Sieve {
    fn default() -> Self {
        Self {
            links: Links::default(),
            queue: List::default(),
            marks: Marks::default(),
            hand: NONE,
        }
    }
}

impl Evict for Sieve {
    #[inline]
    fn touch(&self, slot: u32) {
        self.marks.touch(slot);
    }

    fn insert(&mut self, slot: u32, _hash: u32) {
        self.marks.set(slot, 0);
        self.links.push_head(&mut self.queue, slot);
    }

    fn remove(&mut self, slot: u32) {
        if self.hand == slot {
            self.hand = self.links.newer(slot);
        }
        self.links.unlink(&mut self.queue, slot);
    }

    fn evict(&mut self, _hashes: &[u32]) -> Option<u32> {
        let tail = self.queue.tail()?;
        let mut victim = if self.hand == NONE { tail } else { self.hand };
        while self.marks.hits(victim) > 0 {
            self.marks.set(victim, 0);
            victim = match self.links.newer(victim) {
                NONE => tail,
                newer => newer,
            };
        }
        self.hand = victim;
        self.remove(victim);
        Some(victim)
    }

    fn reserve(&mut self, slots: usize) {
        self.links.reserve(slots);
        self.marks.reserve(slots);
    }
}
