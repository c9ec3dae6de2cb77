//! Permits drawn from Redis and spent here.
//!
//! Each key holds at most one batch, and at most one draw is under way for it; whoever needs permits
//! meanwhile queues for them. A draw takes what the queue needs, and up to a batch to hold; what it
//! brings goes to the queue first, in its order. So what this process may still spend of a key, beyond
//! what requests that came before the draw were waiting for, is at most one batch.
//!
//! A draw lasts no longer than the first of the queue may wait, so nobody needs a timer of his own.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;
use stanchion_core::Instant;
use tokio::sync::oneshot;

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
    drawing: bool,
    queue: VecDeque<Queued>,
}

/// A request that waits for permits.
struct Queued {
    cost: u64,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

/// What becomes of a request that waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Paid(Option<Status>),
    Refused(Rejected),
    Silent(Silence),
}

/// What is to be asked of Redis, by whoever has this.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    /// The least that helps.
    pub(super) cost: u64,
    pub(super) most: u64,
    pub(super) deadline: Instant,
}

/// What a draw brought.
#[derive(Clone, Copy, Debug)]
pub(super) enum Drawn {
    Granted {
        taken: u64,
        status: Status,
    },
    /// There was less than the draw's cost.
    Refused(Status),
    Silent(Silence),
}

/// What a request finds.
pub(super) enum Spend {
    /// It was paid for.
    Spent(Option<Status>),
    /// It has to wait.
    Wait(oneshot::Receiver<Answer>),
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

    /// Pays for a request, or queues it; with a draw to carry out, if one is needed.
    pub(super) fn spend(
        &self,
        key: &[u8],
        cost: u64,
        now: Instant,
        deadline: Instant,
    ) -> (Spend, Option<Draw>) {
        let mut shard = self.shard(key).lock();
        if !shard.keys.contains_key(key) {
            if !shard.make_room(self.shard_max, now) {
                return (Spend::NoRoom, None);
            }
            shard.keys.insert(key.into(), Held::new(now));
        }
        let Some(held) = shard.keys.get_mut(key) else {
            return (Spend::NoRoom, None);
        };
        held.lapse(now);
        let spend = if held.queue.is_empty() && held.left >= cost {
            held.left -= cost;
            Spend::Spent(held.status)
        } else {
            let (answer, wait) = oneshot::channel();
            held.queue.push_back(Queued {
                cost,
                deadline,
                answer,
            });
            Spend::Wait(wait)
        };
        (spend, held.begin(self.lease.batch, deadline))
    }

    /// Ends a draw: answers those who wait, as far as it helps them. The next draw, if one is needed.
    pub(super) fn end(
        &self,
        key: &[u8],
        drawn: Drawn,
        now: Instant,
        deadline: Instant,
    ) -> Option<Draw> {
        let mut shard = self.shard(key).lock();
        let held = shard.keys.get_mut(key)?;
        held.drawing = false;
        held.lapse(now);
        if let Drawn::Granted { taken, status } = drawn {
            held.left += taken;
            held.until = now + self.lease.ttl;
            held.status = Some(status);
        }
        held.serve();
        match drawn {
            Drawn::Granted { .. } => held.time_out(now),
            Drawn::Refused(status) => held.refuse(status),
            Drawn::Silent(Silence::TimedOut) => held.time_out(now),
            Drawn::Silent(silence) => held.answer_all(Answer::Silent(silence)),
        }
        // What was drawn for requests that were dropped meanwhile is not kept beyond a batch.
        held.left = held.left.min(self.lease.batch);
        let goes_on = matches!(drawn, Drawn::Granted { .. }) || !held.queue.is_empty();
        goes_on.then(|| held.begin(self.lease.batch, deadline))?
    }

    /// Takes back what paid for a request that was dropped before it knew.
    pub(super) fn give_back(&self, key: &[u8], cost: u64) {
        if let Some(held) = self.shard(key).lock().keys.get_mut(key) {
            held.left = self.lease.batch.min(held.left + cost);
        }
    }

    /// Lets go of what `key` holds.
    pub(super) fn forget(&self, key: &[u8]) {
        if let Some(held) = self.shard(key).lock().keys.get_mut(key) {
            held.left = 0;
        }
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
            drawing: false,
            queue: VecDeque::new(),
        }
    }

    fn lapse(&mut self, now: Instant) {
        if now >= self.until {
            self.left = 0;
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        !self.drawing && self.queue.is_empty() && (self.left == 0 || now >= self.until)
    }

    /// Begins a draw if somebody waits or little is left, and none is under way.
    fn begin(&mut self, batch: u64, deadline: Instant) -> Option<Draw> {
        if self.drawing || (self.queue.is_empty() && self.left > batch / 2) {
            return None;
        }
        self.drawing = true;
        let waiting = self.queue.iter().map(|queued| queued.cost);
        let wanted = waiting.fold(batch, u64::saturating_add);
        let first = self.queue.front();
        let cost = first.map_or(1, |first| first.cost.saturating_sub(self.left).max(1));
        Some(Draw {
            cost,
            most: wanted.saturating_sub(self.left).max(cost),
            deadline: first.map_or(deadline, |first| first.deadline),
        })
    }

    /// Pays for those who wait, in their order, as far as it goes.
    fn serve(&mut self) {
        while let Some(first) = self.queue.front() {
            if !first.answer.is_closed() && first.cost > self.left {
                return;
            }
            let paid = Answer::Paid(self.status);
            if let Some(first) = self.queue.pop_front()
                && first.answer.send(paid).is_ok()
            {
                self.left -= first.cost;
            }
        }
    }

    /// Answers those who have waited long enough.
    fn time_out(&mut self, now: Instant) {
        let first_in_time = |queued: &Queued| queued.deadline > now;
        let late = self.queue.iter().position(first_in_time);
        for late in self.queue.drain(..late.unwrap_or(self.queue.len())) {
            let _ = late.answer.send(Answer::Silent(Silence::TimedOut));
        }
    }

    /// Answers those who need as much as the first, who did not get it.
    fn refuse(&mut self, status: Status) {
        let Some(refused) = self.queue.front().map(|first| first.cost) else {
            return;
        };
        for queued in std::mem::take(&mut self.queue) {
            if queued.cost < refused {
                self.queue.push_back(queued);
            } else {
                let rejected = Rejected::exceeded(status, queued.cost);
                let _ = queued.answer.send(Answer::Refused(rejected));
            }
        }
    }

    fn answer_all(&mut self, answer: Answer) {
        for queued in self.queue.drain(..) {
            let _ = queued.answer.send(answer);
        }
    }
}
