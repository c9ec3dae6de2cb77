//! Refusals that are remembered: until the moment at which Redis said that a request would pass, it
//! need not be asked again.
//!
//! A refusal stands for requests of the same key that cost as much or more. It is told anew with what
//! is left of the wait, so the moment that callers hear stays the same.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use parking_lot::Mutex;
use stanchion_core::Instant;

use super::granted::Refusal as Told;
use crate::{Reason, Rejected, Status};

const SHARDS: usize = 16;
/// How long a refusal is remembered at most: what others give back or reset shows after that.
pub(super) const REMEMBERED_MAX: Duration = Duration::from_secs(1);

pub(super) struct Refusals {
    hash: RandomState,
    shards: Box<[Mutex<Shard>]>,
    shard_max: usize,
}

#[derive(Default)]
struct Shard {
    keys: HashMap<Box<[u8]>, Refusal>,
    /// Nothing is over before that, so nobody looks for room before.
    room_at: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Refusal {
    cost: u64,
    /// When it is forgotten.
    until: Instant,
    /// When the request would pass, and when all is there again.
    passes_at: Instant,
    reset_at: Instant,
    limit: u64,
    remaining: u64,
    violated: u8,
    worst: u8,
}

impl Refusals {
    /// Of up to so many keys, at least 1.
    pub(super) fn new(max_keys: usize) -> Self {
        let shards = SHARDS.min(max_keys);
        Self {
            hash: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            shard_max: max_keys / shards,
        }
    }

    /// The refusal that still stands for a request of `key`.
    pub(super) fn find(&self, key: &[u8], cost: u64, now: Instant) -> Option<Told> {
        let mut shard = self.shard(key).lock();
        let refusal = *shard.keys.get(key)?;
        if now >= refusal.until {
            shard.keys.remove(key);
            return None;
        }
        (cost >= refusal.cost).then(|| refusal.tell(cost, now))
    }

    /// Remembers what Redis has said just now, if waiting helps and there is room.
    pub(super) fn note(&self, key: &[u8], cost: u64, told: &Told, now: Instant) {
        let rejected = &told.rejected;
        let (Reason::Exceeded, Some(wait), Some(status)) =
            (rejected.reason(), rejected.retry_after(), rejected.status())
        else {
            return;
        };
        let refusal = Refusal {
            cost,
            until: now + wait.min(REMEMBERED_MAX),
            passes_at: now + wait,
            reset_at: now + status.reset_after(),
            limit: status.limit(),
            remaining: status.remaining(),
            violated: told.violated,
            worst: told.worst,
        };
        let mut shard = self.shard(key).lock();
        if let Some(known) = shard.keys.get_mut(key) {
            *known = refusal;
        } else if shard.make_room(self.shard_max, now) {
            shard.keys.insert(key.into(), refusal);
        }
    }

    /// Forgets what was said of `key`.
    pub(super) fn forget(&self, key: &[u8]) {
        self.shard(key).lock().keys.remove(key);
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        let hash = self.hash.hash_one(key);
        let shards = self.shards.len() as u64;
        let index = usize::try_from(hash % shards).expect("below the number of shards");
        &self.shards[index]
    }
}

impl Refusal {
    /// The same refusal, as it stands now.
    fn tell(&self, cost: u64, now: Instant) -> Told {
        let nanos = |later: Instant| later.as_nanos().saturating_sub(now.as_nanos());
        // What costs more passes with everything there at the latest.
        let wait = if cost == self.cost {
            nanos(self.passes_at)
        } else {
            nanos(self.reset_at)
        };
        let reset_after = nanos(self.reset_at);
        let status = Status::window(self.limit, self.remaining, reset_after, cost, Some(wait));
        Told {
            rejected: Rejected::exceeded(status, cost),
            violated: self.violated,
            worst: self.worst,
        }
    }
}

impl Shard {
    /// Whether one more key fits, if need be after those that are over are gone.
    fn make_room(&mut self, max: usize, now: Instant) -> bool {
        if self.keys.len() < max {
            return true;
        }
        if self.room_at.is_some_and(|room_at| now < room_at) {
            return false;
        }
        self.keys.retain(|_, refusal| now < refusal.until);
        self.room_at = self.keys.values().map(|refusal| refusal.until).min();
        self.keys.len() < max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Instant {
        Instant::ZERO + MS * ms
    }

    /// Three of ten are left, four would be in `wait_ms`, and all in twice that.
    fn refused(wait_ms: u64) -> Told {
        let nanos = wait_ms * 1_000_000;
        let status = Status::window(10, 3, 2 * nanos, 4, Some(nanos));
        Told::of(&[status], 4).unwrap()
    }

    #[test]
    fn a_refusal_stands_until_its_moment_for_what_costs_as_much_or_more() {
        let refusals = Refusals::new(100);
        assert!(refusals.find(b"a", 4, at(0)).is_none());
        refusals.note(b"a", 4, &refused(100), at(0));
        let told = refusals.find(b"a", 4, at(30)).unwrap().rejected;
        assert_eq!(told.retry_after(), Some(70 * MS));
        let status = told.status().unwrap();
        assert_eq!((status.limit(), status.remaining()), (10, 3));
        assert_eq!(status.reset_after(), 170 * MS);
        let more = refusals.find(b"a", 5, at(30)).unwrap().rejected;
        assert_eq!(more.retry_after(), Some(170 * MS));
        assert!(refusals.find(b"a", 3, at(30)).is_none());
        assert!(refusals.find(b"b", 4, at(30)).is_none());
        assert!(refusals.find(b"a", 4, at(99)).is_some());
        assert!(refusals.find(b"a", 4, at(100)).is_none());
    }

    #[test]
    fn a_long_wait_is_asked_for_again_after_a_second() {
        let refusals = Refusals::new(100);
        refusals.note(b"a", 4, &refused(60_000), at(0));
        let told = refusals.find(b"a", 4, at(999)).unwrap().rejected;
        assert_eq!(told.retry_after(), Some(59_001 * MS));
        assert!(refusals.find(b"a", 4, at(1_000)).is_none());
        refusals.note(b"a", 4, &refused(60_000), at(1_000));
        refusals.forget(b"a");
        assert!(refusals.find(b"a", 4, at(1_001)).is_none());
    }

    #[test]
    fn what_waiting_does_not_help_is_not_remembered() {
        let refusals = Refusals::new(100);
        refusals.note(b"a", 4, &Told::unavailable(4), at(0));
        assert!(refusals.find(b"a", 4, at(1)).is_none());
    }

    #[test]
    fn no_more_keys_are_remembered_than_may_be_and_room_comes_with_time() {
        let refusals = Refusals::new(32);
        let remembered = |now| {
            let keys = (0..1_000_u32).map(u32::to_le_bytes);
            keys.filter(|key| refusals.find(key, 4, now).is_some())
                .count()
        };
        let note_all = |now| {
            for key in (0..1_000_u32).map(u32::to_le_bytes) {
                refusals.note(&key, 4, &refused(100), now);
            }
        };
        note_all(at(0));
        assert_eq!(remembered(at(50)), 32);
        note_all(at(120));
        assert_eq!(remembered(at(150)), 32);
    }
}
