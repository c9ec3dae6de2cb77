use super::Evict;
use super::list::{Links, List};

/// First in, first out: a hit changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Fifo {
    links: Links,
    queue: List,
}

impl Evict for Fifo {
    fn touch(&self, _slot: u32) {}

    fn insert(&mut self, slot: u32, _hash: u32) {
        self.links.push_head(&mut self.queue, slot);
    }

    fn remove(&mut self, slot: u32) {
        self.links.unlink(&mut self.queue, slot);
    }

    fn evict(&mut self, _hashes: &[u32]) -> Option<u32> {
        let victim = self.queue.tail()?;
        self.remove(victim);
        Some(victim)
    }

    fn reserve(&mut self, slots: usize) {
        self.links.reserve(slots);
    }
}
