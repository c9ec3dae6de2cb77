//! The keys in parts, each behind a lock, and as many together as was asked for.

use std::borrow::{Borrow, ToOwned};
use std::hash::{BuildHasher, Hash, RandomState};

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use super::shard::Shard;
use crate::Breaker;
use crate::sync::{AtomicU64, Ordering};

/// A key belongs to one part. Slots are shared out among the parts as keys come: once all are
/// taken, a new key needs one whose breaker can be forgotten, of its own part or of another.
///
/// That there is none is said only when it is so. What was found out by looking is kept with the
/// moment from which time alone could have changed it (see [`Shard`]), so a flood of keys looks at
/// each part again only when that may help.
pub(super) struct Table<K: ?Sized + ToOwned> {
    max: u64,
    idle_after: u64,
    hasher: RandomState,
    parts: Box<[RwLock<Shard<K>>]>,
    /// Slots that are taken.
    taken: AtomicU64,
    /// Goes up when someone was given breakers to change, so that what was found no longer holds.
    changes: AtomicU64,
    /// Held by whoever looks through all parts: who holds it may lock a second part, and nobody
    /// else does.
    looking: Mutex<Nothing>,
}

/// At this count of changes there was no slot to be had in any part before that moment.
#[derive(Default)]
struct Nothing {
    changes: u64,
    before: u64,
}

/// What became of a key that asks for its breaker.
pub(super) enum Found {
    Known(Breaker),
    Made { breaker: Breaker, evicted: bool },
    NoRoom,
}

/// How a new key came to its slot.
enum Room {
    Free,
    Evicted,
}

/// Keys for each part: so few that all of them can be looked at.
const KEYS_PER_PART: usize = 1 << 10;

impl<K: ?Sized + ToOwned + Hash + Eq> Table<K> {
    pub(super) fn new(max: usize, idle_after: u64) -> Self {
        let parts = max.div_ceil(KEYS_PER_PART);
        Self {
            max: max as u64,
            idle_after,
            hasher: RandomState::new(),
            parts: (0..parts).map(|_| RwLock::new(Shard::new())).collect(),
            taken: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            looking: Mutex::new(Nothing::default()),
        }
    }

    /// The breaker of `key`, by `make` if there is none yet.
    pub(super) fn find_or_make(&self, key: &K, now: u64, make: impl FnOnce() -> Breaker) -> Found {
        let hash = self.hasher.hash_one(key);
        let part = self.part(hash);
        if let Some(slot) = part.read().find(hash, key) {
            slot.touch(now, self.idle_after);
            return Found::Known(slot.breaker.clone());
        }
        self.make(part, hash, key, now, make)
    }

    /// The breaker of `key`, if there is one, to be changed at will.
    pub(super) fn find(&self, key: &K) -> Option<Breaker> {
        let hash = self.hasher.hash_one(key);
        let part = self.part(hash).read();
        let breaker = part.find(hash, key)?.breaker.clone();
        self.has_changed();
        Some(breaker)
    }

    /// Forgets the breaker of `key`; whether there was one.
    pub(super) fn forget(&self, key: &K) -> bool {
        let hash = self.hasher.hash_one(key);
        let found = self.part(hash).write().remove(hash, key);
        if found {
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        found
    }

    pub(super) fn len(&self) -> usize {
        usize::try_from(self.taken.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Shows all keys and breakers to `see`, without a lock.
    pub(super) fn for_each(&self, mut see: impl FnMut(&K, &Breaker)) {
        for part in &self.parts {
            let all: Vec<(K::Owned, Breaker)> = part.read().copied();
            for (key, breaker) in all {
                see(key.borrow(), &breaker);
            }
        }
    }

    /// Has `change` go over all breakers, part by part, each locked.
    pub(super) fn change_each(&self, mut change: impl FnMut(&K, &mut Breaker)) {
        for part in &self.parts {
            let mut part = part.write();
            for slot in part.slots_mut() {
                change(slot.key.borrow(), &mut slot.breaker);
            }
            self.has_changed();
        }
    }

    /// To be said under a lock of the part whose breakers someone can change from then on. As long
    /// as they are held they are looked at anyway.
    pub(super) fn has_changed(&self) {
        // Relaxed, here and there: the part's lock orders it.
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    #[cold]
    fn make(
        &self,
        part: &RwLock<Shard<K>>,
        hash: u64,
        key: &K,
        now: u64,
        make: impl FnOnce() -> Breaker,
    ) -> Found {
        let mut own = part.write();
        if let Some(slot) = own.find(hash, key) {
            return Found::Known(slot.breaker.clone());
        }
        if let Some(room) = self.room_in(&mut own, now) {
            return insert(own, hash, key, now, make(), room);
        }
        drop(own);
        let mut nothing = self.looking.lock();
        let mut own = part.write();
        if let Some(slot) = own.find(hash, key) {
            return Found::Known(slot.breaker.clone());
        }
        let room = self.room_in(&mut own, now);
        match room.or_else(|| self.room_elsewhere(part, &own, &mut nothing, now)) {
            Some(room) => insert(own, hash, key, now, make(), room),
            None => Found::NoRoom,
        }
    }

    /// A slot that was never taken, or one of this part.
    fn room_in(&self, part: &mut Shard<K>, now: u64) -> Option<Room> {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if taken.is_ok() {
            return Some(Room::Free);
        }
        let changes = self.changes.load(Ordering::Relaxed);
        let evicted = part.evict(now, self.idle_after, changes);
        evicted.then_some(Room::Evicted)
    }

    /// A slot of another part than `own`, where there is none.
    fn room_elsewhere(
        &self,
        part: &RwLock<Shard<K>>,
        own: &Shard<K>,
        nothing: &mut Nothing,
        now: u64,
    ) -> Option<Room> {
        let changes = self.changes.load(Ordering::Relaxed);
        if nothing.changes == changes && now < nothing.before {
            return None;
        }
        let mut before = own.nothing_before();
        for other in self
            .parts
            .iter()
            .filter(|other| !std::ptr::eq(*other, part))
        {
            let mut other = other.write();
            if other.evict(now, self.idle_after, changes) {
                return Some(Room::Evicted);
            }
            before = before.min(other.nothing_before());
        }
        *nothing = Nothing { changes, before };
        None
    }

    fn part(&self, hash: u64) -> &RwLock<Shard<K>> {
        // By the middle bits: the part's own table takes the others.
        let index = usize::try_from(hash >> 32).unwrap_or(0) % self.parts.len();
        &self.parts[index]
    }
}

fn insert<K: ?Sized + ToOwned + Eq>(
    mut part: RwLockWriteGuard<'_, Shard<K>>,
    hash: u64,
    key: &K,
    now: u64,
    breaker: Breaker,
    room: Room,
) -> Found {
    part.insert(hash, key.to_owned(), breaker.clone(), now);
    Found::Made {
        breaker,
        evicted: matches!(room, Room::Evicted),
    }
}
