//! Permits drawn from Redis and spent here.
//!
//! Each key holds at most one batch, what is being drawn included, and at most one draw is under
//! way for it; whoever needs permits meanwhile waits for that one. So what this process may still
//! spend of a key, beyond what Redis sees as free, is at most one batch.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use stanchion_core::Instant;
use tokio::sync::watch;

use super::RedisLease;
use super::link::Silence;
use crate::{Rejected, Status};

const SHARDS: usize = 16;

pub(super) struct Leases {
    lease: RedisLease,
    hash: RandomState,
    shards: Box<[Mutex<Shard>]>,
    shard_max: usize,
}

#[derive(Default)]
struct Shard {
    keys: HashMap<Box<[u8]>, Held>,
    /// Nothing lapses before that, so nobody looks for room before.
    room_at: Instant,
}

/// What one key holds.
struct Held {
    left: u64,
    /// When what is left lapses.
    until: Instant,
    /// Where the limits stood at the last draw.
    status: Option<Status>,
    draw: Option<Arc<Draw>>,
}

/// A draw under way, for all who wait for it.
pub(super) struct Draw {
    /// The least that whoever began it needs.
    pub(super) cost: u64,
    /// The most that the key may hold.
    pub(super) most: u64,
    drawn: watch::Sender<Option<Drawn>>,
}

/// What became of a draw.
#[derive(Clone, Copy, Debug)]
pub(super) enum Drawn {
    /// There are permits to be spent; others may have been quicker.
    Granted,
    /// There were not `cost` permits.
    Refused {
        cost: u64,
        rejected: Rejected,
    },
    Silent(Silence),
}

/// What a request finds.
pub(super) enum Spend {
    /// It was paid for. With a draw that the caller is to carry out, when little is left.
    Spent(Option<Status>, Option<Arc<Draw>>),
    /// It has to wait for a draw, which the caller is to carry out if it is `new`.
    Wait { draw: Arc<Draw>, new: bool },
    /// There is no room for the key.
    NoRoom,
}

impl Leases {
    pub(super) fn new(lease: RedisLease) -> Self {
        let shards = SHARDS.min(lease.max_keys);
        Self {
            lease,
            hash: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            shard_max: lease.max_keys / shards,
        }
    }

    pub(super) fn spend(&self, key: &[u8], cost: u64, now: Instant) -> Spend {
        let mut shard = self.shard(key).lock();
        if !shard.keys.contains_key(key) {
            if !shard.make_room(self.shard_max, now) {
                return Spend::NoRoom;
            }
            shard.keys.insert(key.into(), Held::new(now));
        }
        let Some(held) = shard.keys.get_mut(key) else {
            return Spend::NoRoom;
        };
        held.lapse(now);
        if held.left >= cost {
            held.left -= cost;
            let little = held.left <= self.lease.batch / 2 && held.draw.is_none();
            let draw = little.then(|| held.begin(1, self.lease.batch));
            return Spend::Spent(held.status, draw);
        }
        match &held.draw {
            Some(draw) => Spend::Wait {
                draw: draw.clone(),
                new: false,
            },
            None => Spend::Wait {
                draw: held.begin(cost, self.lease.batch),
                new: true,
            },
        }
    }

    /// Ends a draw that brought `taken` permits, 0 unless it was granted.
    pub(super) fn end(
        &self,
        key: &[u8],
        draw: &Arc<Draw>,
        taken: u64,
        status: Option<Status>,
        drawn: Drawn,
        now: Instant,
    ) {
        let mut shard = self.shard(key).lock();
        let held = shard.keys.get_mut(key);
        // It is gone if the key was reset meanwhile; then the permits are let go.
        if let Some(held) = held
            && held.draw.as_ref().is_some_and(|own| Arc::ptr_eq(own, draw))
        {
            held.draw = None;
            held.lapse(now);
            if taken > 0 {
                held.left += taken;
                held.until = now + self.lease.ttl;
            }
            held.status = status.or(held.status);
        }
        drop(shard);
        draw.drawn.send_replace(Some(drawn));
    }

    /// Lets go of what `key` holds.
    pub(super) fn forget(&self, key: &[u8]) {
        let _ = self.shard(key).lock().keys.remove(key);
    }

    /// Keys that hold permits or draw some, and the permits. O(keys).
    pub(super) fn held(&self, now: Instant) -> (usize, u64) {
        let mut sum = (0, 0);
        for shard in &self.shards {
            for held in shard.lock().keys.values() {
                if !held.is_over(now) {
                    sum.0 += 1;
                    sum.1 += if now < held.until { held.left } else { 0 };
                }
            }
        }
        sum
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        let hash = self.hash.hash_one(key);
        let shards = self.shards.len() as u64;
        let index = usize::try_from(hash % shards).expect("below the number of shards");
        &self.shards[index]
    }
}

impl Shard {
    /// Whether one more key fits, if need be after those that hold nothing are gone.
    fn make_room(&mut self, max: usize, now: Instant) -> bool {
        if self.keys.len() < max {
            return true;
        }
        if now < self.room_at {
            return false;
        }
        self.keys.retain(|_, held| !held.is_over(now));
        let lapses = self.keys.values().map(|held| held.until);
        self.room_at = lapses.min().unwrap_or(now);
        self.keys.len() < max
    }
}

impl Held {
    fn new(now: Instant) -> Self {
        Self {
            left: 0,
            until: now,
            status: None,
            draw: None,
        }
    }

    fn lapse(&mut self, now: Instant) {
        if now >= self.until {
            self.left = 0;
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.draw.is_none() && (self.left == 0 || now >= self.until)
    }

    /// Begins a draw of what lacks of `cost`, and up to a batch with what is left.
    fn begin(&mut self, cost: u64, batch: u64) -> Arc<Draw> {
        let lacking = cost.saturating_sub(self.left).max(1);
        let draw = Arc::new(Draw {
            cost: lacking,
            most: batch.saturating_sub(self.left).max(lacking),
            drawn: watch::Sender::new(None),
        });
        self.draw = Some(draw.clone());
        draw
    }
}

impl Draw {
    /// Waits until the draw is over.
    pub(super) async fn wait(&self) -> Drawn {
        let mut drawn = self.drawn.subscribe();
        let over = drawn.wait_for(Option::is_some).await;
        over.ok()
            .and_then(|drawn| *drawn)
            .unwrap_or(Drawn::Silent(Silence::Away))
    }
}
