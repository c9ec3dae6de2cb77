use std::array;

use super::Evict;
use super::list::{Links, List, reserve};

/// Least frequently used, and of those the least recently used.
///
/// One list for each number of hits, up to 255, from where an entry goes no further; so each step
/// takes constant time. Nothing ages: what was hot once stays until the cache is cleared, which is
/// what LFU means and why it is rarely the one to take.
#[derive(Debug)]
pub(crate) struct Lfu {
    links: Links,
    counts: Vec<u8>,
    by_count: Box<[List; COUNTS]>,
}

const COUNTS: usize = u8::MAX as usize + 1;

impl Default for Lfu {
    fn default() -> Self {
        Self {
            links: Links::default(),
            counts: Vec::new(),
            by_count: Box::new(array::from_fn(|_| List::default())),
        }
    }
}

impl Evict for Lfu {
    fn touch(&self, _slot: u32) {}

    fn hit(&mut self, slot: u32) {
        self.remove(slot);
        let count = &mut self.counts[slot as usize];
        *count = count.saturating_add(1);
        let list = &mut self.by_count[usize::from(*count)];
        self.links.push_head(list, slot);
    }

    fn insert(&mut self, slot: u32, _hash: u32) {
        match self.counts.get_mut(slot as usize) {
            Some(count) => *count = 0,
            None => self.counts.push(0),
        }
        self.links.push_head(&mut self.by_count[0], slot);
    }

    fn remove(&mut self, slot: u32) {
        let list = &mut self.by_count[usize::from(self.counts[slot as usize])];
        self.links.unlink(list, slot);
    }

    fn evict(&mut self, _hashes: &[u32]) -> Option<u32> {
        let victim = self.by_count.iter().find_map(List::tail)?;
        self.remove(victim);
        Some(victim)
    }

    fn reserve(&mut self, slots: usize) {
        self.links.reserve(slots);
        reserve(&mut self.counts, slots);
    }
}
