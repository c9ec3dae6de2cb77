//! A part of the keys: a table of slots, each found by its key's hash, none ever moved.

use std::borrow::{Borrow, ToOwned};

use hashbrown::HashTable;

use crate::Breaker;
use crate::breaker::Forgetting;
use crate::sync::{AtomicU64, Ordering};

/// To forget a breaker, the *hand* goes round over the slots until it finds one that may go, so where
/// many may each costs a few looks. Where it finds none, the part is *barren* for a while: a slot
/// that was asked for lately cannot go before its idle time is over, and an open breaker only after
/// a call, from which the idle time begins anew. What may change at any moment are breakers that
/// someone holds; these are remembered, and looked at each time.
pub(super) struct Shard<K: ?Sized + ToOwned> {
    /// Places in `slots`, by the hash of the key.
    places: HashTable<usize>,
    slots: Vec<Slot<K>>,
    hand: usize,
    barren: Barren,
}

pub(super) struct Slot<K: ?Sized + ToOwned> {
    hash: u64,
    pub(super) key: K::Owned,
    pub(super) breaker: Breaker,
    /// When it was asked for last, in nanoseconds; up to an eighth of the idle time ago.
    used: AtomicU64,
}

/// What the last round found that found nothing.
#[derive(Default)]
struct Barren {
    /// It holds while breakers are not changed from outside, that is at this count of changes, …
    changes: u64,
    /// … and before this moment, for all but …
    before: u64,
    /// … the places of those that were idle and held by someone.
    held: Vec<usize>,
}

/// Whether a slot may go.
enum Fate {
    Now,
    /// When whoever holds it lets go of it, if then.
    Held,
    /// At this moment or later.
    From(u64),
}

impl<K: ?Sized + ToOwned + Eq> Shard<K> {
    pub(super) fn new() -> Self {
        Self {
            places: HashTable::new(),
            slots: Vec::new(),
            hand: 0,
            barren: Barren::default(),
        }
    }

    pub(super) fn find(&self, hash: u64, key: &K) -> Option<&Slot<K>> {
        let same = |place: &usize| self.slots[*place].key.borrow() == key;
        let place = self.places.find(hash, same)?;
        Some(&self.slots[*place])
    }

    /// Forgets a slot that may go; false if there is none. A breaker that someone holds stays.
    pub(super) fn evict(&mut self, now: u64, idle_after: u64, changes: u64) -> bool {
        let place = if self.barren.changes == changes && now < self.barren.before {
            let mut held = self.barren.held.iter().copied();
            held.find(|place| matches!(self.slots[*place].fate(now, idle_after), Fate::Now))
        } else {
            self.go_round(now, idle_after, changes)
        };
        if let Some(place) = place {
            self.take_out(place);
        }
        place.is_some()
    }

    fn go_round(&mut self, now: u64, idle_after: u64, changes: u64) -> Option<usize> {
        // Who is asked for from now on cannot go sooner, and notes that so much too early at most.
        let mut before = now.saturating_add(idle_after - idle_after / 8);
        let mut held = Vec::new();
        for _ in 0..self.slots.len() {
            let place = self.hand;
            self.hand = (place + 1) % self.slots.len();
            match self.slots[place].fate(now, idle_after) {
                Fate::Now => return Some(place),
                Fate::Held => held.push(place),
                Fate::From(moment) => before = before.min(moment),
            }
        }
        self.barren = Barren {
            changes,
            before,
            held,
        };
        None
    }

    /// Before which moment nothing here can go, as the last look had it; 0 where that is not known.
    pub(super) fn nothing_before(&self) -> u64 {
        if self.barren.held.is_empty() {
            self.barren.before
        } else {
            0
        }
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

    pub(super) fn copied(&self) -> Vec<(K::Owned, Breaker)> {
        let of = |slot: &Slot<K>| (slot.key.borrow().to_owned(), slot.breaker.clone());
        self.slots.iter().map(of).collect()
    }

    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot<K>> {
        self.slots.iter_mut()
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
        // It names places.
        self.barren = Barren::default();
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

    /// It may go once it was not asked for during the idle time, and its breaker is as good as a new
    /// one.
    fn fate(&self, now: u64, idle_after: u64) -> Fate {
        let used = self.used.load(Ordering::Relaxed);
        if now.saturating_sub(used) <= idle_after {
            return Fate::From(used.saturating_add(idle_after).saturating_add(1));
        }
        match self.breaker.forgetting() {
            Forgetting::Held => Fate::Held,
            Forgetting::From(moment) if moment.as_nanos() <= now => Fate::Now,
            Forgetting::From(moment) => Fate::From(moment.as_nanos()),
            Forgetting::Never => Fate::From(u64::MAX),
        }
    }
}
