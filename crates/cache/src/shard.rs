//! The entries of one shard: a table from keys to slots, the slots, and the order in which they
//! leave. Knows no lock and no clock.

use std::borrow::Borrow;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashTable;
use stanchion_core::Instant;

use crate::deadline::Deadline;
use crate::hash::spread;
use crate::policy::{Evict, NONE, Order, Policy, reserve};
use crate::refresh::Age;
use crate::tags::Tags;
use crate::watches::Watches;

/// Everything about an entry stands in columns, a slot being the same place in each; a slot that
/// was given up is used again, so a full shard allocates nothing.
#[derive(Debug)]
pub(crate) struct Shard<K, V> {
    table: HashTable<u32>,
    slots: Vec<Slot<K, V>>,
    /// The short hash of each slot's key.
    hashes: Vec<u32>,
    /// The weight of each entry, where weights differ.
    weights: Option<Vec<u32>>,
    /// When each entry was last used, in nanoseconds, where that matters. Relaxed: the last of two
    /// readers who use an entry at once need not be the one who wins.
    used_at: Option<Vec<AtomicU64>>,
    /// How each entry ages, where values are loaded anew.
    ages: Option<Vec<Age>>,
    /// From the first entry on that bears a tag.
    tags: Option<Box<Tags>>,
    /// The last slot that was given up, each of which names the one before it.
    free: u32,
    /// What the entries weigh together.
    weight: u64,
    order: Order,
    /// How many slots to make room for by doubling; beyond, room is made in small steps.
    expected: usize,
    /// Where the search for expired entries goes on.
    hand: u32,
    pub(crate) watches: Watches<K, V>,
}

#[derive(Debug)]
enum Slot<K, V> {
    Free {
        next: u32,
    },
    Used {
        deadline: Deadline,
        key: K,
        value: V,
    },
}

/// What is kept of an entry besides key and value.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) weight: u32,
    pub(crate) deadline: Deadline,
    pub(crate) now: Instant,
    pub(crate) age: Age,
    /// Whether to replace a value counts as a use of the entry.
    pub(crate) is_use: bool,
}

/// Which columns a shard has beside those that all have.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    pub(crate) weights: bool,
    pub(crate) used_at: bool,
    pub(crate) ages: bool,
}

/// An entry that was taken out.
pub(crate) struct Taken<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) weight: u64,
}

const SLOTS_AT_START: usize = 16;

/// One slot is left out, as [`NONE`] is none.
const SLOTS_MAX: usize = u32::MAX as usize;

impl<K, V> Shard<K, V> {
    pub(crate) fn new(policy: Policy, expected: usize, columns: Columns) -> Self {
        Self {
            table: HashTable::new(),
            slots: Vec::new(),
            hashes: Vec::new(),
            weights: columns.weights.then(Vec::new),
            used_at: columns.used_at.then(Vec::new),
            ages: columns.ages.then(Vec::new),
            tags: None,
            free: NONE,
            weight: 0,
            order: Order::new(policy),
            expected,
            hand: 0,
            watches: Watches::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) const fn weight(&self) -> u64 {
        self.weight
    }

    #[inline]
    pub(crate) fn find<Q>(&self, hash: u32, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let same = |slot: &u32| match &self.slots[*slot as usize] {
            Slot::Used { key: other, .. } => other.borrow() == key,
            Slot::Free { .. } => false,
        };
        self.table.find(spread(hash), same).copied()
    }

    /// The value in `slot`; `None` once its time is over. The clock is read only if it has one.
    #[inline]
    pub(crate) fn value(
        &self,
        slot: u32,
        idle: Option<Duration>,
        now: impl Fn() -> Instant,
    ) -> Option<&V> {
        let Slot::Used {
            deadline, value, ..
        } = &self.slots[slot as usize]
        else {
            return None;
        };
        if deadline.has_come(&now) {
            return None;
        }
        if let (Some(idle), Some(used_at)) = (idle, &self.used_at) {
            let used_at = used_at[slot as usize].load(Ordering::Relaxed);
            if Instant::from_nanos(used_at) + idle <= now() {
                return None;
            }
        }
        Some(value)
    }

    /// A hit, under the shared lock.
    #[inline]
    pub(crate) fn touch(&self, slot: u32, now: impl Fn() -> Instant) {
        self.order.touch(slot);
        self.used_now(slot, now);
    }

    /// A hit, under the exclusive lock.
    pub(crate) fn hit(&mut self, slot: u32, now: impl Fn() -> Instant) {
        self.order.hit(slot);
        self.used_now(slot, now);
    }

    fn used_now(&self, slot: u32, now: impl Fn() -> Instant) {
        if let Some(used_at) = &self.used_at {
            used_at[slot as usize].store(now().as_nanos(), Ordering::Relaxed);
        }
    }

    pub(crate) fn weight_of(&self, slot: u32) -> u64 {
        let one = || 1;
        let weights = self.weights.as_ref();
        weights.map_or_else(one, |weights| u64::from(weights[slot as usize]))
    }

    /// Whether no further slot can be had.
    pub(crate) fn is_out_of_slots(&self) -> bool {
        self.free == NONE && self.slots.len() >= SLOTS_MAX
    }

    /// Tells the order that the insertion to come found room.
    pub(crate) fn make_room(&mut self) {
        self.order.make_room();
    }

    /// Puts a key in that is not there, and gives its slot.
    pub(crate) fn insert(&mut self, hash: u32, key: K, value: V, terms: Terms) -> u32 {
        let used = Slot::Used {
            deadline: terms.deadline,
            key,
            value,
        };
        let slot = self.take_slot(used, hash);
        self.set_terms(slot, terms, true);
        self.weight += self.weight_of(slot);
        self.order.insert(slot, hash);
        let hashes = &self.hashes;
        self.table
            .insert_unique(spread(hash), slot, |other| spread(hashes[*other as usize]));
        slot
    }

    /// Puts another value into `slot`, which is in use, and gives the old one with its weight.
    pub(crate) fn replace(&mut self, slot: u32, new: V, terms: Terms) -> Option<(V, u64)> {
        let old_weight = self.weight_of(slot);
        let Slot::Used {
            deadline, value, ..
        } = &mut self.slots[slot as usize]
        else {
            return None;
        };
        *deadline = terms.deadline;
        let old = mem::replace(value, new);
        self.set_terms(slot, terms, terms.is_use);
        self.weight += self.weight_of(slot);
        self.weight -= old_weight;
        if terms.is_use {
            self.order.hit(slot);
        }
        Some((old, old_weight))
    }

    /// Takes what is in `slot` out.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Taken<K, V>> {
        let weight = self.weight_of(slot);
        let taken = self.empty(slot, weight)?;
        self.order.remove(slot);
        Some(taken)
    }

    /// Takes the entry out that has to leave; `None` if there is none.
    pub(crate) fn evict(&mut self, window: u8) -> Option<Taken<K, V>> {
        self.order.set_window(window);
        let slot = self.order.evict(&self.hashes)?;
        let weight = self.weight_of(slot);
        self.empty(slot, weight)
    }

    /// Looks at up to `steps` slots, and takes the first that has expired out.
    pub(crate) fn take_expired(
        &mut self,
        steps: &mut usize,
        idle: Option<Duration>,
        now: Instant,
    ) -> Option<Taken<K, V>> {
        while *steps > 0 && !self.slots.is_empty() {
            *steps -= 1;
            let slot = self.hand;
            self.hand = if (slot as usize) + 1 < self.slots.len() {
                slot + 1
            } else {
                0
            };
            let used = matches!(self.slots[slot as usize], Slot::Used { .. });
            if used && self.value(slot, idle, || now).is_none() {
                return self.remove(slot);
            }
        }
        None
    }

    /// Gives the entry in `slot` these tags instead of those it has.
    pub(crate) fn tag(&mut self, slot: u32, names: &[Arc<str>]) {
        if let Some(tags) = &mut self.tags {
            tags.remove(slot);
        }
        if !names.is_empty() {
            self.tags.get_or_insert_default().insert(slot, names);
        }
    }

    /// The slots of the entries that bear a tag.
    pub(crate) fn bearers(&self, tag: &str) -> Vec<u32> {
        let tags = self.tags.as_ref();
        tags.map(|tags| tags.bearers(tag)).unwrap_or_default()
    }

    pub(crate) fn age(&self, slot: u32) -> Age {
        let ages = self.ages.as_ref();
        ages.map_or_else(Age::default, |ages| ages[slot as usize])
    }

    pub(crate) fn set_age(&mut self, slot: u32, age: Age) {
        if let Some(ages) = &mut self.ages {
            ages[slot as usize] = age;
        }
    }

    /// How many slots there are, in use or not.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// All slots, in use or not.
    pub(crate) fn slot_numbers(&self) -> impl Iterator<Item = u32> + use<K, V> {
        0..u32::try_from(self.slots.len()).unwrap_or(NONE)
    }

    /// The entry in `slot`, expired or not.
    pub(crate) fn entry(&self, slot: u32) -> Option<(&K, &V)> {
        match self.slots.get(slot as usize)? {
            Slot::Used { key, value, .. } => Some((key, value)),
            Slot::Free { .. } => None,
        }
    }

    fn set_terms(&mut self, slot: u32, terms: Terms, is_use: bool) {
        if let Some(weights) = &mut self.weights {
            set(weights, slot, terms.weight);
        }
        if let Some(used_at) = &mut self.used_at {
            let now = terms.now.as_nanos();
            if is_use {
                set(used_at, slot, AtomicU64::new(now));
            }
        }
        if let Some(ages) = &mut self.ages {
            set(ages, slot, terms.age);
        }
    }

    fn take_slot(&mut self, used: Slot<K, V>, hash: u32) -> u32 {
        if self.free != NONE {
            let slot = self.free;
            if let Slot::Free { next } = mem::replace(&mut self.slots[slot as usize], used) {
                self.free = next;
            }
            self.hashes[slot as usize] = hash;
            return slot;
        }
        if self.slots.len() == self.slots.capacity() {
            self.grow();
        }
        self.slots.push(used);
        self.hashes.push(hash);
        u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
    }

    /// Doubles the columns up to what is expected, and then adds a sixteenth at a time.
    fn grow(&mut self) {
        let now = self.slots.len();
        let slots = if now < self.expected {
            (now * 2).max(SLOTS_AT_START).min(self.expected)
        } else {
            now + now / 16 + 1
        };
        reserve(&mut self.slots, slots);
        reserve(&mut self.hashes, slots);
        if let Some(weights) = &mut self.weights {
            reserve(weights, slots);
        }
        if let Some(used_at) = &mut self.used_at {
            reserve(used_at, slots);
        }
        if let Some(ages) = &mut self.ages {
            reserve(ages, slots);
        }
        self.order.reserve(slots);
    }

    fn empty(&mut self, slot: u32, weight: u64) -> Option<Taken<K, V>> {
        let found = self
            .table
            .find_entry(spread(self.hashes[slot as usize]), |other| *other == slot);
        found.ok()?.remove();
        let free = Slot::Free { next: self.free };
        let Slot::Used { key, value, .. } = mem::replace(&mut self.slots[slot as usize], free)
        else {
            return None;
        };
        self.free = slot;
        self.weight -= weight;
        if let Some(tags) = &mut self.tags {
            tags.remove(slot);
        }
        Some(Taken { key, value, weight })
    }
}

fn set<T>(column: &mut Vec<T>, slot: u32, new: T) {
    match column.get_mut(slot as usize) {
        Some(place) => *place = new,
        None => column.push(new),
    }
}
