//! The states of many keys, for any algorithm: a hash table in shards, each behind a small lock,
//! that never grows and is never swept.
//!
//! As in the lock-free table of token buckets, a state that says nothing any more is as good as
//! absent, and each key has two places to stand: two *groups* of eight slots in its shard. A new key
//! takes a slot there that is free or idle; if there is none, one of the sixteen moves to its own
//! other group.

use parking_lot::{Mutex, MutexGuard};
use stanchion_core::Instant;

use super::scale_down;
use super::when_full::Room;

/// Slots of a group: the tags of one fill a cache line.
const GROUP: usize = 8;
/// Slots for every ten keys.
const SLOTS_PER_TEN_KEYS: usize = 14;
/// A shard has at least so many groups, so that chance fills none much more than another.
const GROUPS_MIN: usize = 512;
const SHARDS_MAX: usize = 64;
/// The tag of a slot that was never used.
const FREE: u64 = 0;

pub(super) struct Store<S> {
    shards: Box<[Padded<S>]>,
}

/// A shard on cache lines of its own.
#[repr(align(128))]
struct Padded<S>(Mutex<Shard<S>>);

/// Parallel lists, so that a search reads nothing but tags.
pub(super) struct Shard<S> {
    /// The hash of the key in each slot.
    tags: Box<[u64]>,
    /// The nanosecond from which on the state in each slot says nothing.
    idle_from: Box<[u64]>,
    states: Box<[S]>,
    /// The latest `idle_from` of a state that lost its slot. Time here never stands before it, so a
    /// clock that goes back finds nothing forgotten.
    floor: u64,
}

impl<S> Store<S> {
    /// Room for so many keys; `idle` makes the state of a slot that nobody uses.
    pub(super) fn new(max_keys: usize, idle: impl Fn() -> S) -> Self {
        let slots = max_keys.saturating_mul(SLOTS_PER_TEN_KEYS).div_ceil(10);
        let groups = slots.div_ceil(GROUP).max(2);
        let shards = (groups / GROUPS_MIN).clamp(1, SHARDS_MAX);
        let slots = groups.div_ceil(shards) * GROUP;
        let shard = |_| {
            Padded(Mutex::new(Shard {
                tags: vec![FREE; slots].into(),
                idle_from: vec![0; slots].into(),
                states: (0..slots).map(|_| idle()).collect(),
                floor: 0,
            }))
        };
        Self {
            shards: (0..shards).map(shard).collect(),
        }
    }

    /// Bytes of all slots, without what a state has on the heap.
    pub(super) fn bytes(&self) -> usize {
        let slots: usize = self
            .shards
            .iter()
            .map(|shard| shard.0.lock().tags.len())
            .sum();
        size_of_val(&*self.shards) + slots * (2 * size_of::<u64>() + size_of::<S>())
    }

    /// Keys whose state says something.
    pub(super) fn live(&self, now: Instant) -> usize {
        let live_in = |shard: &Padded<S>| {
            let shard = shard.0.lock();
            let now = shard.time(now).as_nanos();
            let used = shard.tags.iter().zip(&shard.idle_from);
            used.filter(|(tag, from)| **tag != FREE && **from > now)
                .count()
        };
        self.shards.iter().map(live_in).sum()
    }

    /// Lets `rewrite` change each state that says something, and tell from when on it does not. The
    /// others are forgotten.
    pub(super) fn rewrite(
        &self,
        now: Instant,
        idle: impl Fn() -> S,
        mut rewrite: impl FnMut(&mut S, Instant) -> Instant,
    ) {
        for shard in &self.shards {
            let mut shard = shard.0.lock();
            let now = shard.time(now);
            for slot in 0..shard.tags.len() {
                let idle_from = shard.idle_from[slot];
                if idle_from > now.as_nanos() {
                    let until = rewrite(&mut shard.states[slot], now);
                    shard.keep_until(slot, until);
                } else if shard.tags[slot] != FREE {
                    shard.floor = shard.floor.max(idle_from);
                    shard.clear(slot, idle());
                }
            }
        }
    }

    /// Locks the shard of a key.
    pub(super) fn lock(&self, hash: u64) -> MutexGuard<'_, Shard<S>> {
        let shard = scale_down(hash, self.shards.len());
        self.shards[shard].0.lock()
    }
}

impl<S> Shard<S> {
    /// `now`, or the moment that time here may not go back behind.
    pub(super) fn time(&self, now: Instant) -> Instant {
        now.max(Instant::from_nanos(self.floor))
    }

    /// The slot of a key.
    pub(super) fn find(&self, hash: u64) -> Option<usize> {
        let tag = tag(hash);
        let (first, second) = self.homes(tag);
        [first, second].into_iter().find_map(|group| {
            let tags = &self.tags[group * GROUP..][..GROUP];
            let place = tags.iter().position(|seen| *seen == tag)?;
            Some(group * GROUP + place)
        })
    }

    pub(super) fn state(&mut self, slot: usize) -> &mut S {
        &mut self.states[slot]
    }

    /// Notes from when on the state in `slot`, after what was just taken, says nothing.
    pub(super) fn keep_until(&mut self, slot: usize, idle_from: Instant) {
        self.idle_from[slot] = idle_from.as_nanos();
    }

    /// Makes a key of `slot` forgotten.
    pub(super) fn clear(&mut self, slot: usize, idle: S) {
        self.tags[slot] = FREE;
        self.idle_from[slot] = 0;
        self.states[slot] = idle;
    }

    /// Gives a new key, which has no slot, the state `new` in one of its own, which says something
    /// `until` then; if there is room, or `evict` makes some.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        new: S,
        now: Instant,
        until: Instant,
        evict: bool,
    ) -> Room {
        let (room, slot) = self.room(hash, now, evict);
        if let Room::None(_) = room {
            return room;
        }
        if room == Room::Free {
            self.floor = self.floor.max(self.idle_from[slot]);
        }
        self.tags[slot] = tag(hash);
        self.idle_from[slot] = until.as_nanos();
        self.states[slot] = new;
        room
    }

    /// Finds room for a new key: a slot that nobody uses, by moving another key if need be, or the
    /// one to be evicted. It stays there for [`insert`](Self::insert) as long as the lock is held.
    pub(super) fn room(&mut self, hash: u64, now: Instant, evict: bool) -> (Room, usize) {
        let now = now.as_nanos();
        let (first, second) = self.homes(tag(hash));
        let slots = || slots_of(first).chain(slots_of(second));
        // A slot that was never used has been idle since ever.
        let soonest = slots().min_by_key(|slot| self.idle_from[*slot]);
        let soonest = soonest.unwrap_or(first * GROUP);
        let free_at = self.idle_from[soonest];
        if free_at <= now {
            (Room::Free, soonest)
        } else if let Some(slot) = slots().find(|slot| self.move_away(*slot, now)) {
            (Room::Free, slot)
        } else if evict {
            (Room::Evicted, soonest)
        } else {
            (Room::None(Instant::from_nanos(free_at)), soonest)
        }
    }

    /// Moves the key in `slot` to its other group, if there is a slot that nobody uses; then this
    /// one holds what that one held.
    fn move_away(&mut self, slot: usize, now: u64) -> bool {
        let (one, two) = self.homes(self.tags[slot]);
        let other = if slot / GROUP == one { two } else { one };
        let Some(free) = slots_of(other).find(|slot| self.idle_from[*slot] <= now) else {
            return false;
        };
        self.tags.swap(slot, free);
        self.idle_from.swap(slot, free);
        self.states.swap(slot, free);
        true
    }

    /// The two groups in which a key may stand.
    fn homes(&self, tag: u64) -> (usize, usize) {
        let groups = self.tags.len() / GROUP;
        // The upper bits tell the shard; two other hashes of all bits tell the groups.
        let first = scale_down(tag.wrapping_mul(0xd6e8_feb8_6659_fd93), groups);
        let mixed = (tag ^ (tag >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let second = scale_down(mixed, groups - 1);
        (first, second + usize::from(second >= first))
    }
}

fn slots_of(group: usize) -> std::ops::Range<usize> {
    group * GROUP..(group + 1) * GROUP
}

/// A hash that is not [`FREE`].
fn tag(hash: u64) -> u64 {
    hash.max(1)
}
