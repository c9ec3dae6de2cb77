//! Which window suits the workload of late.

use super::shadow::Shadow;
use crate::hash::THINNING_MAX;

/// Runs a shadow cache for each of seven windows on a sample of the keys, and moves the live window
/// towards the one that hits most.
///
/// A sample of one key in `n`, in a cache of `1/n` of the entries, is hit about as often as the
/// whole (spatial sampling): each shadow has 256 to 511 entries, or as many as a smaller cache.
///
/// Every three shadow capacities of requests, the shadows' hits, of which nine tenths are remembered
/// from period to period, decide. The live window moves by at most 20 points, and only if the best
/// is better by one part in twenty of the hits or of the misses, whichever are fewer: a move costs
/// hits of its own.
///
/// Source: Waldspurger et al., "Cache Modeling and Optimization using Miniature Simulations", USENIX
/// ATC 2017; the windows, the steps and the threshold are our own, see `docs/design/cache.md`.
#[derive(Debug)]
pub(crate) struct Tuner {
    arms: Vec<Arm>,
    thinning: usize,
    /// How many entries each shadow has.
    capacity: usize,
    period: usize,
    requests: usize,
    /// Requests of the past as `Arm::score` remembers hits.
    weight: f64,
    window: u8,
    /// The last keys that were missed: the insertion that follows a miss is no second request.
    missed: [u32; MISSED],
    next_missed: usize,
}

#[derive(Debug)]
struct Arm {
    window: u8,
    shadow: Shadow,
    hits: u32,
    /// Hits of the past, each period counting nine tenths of the one after.
    score: f64,
}

/// The windows that are tried, in per cent.
const WINDOWS: [u8; 7] = [1, 10, 20, 40, 60, 80, 98];
pub(crate) const WINDOW_AT_START: u8 = 20;
const STEP_MAX: u8 = 20;
const SHADOW_ENTRIES_MIN: usize = 256;
const REMEMBERED: f64 = 0.9;
const GAIN_MIN: f64 = 0.05;
const MISSED: usize = 8;

impl Tuner {
    /// For a cache of about `entries`, at least 1.
    pub(crate) fn new(entries: usize) -> Self {
        let thinning = thinning(entries);
        let capacity = shadow_entries(entries);
        let arm = |window| Arm {
            window,
            shadow: Shadow::new(window, capacity),
            hits: 0,
            score: 0.0,
        };
        Self {
            arms: WINDOWS.map(arm).into(),
            thinning,
            capacity,
            period: (capacity * 3).max(64),
            requests: 0,
            weight: 0.0,
            window: WINDOW_AT_START,
            missed: [0; MISSED],
            next_missed: 0,
        }
    }

    /// Keys that have none of these bits in the part of their hash that samples are drawn by are to
    /// be told.
    pub(crate) fn mask(&self) -> u32 {
        u32::try_from(self.thinning - 1).unwrap_or(u32::MAX)
    }

    /// The live window.
    pub(crate) const fn window(&self) -> u8 {
        self.window
    }

    pub(crate) const fn is_at_start_of_period(&self) -> bool {
        self.requests == 0
    }

    /// Starts with empty shadows if they no longer fit a cache of `entries`, and says whether it did.
    /// The live window stays.
    pub(crate) fn refit(&mut self, entries: usize) -> bool {
        let wanted = shadow_entries(entries);
        let fits = thinning(entries) == self.thinning
            && wanted / 2 < self.capacity
            && self.capacity / 2 < wanted;
        if !fits {
            let window = self.window;
            *self = Self::new(entries);
            self.window = window;
        }
        !fits
    }

    /// A read of a sampled key; `missed` if the live cache did not have it. Gives the live window
    /// when it moves.
    pub(crate) fn read(&mut self, hash: u32, missed: bool) -> Option<u8> {
        if missed {
            self.missed[self.next_missed] = hash;
            self.next_missed = (self.next_missed + 1) % MISSED;
        }
        self.request(hash)
    }

    /// An insertion of a sampled key: a request, unless it answers a miss.
    pub(crate) fn inserted(&mut self, hash: u32) -> Option<u8> {
        match self.missed.iter().position(|missed| *missed == hash) {
            Some(place) => {
                self.missed[place] = 0;
                None
            }
            None => self.request(hash),
        }
    }

    fn request(&mut self, hash: u32) -> Option<u8> {
        for arm in &mut self.arms {
            arm.hits += u32::from(arm.shadow.access(hash));
        }
        self.requests += 1;
        if self.requests < self.period {
            return None;
        }
        self.end_period()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a period has at most 2^20 requests"
    )]
    fn end_period(&mut self) -> Option<u8> {
        self.weight = self.weight.mul_add(REMEMBERED, self.requests as f64);
        self.requests = 0;
        for arm in &mut self.arms {
            arm.score = arm.score.mul_add(REMEMBERED, f64::from(arm.hits));
            arm.hits = 0;
        }
        let now = self
            .arms
            .iter()
            .min_by_key(|arm| arm.window.abs_diff(self.window))?;
        let best = self
            .arms
            .iter()
            .max_by(|a, b| a.score.total_cmp(&b.score))?;
        let fewer = now.score.min(self.weight - now.score).max(0.0);
        if best.score <= fewer.mul_add(GAIN_MIN, now.score) {
            return None;
        }
        let window = best.window.clamp(
            self.window.saturating_sub(STEP_MAX),
            self.window.saturating_add(STEP_MAX),
        );
        self.window = window;
        Some(window)
    }
}

/// The largest power of two that leaves a shadow its entries.
const fn thinning(entries: usize) -> usize {
    let mut thinning = 1;
    while thinning < THINNING_MAX && entries / (thinning * 2) >= SHADOW_ENTRIES_MIN {
        thinning *= 2;
    }
    thinning
}

fn shadow_entries(entries: usize) -> usize {
    (entries / thinning(entries)).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window_after(requests: impl Iterator<Item = u32>, entries: usize) -> u8 {
        let mut tuner = Tuner::new(entries);
        let mut window = WINDOW_AT_START;
        for key in requests {
            let hash = key.wrapping_mul(0x9E37_79B1);
            window = tuner.read(hash, true).unwrap_or(window);
        }
        window
    }

    #[test]
    fn shadows_have_256_to_511_entries_or_all_of_a_small_cache() {
        assert_eq!(thinning(1), 1);
        assert_eq!(thinning(511), 1);
        assert_eq!(thinning(512), 2);
        assert_eq!(thinning(100_000), 256);
        assert_eq!(thinning(usize::MAX), 1024);
    }

    #[test]
    fn a_loop_makes_the_window_small() {
        assert_eq!(window_after((0..100_000).map(|at| at % 400), 256), 1);
    }

    #[test]
    fn keys_that_come_back_soon_or_never_make_the_window_large() {
        // Each is asked for twice, with 40 other new keys between.
        let soon_or_never = (40..50_000).flat_map(|key| [key, key - 40]);
        assert!(window_after(soon_or_never, 100) >= 60);
    }

    #[test]
    fn an_insertion_that_answers_a_miss_is_no_second_request() {
        let mut tuner = Tuner::new(100);
        tuner.read(7, true);
        tuner.inserted(7);
        assert_eq!(tuner.requests, 1);
        tuner.inserted(7);
        assert_eq!(tuner.requests, 2);
    }
}
