//! Permits drawn from Redis and spent here.
//!
//! Each key holds a *stock*, and at most one draw is under way for it; whoever needs permits
//! meanwhile queues for them. A draw takes what the queue needs, and what the stock lacks; what it
//! brings goes to the queue first, in its order. So what this process may still spend of a key, beyond
//! what requests that came before the draw were waiting for, is at most one stock.
//!
//! A stock is one batch. Where the lease allows for more, it doubles each time that it did not last
//! until the next draw was answered, and begins again with one batch when it lapses unspent:
//!
//! ```text
//! ran dry though it was drawn ahead:   stock := min(2 · stock, stock_max)
//! lapsed:                              stock := batch
//! half of the stock is spent:          draw
//! ```
//!
//! How much a draw asks for is settled when it is sent, and not when it is begun: those who come in
//! between, as those do who were just served and come again, need no draw of their own.
//!
//! A draw lasts no longer than the first of the queue may wait, so nobody needs a timer of his own.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;
use stanchion_core::Instant;
use tokio::sync::oneshot;

use super::RedisLease;
use super::granted::{Refusal, Tightest};
use super::link::Silence;

const SHARDS: usize = 16;

pub(super) struct Leases {
    lease: RedisLease,
    /// What a busy key may hold.
    stock_max: u64,
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
    /// How much it is to hold.
    stock: u64,
    /// When what is left lapses.
    until: Instant,
    /// Where the limits stood at the last draw.
    tightest: Option<Tightest>,
    drawing: bool,
    /// That draw was begun before anybody had to wait.
    ahead: bool,
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
    Paid(Option<Tightest>),
    Refused(Refusal),
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
        tightest: Option<Tightest>,
    },
    /// There was less than the draw's cost.
    Refused(Refusal),
    Silent(Silence),
}

/// What a request finds.
pub(super) enum Spend {
    /// It was paid for.
    Spent(Option<Tightest>),
    /// It has to wait.
    Wait(oneshot::Receiver<Answer>),
    /// There is no room for the key.
    NoRoom,
}

impl Leases {
    /// For limits of which the smallest is `limit`.
    pub(super) fn new(lease: RedisLease, limit: u64) -> Self {
        let shards = SHARDS.min(lease.max_keys);
        Self {
            lease,
            stock_max: lease.stock_max(limit),
            hash: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            shard_max: lease.max_keys / shards,
        }
    }

    /// Pays for a request, or queues it; and tells whether a draw has to be [sent](Self::send).
    pub(super) fn spend(
        &self,
        key: &[u8],
        cost: u64,
        now: Instant,
        deadline: Instant,
    ) -> (Spend, bool) {
        let mut shard = self.shard(key).lock();
        if !shard.keys.contains_key(key) {
            if !shard.make_room(self.shard_max, now) {
                return (Spend::NoRoom, false);
            }
            let held = Held::new(self.lease.batch, now);
            shard.keys.insert(key.into(), held);
        }
        let Some(held) = shard.keys.get_mut(key) else {
            return (Spend::NoRoom, false);
        };
        held.lapse(self.lease.batch, now);
        let spend = if held.queue.is_empty() && held.left >= cost {
            held.left -= cost;
            Spend::Spent(held.tightest)
        } else {
            let (answer, wait) = oneshot::channel();
            held.queue.push_back(Queued {
                cost,
                deadline,
                answer,
            });
            Spend::Wait(wait)
        };
        (spend, held.begin())
    }

    /// What the draw that was begun asks for; to be answered by `deadline` if nobody waits for it.
    pub(super) fn send(&self, key: &[u8], deadline: Instant) -> Option<Draw> {
        let mut shard = self.shard(key).lock();
        let held = shard.keys.get_mut(key)?;
        held.drawing.then(|| held.draw(deadline))
    }

    /// Ends a draw: answers those who wait, as far as it helps them. Tells whether the next one has to
    /// be [sent](Self::send).
    pub(super) fn end(&self, key: &[u8], drawn: Drawn, now: Instant) -> bool {
        let mut shard = self.shard(key).lock();
        let Some(held) = shard.keys.get_mut(key) else {
            return false;
        };
        held.drawing = false;
        let ran_dry = held.ahead && !held.queue.is_empty();
        held.lapse(self.lease.batch, now);
        if let Drawn::Granted { taken, tightest } = drawn {
            held.left += taken;
            held.until = now + self.lease.ttl;
            held.tightest = tightest;
        }
        held.serve();
        let granted = matches!(drawn, Drawn::Granted { .. });
        // Where Redis itself has no more, a larger stock would not help.
        if granted && ran_dry && held.queue.is_empty() {
            held.stock = self.stock_max.min(held.stock.saturating_mul(2));
        }
        match drawn {
            Drawn::Granted { .. } => held.time_out(now),
            Drawn::Refused(refusal) => held.refuse(refusal),
            Drawn::Silent(Silence::TimedOut) => held.time_out(now),
            Drawn::Silent(silence) => held.answer_all(Answer::Silent(silence)),
        }
        // What was drawn for requests that were dropped meanwhile is not kept beyond the stock.
        held.left = held.left.min(held.stock);
        let goes_on = granted || !held.queue.is_empty();
        goes_on && held.begin()
    }

    /// Takes back what paid for a request, as far as the stock has room for it. How much that was.
    pub(super) fn give_back(&self, key: &[u8], cost: u64, now: Instant) -> u64 {
        let mut shard = self.shard(key).lock();
        match shard.keys.get_mut(key) {
            Some(held) if now < held.until => {
                let fits = cost.min(held.stock.saturating_sub(held.left));
                held.left += fits;
                fits
            }
            _ => 0,
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
    fn new(batch: u64, now: Instant) -> Self {
        Self {
            left: 0,
            stock: batch,
            until: now,
            tightest: None,
            drawing: false,
            ahead: false,
            queue: VecDeque::new(),
        }
    }

    fn lapse(&mut self, batch: u64, now: Instant) {
        if now >= self.until {
            if self.left > 0 {
                self.stock = batch;
            }
            self.left = 0;
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        !self.drawing && self.queue.is_empty() && (self.left == 0 || now >= self.until)
    }

    /// Begins a draw if somebody waits or little is left, and none is under way.
    fn begin(&mut self) -> bool {
        if self.drawing || (self.queue.is_empty() && self.left > self.stock / 2) {
            return false;
        }
        self.drawing = true;
        self.ahead = self.queue.is_empty();
        true
    }

    fn draw(&self, deadline: Instant) -> Draw {
        let waiting = self.queue.iter().map(|queued| queued.cost);
        let wanted = waiting.fold(self.stock, u64::saturating_add);
        let first = self.queue.front();
        let cost = first.map_or(1, |first| first.cost.saturating_sub(self.left).max(1));
        Draw {
            cost,
            most: wanted.saturating_sub(self.left).max(cost),
            deadline: first.map_or(deadline, |first| first.deadline),
        }
    }

    /// Pays for those who wait, in their order, as far as it goes.
    fn serve(&mut self) {
        while let Some(first) = self.queue.front() {
            if !first.answer.is_closed() && first.cost > self.left {
                return;
            }
            let paid = Answer::Paid(self.tightest);
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
    fn refuse(&mut self, refusal: Refusal) {
        let Some(refused) = self.queue.front().map(|first| first.cost) else {
            return;
        };
        for queued in std::mem::take(&mut self.queue) {
            if queued.cost < refused {
                self.queue.push_back(queued);
            } else {
                let refused = Answer::Refused(refusal.of_cost(queued.cost));
                let _ = queued.answer.send(refused);
            }
        }
    }

    fn answer_all(&mut self, answer: Answer) {
        for queued in self.queue.drain(..) {
            let _ = queued.answer.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gcra::Gcra;
    use crate::{Quota, Status};

    const TTL: Duration = Duration::from_secs(1);

    fn leases(batch: u64, ahead: u64) -> Leases {
        Leases::new(RedisLease::new(batch, TTL).drawing_ahead(ahead), 1_000)
    }

    fn granted(taken: u64) -> Drawn {
        let quota: Quota = "1000/s".parse().unwrap();
        let tightest = Tightest::of(&[Status::new(Gcra::new(&quota), 0)]);
        Drawn::Granted { taken, tightest }
    }

    /// A process that asks for one permit after the other, and waits where it has to.
    struct Caller {
        leases: Leases,
        draws: bool,
        waits: Vec<oneshot::Receiver<Answer>>,
    }

    impl Caller {
        fn new(leases: Leases) -> Self {
            Self {
                leases,
                draws: false,
                waits: Vec::new(),
            }
        }

        /// Spends all that is there, until it has to wait.
        fn run_dry(&mut self, now: Instant) -> u64 {
            let mut spent = 0;
            loop {
                let (spend, begun) = self.leases.spend(b"key", 1, now, now + TTL);
                assert!(!(begun && self.draws), "one at a time");
                self.draws |= begun;
                match spend {
                    Spend::Spent(_) => spent += 1,
                    Spend::Wait(waits) => {
                        self.waits.push(waits);
                        return spent;
                    }
                    Spend::NoRoom => panic!("there is room for one key"),
                }
            }
        }

        /// Redis grants so much of what was asked for.
        fn end(&mut self, now: Instant, granted_max: u64) -> u64 {
            let draw = self.leases.send(b"key", now + TTL);
            let draw = draw.expect("who waits has begun a draw");
            let most = draw.most.min(granted_max);
            self.draws = self.leases.end(b"key", granted(most), now);
            draw.most
        }
    }

    #[test]
    fn a_stock_doubles_where_it_runs_dry_and_no_further_than_it_may() {
        let mut caller = Caller::new(leases(4, 8));
        let now = Instant::ZERO + TTL;
        let mut spent = Vec::new();
        for _ in 0..20 {
            spent.push(caller.run_dry(now));
            caller.end(now, u64::MAX);
            assert!(caller.leases.held(now).1 <= 32, "eight batches at most");
        }
        // Nothing at first, and one batch then.
        assert_eq!(spent[..2], [0, 4]);
        assert!(spent.iter().any(|spent| *spent > 16), "{spent:?}");
    }

    #[test]
    fn a_stock_is_one_batch_again_after_permits_lapsed() {
        let mut caller = Caller::new(leases(4, 8));
        let mut now = Instant::ZERO + TTL;
        for _ in 0..20 {
            caller.run_dry(now);
            caller.end(now, u64::MAX);
        }
        while caller.draws {
            caller.end(now, u64::MAX);
        }
        assert!(caller.leases.held(now).1 > 16);
        now += TTL;
        assert_eq!(caller.run_dry(now), 0);
        assert_eq!(caller.end(now, u64::MAX), 5, "for who waits, and one batch");
    }

    #[test]
    fn a_stock_does_not_grow_where_redis_has_no_more() {
        let mut caller = Caller::new(leases(4, 8));
        let now = Instant::ZERO + TTL;
        for _ in 0..20 {
            caller.run_dry(now);
            // Two wait, and one of them is served.
            caller.run_dry(now);
            caller.end(now, 1);
        }
        let stocks = caller.leases.shard(b"key").lock();
        assert_eq!(stocks.keys[&b"key"[..]].stock, 4);
    }

    /// As many come again while a draw waits to be sent as were just served.
    #[test]
    fn one_draw_serves_all_who_came_until_it_was_sent() {
        let mut caller = Caller::new(leases(4, 1));
        let now = Instant::ZERO + TTL;
        for _ in 0..20 {
            for _ in 0..3 {
                caller.run_dry(now);
            }
            assert_eq!(caller.end(now, u64::MAX), 3 + 4);
            assert_eq!(caller.leases.held(now).1, 4);
            let paid = caller
                .waits
                .drain(..)
                .all(|mut wait| wait.try_recv().is_ok());
            assert!(paid);
        }
    }

    #[test]
    fn a_stock_is_four_batches_at_most_if_nothing_is_said_and_the_limit_has_room() {
        for (limit, stock_max) in [(1_000, 16), (16, 16), (15, 12), (7, 4), (4, 4)] {
            let mut caller = Caller::new(Leases::new(RedisLease::new(4, TTL), limit));
            let now = Instant::ZERO + TTL;
            let mut most = 0;
            for _ in 0..20 {
                caller.run_dry(now);
                caller.end(now, u64::MAX);
                most = most.max(caller.leases.held(now).1);
            }
            assert_eq!(most, stock_max, "of {limit}");
        }
    }

    #[test]
    fn without_drawing_ahead_a_stock_stays_one_batch() {
        let mut caller = Caller::new(leases(4, 1));
        let now = Instant::ZERO + TTL;
        for _ in 0..20 {
            assert!(caller.run_dry(now) <= 4);
            assert!(caller.end(now, u64::MAX) <= 5);
            assert!(caller.leases.held(now).1 <= 4);
        }
    }
}
