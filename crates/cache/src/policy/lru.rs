use super::Evict;
use super::list::{Links, List};

/// Least recently used: a hit moves the entry to the head, and needs the exclusive lock for it.
#[derive(Debug, Default)]
pub(crate) struct Lru {
    links: Links,
    queue: List,
}

impl Evict for Lru {
    fn touch(&self, _slot: u32) {}

    fn hit(&mut self, slot: u32) {
        self.links.unlink(&mut self.queue, slot);
        self.links.push_head(&mut self.queue, slot);
    }

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
