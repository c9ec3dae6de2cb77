//! Each policy against the plainest program that does the same: which entry leaves must agree at
//! every step, and so must the whole order in the end.

use std::collections::HashMap;

use proptest::prelude::*;
use stanchion_core::Instant;

use super::Policy;
use super::sketch::Sketch;
use crate::deadline::Deadline;
use crate::refresh::Age;
use crate::shard::{Columns, Shard, Terms};

/// A policy over keys, as its paper would be written down for a reader. Queues have the newest last.
trait Model {
    fn hit(&mut self, key: u32);
    fn insert(&mut self, key: u32);
    fn remove(&mut self, key: u32);
    fn evict(&mut self) -> Option<u32>;
    fn make_room(&mut self) {}
    fn set_window(&mut self, _percent: u8) {}
}

#[derive(Clone, Debug)]
enum Step {
    /// A read, and an insertion if the key is not there.
    Ask(u32),
    Remove(u32),
    Window(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = prop_oneof![3 => 0..6_u32, 4 => 0..30_u32];
    let step = prop_oneof![
        20 => keys.clone().prop_map(Step::Ask),
        1 => keys.prop_map(Step::Remove),
        1 => prop_oneof![Just(1_u8), Just(20), Just(60), Just(98)].prop_map(Step::Window),
    ];
    prop::collection::vec(step, 0..400)
}

/// As the cache hashes, so that sketches spread.
fn hash(key: u32) -> u32 {
    (key + 1).wrapping_mul(0x9E37_79B1).rotate_left(7)
}

/// Plays `steps` to both and compares who leaves.
fn agree(policy: Policy, mut model: impl Model, capacity: usize, steps: &[Step]) {
    let columns = Columns {
        weights: false,
        used_at: false,
        ages: false,
    };
    let mut shard = Shard::<u32, ()>::new(policy, capacity, columns);
    let mut window = 20;
    let now = Instant::ZERO;
    for step in steps {
        match *step {
            Step::Ask(key) => match shard.find(hash(key), &key) {
                Some(slot) => {
                    // Each way of hitting has the same effect where readers share the lock.
                    if policy.orders_at_hits() || key % 2 == 0 {
                        shard.hit(slot, || now);
                    } else {
                        shard.touch(slot, || now);
                    }
                    model.hit(key);
                }
                None => {
                    if shard.len() == capacity {
                        let left = shard.evict(window).map(|taken| taken.key);
                        assert_eq!(left, model.evict(), "for {key}");
                    } else {
                        shard.make_room();
                        model.make_room();
                    }
                    let terms = Terms {
                        age: Age::default(),
                        is_use: true,
                        weight: 1,
                        deadline: Deadline::NEVER,
                        now,
                    };
                    shard.insert(hash(key), key, (), terms);
                    model.insert(key);
                }
            },
            Step::Remove(key) => {
                if let Some(slot) = shard.find(hash(key), &key) {
                    assert_eq!(shard.remove(slot).map(|taken| taken.key), Some(key));
                    model.remove(key);
                }
            }
            Step::Window(percent) => {
                window = percent;
                model.set_window(percent);
            }
        }
    }
    for _ in 0..=capacity {
        let left = shard.evict(window).map(|taken| taken.key);
        assert_eq!(left, model.evict(), "when all leave");
    }
    assert_eq!(shard.len(), 0);
}

fn take(queue: &mut Vec<u32>, key: u32) -> bool {
    let at = queue.iter().position(|other| *other == key);
    at.map(|at| queue.remove(at)).is_some()
}

fn take_oldest(queue: &mut Vec<u32>) -> Option<u32> {
    (!queue.is_empty()).then(|| queue.remove(0))
}

#[derive(Default)]
struct Fifo(Vec<u32>);

impl Model for Fifo {
    fn hit(&mut self, _key: u32) {}
    fn insert(&mut self, key: u32) {
        self.0.push(key);
    }
    fn remove(&mut self, key: u32) {
        take(&mut self.0, key);
    }
    fn evict(&mut self) -> Option<u32> {
        take_oldest(&mut self.0)
    }
}

#[derive(Default)]
struct Lru(Vec<u32>);

impl Model for Lru {
    fn hit(&mut self, key: u32) {
        take(&mut self.0, key);
        self.0.push(key);
    }
    fn insert(&mut self, key: u32) {
        self.0.push(key);
    }
    fn remove(&mut self, key: u32) {
        take(&mut self.0, key);
    }
    fn evict(&mut self) -> Option<u32> {
        take_oldest(&mut self.0)
    }
}

/// Each key with its hits and the time of the last.
#[derive(Default)]
struct Lfu {
    entries: HashMap<u32, (u32, u32)>,
    time: u32,
}

impl Model for Lfu {
    fn hit(&mut self, key: u32) {
        self.time += 1;
        if let Some((hits, last)) = self.entries.get_mut(&key) {
            *hits = (*hits + 1).min(255);
            *last = self.time;
        }
    }
    fn insert(&mut self, key: u32) {
        self.time += 1;
        self.entries.insert(key, (0, self.time));
    }
    fn remove(&mut self, key: u32) {
        self.entries.remove(&key);
    }
    fn evict(&mut self) -> Option<u32> {
        let (key, _) = self.entries.iter().min_by_key(|(_, used)| **used)?;
        let key = *key;
        self.entries.remove(&key);
        Some(key)
    }
}

#[derive(Default)]
struct Sieve {
    queue: Vec<(u32, bool)>,
    hand: usize,
}

impl Model for Sieve {
    fn hit(&mut self, key: u32) {
        for (other, visited) in &mut self.queue {
            *visited |= *other == key;
        }
    }
    fn insert(&mut self, key: u32) {
        // A hand that stands beyond the newest begins anew, even if newer ones come.
        if self.hand == self.queue.len() {
            self.hand = 0;
        }
        self.queue.push((key, false));
    }
    fn remove(&mut self, key: u32) {
        if let Some(at) = self.queue.iter().position(|(other, _)| *other == key) {
            self.queue.remove(at);
            self.hand -= usize::from(at < self.hand);
        }
    }
    fn evict(&mut self) -> Option<u32> {
        loop {
            if self.hand >= self.queue.len() {
                self.hand = 0;
            }
            let (key, visited) = self.queue.get_mut(self.hand)?;
            if !*visited {
                let key = *key;
                self.queue.remove(self.hand);
                return Some(key);
            }
            *visited = false;
            self.hand += 1;
        }
    }
}

#[derive(Default)]
struct S3Fifo {
    small: Vec<u32>,
    main: Vec<u32>,
    ghost: Vec<u32>,
    hits: HashMap<u32, u32>,
}

impl Model for S3Fifo {
    fn hit(&mut self, key: u32) {
        let hits = self.hits.entry(key).or_default();
        *hits = (*hits + 1).min(3);
    }
    fn insert(&mut self, key: u32) {
        self.hits.insert(key, 0);
        if let Some(at) = self.ghost.iter().position(|other| *other == key) {
            // It keeps its place in the ghost's queue, under a key that nothing has.
            self.ghost[at] = u32::MAX;
            self.main.push(key);
        } else {
            self.small.push(key);
        }
    }
    fn remove(&mut self, key: u32) {
        take(&mut self.small, key);
        take(&mut self.main, key);
    }
    fn evict(&mut self) -> Option<u32> {
        loop {
            let len = self.small.len() + self.main.len();
            if self.small.len() >= (len / 10).max(1) || self.main.is_empty() {
                let oldest = take_oldest(&mut self.small)?;
                if self.hits[&oldest] > 1 {
                    self.hits.insert(oldest, 0);
                    self.main.push(oldest);
                    continue;
                }
                self.ghost.push(oldest);
                let ghosts_max = (len - 1) - (len - 1) / 10;
                self.ghost
                    .drain(..self.ghost.len().saturating_sub(ghosts_max));
                return Some(oldest);
            }
            let oldest = take_oldest(&mut self.main)?;
            match self.hits.get_mut(&oldest) {
                Some(hits) if *hits > 0 => {
                    *hits -= 1;
                    self.main.push(oldest);
                }
                _ => return Some(oldest),
            }
        }
    }
}

/// With the sketch of the original, which has tests of its own.
struct WTinyLfu {
    window: Vec<u32>,
    main: Vec<u32>,
    hits: HashMap<u32, u32>,
    sketch: Sketch,
    percent: usize,
    wanted: u8,
    to_move: usize,
    full_len: usize,
}

impl WTinyLfu {
    fn new(percent: u8, capacity: usize) -> Self {
        let mut sketch = Sketch::default();
        sketch.resize(capacity);
        Self {
            window: Vec::new(),
            main: Vec::new(),
            hits: HashMap::new(),
            sketch,
            percent: percent.into(),
            wanted: percent,
            to_move: 0,
            full_len: usize::MAX,
        }
    }

    fn window_max(&self) -> usize {
        let len = self.window.len() + self.main.len();
        let rounded = (len * self.percent + 50) / 100;
        rounded.min(len.saturating_sub(1)).max(1)
    }

    /// Turns `queue` until its oldest was not hit; `spend` hits at a turn.
    fn turn(
        queue: &mut [u32],
        hits: &mut HashMap<u32, u32>,
        sketch: &mut Sketch,
        spend: u32,
    ) -> Option<u32> {
        loop {
            let oldest = *queue.first()?;
            let left = hits.get_mut(&oldest)?;
            if *left == 0 {
                return Some(oldest);
            }
            let spent = spend.min(*left);
            *left -= spent;
            (0..spent).for_each(|_| sketch.add(hash(oldest)));
            queue.rotate_left(1);
        }
    }
}

impl Model for WTinyLfu {
    fn hit(&mut self, key: u32) {
        let hits = self.hits.entry(key).or_default();
        *hits = (*hits + 1).min(3);
    }
    fn insert(&mut self, key: u32) {
        self.sketch.add(hash(key));
        self.hits.insert(key, 0);
        self.window.push(key);
    }
    fn remove(&mut self, key: u32) {
        take(&mut self.window, key);
        take(&mut self.main, key);
    }
    fn set_window(&mut self, percent: u8) {
        self.wanted = percent;
    }
    fn evict(&mut self) -> Option<u32> {
        if usize::from(self.wanted) != self.percent {
            self.percent = self.wanted.into();
            self.to_move = self.window.len().saturating_sub(self.window_max());
        }
        self.full_len = self.window.len() + self.main.len();
        for _ in 0..self.to_move.min(4) {
            self.to_move -= 1;
            if let Some(oldest) = take_oldest(&mut self.window) {
                self.hits.insert(oldest, 0);
                self.main.push(oldest);
            }
        }
        let window_max = self.window_max();
        let (hits, sketch) = (&mut self.hits, &mut self.sketch);
        if self.window.len() <= window_max && !self.main.is_empty() {
            let victim = Self::turn(&mut self.main, hits, sketch, 1)?;
            take(&mut self.main, victim);
            return Some(victim);
        }
        let newcomer = Self::turn(&mut self.window, hits, sketch, 3)?;
        take(&mut self.window, newcomer);
        let Some(victim) = Self::turn(&mut self.main, hits, sketch, 1) else {
            return Some(newcomer);
        };
        if sketch.count(hash(newcomer)) > sketch.count(hash(victim)) + 1 {
            take(&mut self.main, victim);
            self.main.push(newcomer);
            return Some(victim);
        }
        Some(newcomer)
    }
    fn make_room(&mut self) {
        let len = self.window.len() + self.main.len();
        let is_filling = len < self.full_len - self.full_len / 8;
        if is_filling
            && self.window.len() >= self.window_max()
            && let Some(oldest) = take_oldest(&mut self.window)
        {
            self.hits.insert(oldest, 0);
            self.main.push(oldest);
        }
    }
}

proptest! {
    #[test]
    fn fifo_evicts_as_written_down(steps in steps(), capacity in 1..16_usize) {
        agree(Policy::Fifo, Fifo::default(), capacity, &steps);
    }

    #[test]
    fn lru_evicts_as_written_down(steps in steps(), capacity in 1..16_usize) {
        agree(Policy::Lru, Lru::default(), capacity, &steps);
    }

    #[test]
    fn lfu_evicts_as_written_down(steps in steps(), capacity in 1..16_usize) {
        agree(Policy::Lfu, Lfu::default(), capacity, &steps);
    }

    #[test]
    fn sieve_evicts_as_written_down(steps in steps(), capacity in 1..16_usize) {
        agree(Policy::Sieve, Sieve::default(), capacity, &steps);
    }

    #[test]
    fn s3_fifo_evicts_as_written_down(steps in steps(), capacity in 1..16_usize) {
        agree(Policy::S3Fifo, S3Fifo::default(), capacity, &steps);
    }

    #[test]
    fn adaptive_evicts_as_written_down(steps in steps(), capacity in 1..16_usize) {
        agree(Policy::Adaptive, WTinyLfu::new(20, capacity), capacity, &steps);
    }
}
