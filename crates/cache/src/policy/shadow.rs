use hashbrown::HashTable;

use super::Evict;
use super::w_tiny_lfu::WTinyLfu;
use crate::hash::spread;

/// A cache without values, that tells what a window would have hit.
#[derive(Debug)]
pub(crate) struct Shadow {
    order: WTinyLfu,
    /// The key of each slot; a key is its short hash.
    hashes: Vec<u32>,
    slots: HashTable<u32>,
    capacity: usize,
}

impl Shadow {
    /// # Panics
    /// If `capacity` is 0.
    pub(crate) fn new(window_percent: u8, capacity: usize) -> Self {
        assert!(capacity > 0, "a shadow of capacity 0");
        let mut order = WTinyLfu::new(window_percent);
        order.reserve(capacity);
        Self {
            order,
            hashes: Vec::with_capacity(capacity),
            slots: HashTable::with_capacity(capacity),
            capacity,
        }
    }

    /// Asks for a key, which is there afterwards; whether it was before.
    pub(crate) fn access(&mut self, hash: u32) -> bool {
        let hashes = &self.hashes;
        let known = |slot: &u32| hashes[*slot as usize] == hash;
        if let Some(slot) = self.slots.find(spread(hash), known) {
            self.order.touch(*slot);
            return true;
        }
        let slot = self.free_slot();
        match self.hashes.get_mut(slot as usize) {
            Some(place) => *place = hash,
            None => self.hashes.push(hash),
        }
        self.order.insert(slot, hash);
        let hashes = &self.hashes;
        self.slots
            .insert_unique(spread(hash), slot, |other| spread(hashes[*other as usize]));
        false
    }

    fn free_slot(&mut self) -> u32 {
        if self.hashes.len() < self.capacity {
            self.order.make_room();
            return u32::try_from(self.hashes.len()).unwrap_or(u32::MAX);
        }
        let victim = self
            .order
            .evict(&self.hashes)
            .expect("a shadow that is full has a victim");
        let hash = self.hashes[victim as usize];
        if let Ok(found) = self
            .slots
            .find_entry(spread(hash), |other| *other == victim)
        {
            found.remove();
        }
        victim
    }
}
