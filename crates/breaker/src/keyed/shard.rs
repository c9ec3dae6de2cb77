//! A part of the keys: a table of slots, each found by its key's hash, none ever moved.

use std::borrow::{Borrow, ToOwned};

use hashbrown::HashTable;

use crate::Breaker;
use crate::sync::{AtomicU64, Ordering};

/// Slots are only added until there are `max` of them; after that, a new key needs one whose
/// breaker can be forgotten. The *hand* goes round over the slots and looks at so many for each new
/// key, so a flood of new keys costs each of them the same, and finds every slot in the end.
pub(super) struct Shard<K: ?Sized + ToOwned> {
    max: usize,
    /// Places in `slots`, by the hash of the key.
    places: HashTable<usize>,
    slots: Vec<Slot<K>>,
    hand: usize,
}

pub(super) struct Slot<K: ?Sized + ToOwned> {
    hash: u64,
    pub(super) key: K::Owned,
    pub(super) breaker: Breaker,
    /// When it was asked for last, in nanoseconds; up to an eighth of the idle time ago.
    used: AtomicU64,
}

/// How a new key came to its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    Evicted,
    None,
}

/// Slots that are looked at for one new key.
const LOOKS: usize = 64;

impl<K: ?Sized + ToOwned + Eq> Shard<K> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            places: HashTable::new(),
            slots: Vec::new(),
            hand: 0,
        }
    }

    pub(super) fn find(&self, hash: u64, key: &K) -> Option<&Slot<K>> {
        let same = |place: &usize| self.slots[*place].key.borrow() == key;
        let place = self.places.find(hash, same)?;
        Some(&self.slots[*place])
    }

    /// Makes room for one more slot, by forgetting one that `may_go` if there must be. A breaker
    /// that someone holds stays.
    pub(super) fn make_room(&mut self, may_go: impl Fn(&Slot<K>) -> bool) -> Room {
        if self.slots.len() < self.max {
            return Room::Free;
        }
        for _ in 0..self.slots.len().min(LOOKS) {
            let place = self.hand;
            self.hand = (place + 1) % self.slots.len();
            if may_go(&self.slots[place]) {
                self.take_out(place);
                return Room::Evicted;
            }
        }
        Room::None
    }

    /// Adds a slot, for which there is room.
    pub(super) fn insert(&mut self, hash: u64, key: K::Owned, breaker: Breaker, now: u64) {
        let slot = Slot {
            hash,
            key,
            breaker,
            used: AtomicU64::new(now),
        };
        let place = self.slots.len();
        self.slots.push(slot);
        let slots = &self.slots;
        self.places
            .insert_unique(hash, place, |place| slots[*place].hash);
    }

    /// Forgets the slot of `key`; whether there was one.
    pub(super) fn remove(&mut self, hash: u64, key: &K) -> bool {
        let slots = &self.slots;
        let same = |place: &usize| slots[*place].key.borrow() == key;
        let place = self.places.find(hash, same).copied();
        place.map(|place| self.take_out(place)).is_some()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot<K>> {
        self.slots.iter()
    }

    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot<K>> {
        self.slots.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The last slot takes the place of the one that goes.
    fn take_out(&mut self, place: usize) {
        let last = self.slots.len() - 1;
        let (gone, moved) = (self.slots[place].hash, self.slots[last].hash);
        if let Ok(entry) = self.places.find_entry(gone, |other| *other == place) {
            entry.remove();
        }
        if place != last
            && let Some(other) = self.places.find_mut(moved, |other| *other == last)
        {
            *other = place;
        }
        self.slots.swap_remove(place);
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
    }
}

impl<K: ?Sized + ToOwned> Slot<K> {
    /// Notes that it was asked for. Written seldom, so that calls of one key share its cache line.
    pub(super) fn touch(&self, now: u64, idle_after: u64) {
        // Relaxed: an estimate.
        let used = self.used.load(Ordering::Relaxed);
        if now.saturating_sub(used) > idle_after / 8 {
            self.used.store(now, Ordering::Relaxed);
        }
    }

    /// Whether it was not asked for during the idle time, and its breaker is as good as a new one.
    pub(super) fn may_go(&self, now: u64, idle_after: u64) -> bool {
        let idle = now.saturating_sub(self.used.load(Ordering::Relaxed));
        idle > idle_after && self.breaker.is_forgettable()
    }
}
