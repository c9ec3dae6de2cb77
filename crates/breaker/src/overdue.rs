//! Calls under way, by when they began, to see those that hang.

use std::time::Duration;

use stanchion_core::Instant;

use crate::sync::{AtomicU64, Ordering};

/// Calls are counted by the slice of time in which they began, sixteen slices to the threshold, in
/// a ring of twice as many. Where a slice needs a place that is still taken, what is left there
/// has been under way for longer than the threshold, and moves to the *leftovers*.
#[derive(Debug)]
pub(crate) struct Overdue {
    width: u64,
    threshold: u64,
    /// | bits | meaning |
    /// |---|---|
    /// | 63–24 | generation (12 bits) and slice (28 bits) |
    /// | 23–0 | calls that are under way |
    slots: Box<[AtomicU64]>,
    /// | bits | meaning |
    /// |---|---|
    /// | 63–48 | generation, its low bits |
    /// | 47–0 | calls that are under way, plus `BIAS`: who leaves may be faster than who moved it |
    leftovers: AtomicU64,
}

const SLICES: u64 = 16;
const SLOTS: u64 = 2 * SLICES;
const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const SLICE: u64 = (1 << 28) - 1;
const BIAS: u64 = 1 << 40;
const LEFT_COUNT: u64 = (1 << 48) - 1;

impl Overdue {
    pub(crate) fn new(threshold: Duration) -> Self {
        let threshold = u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX);
        Self {
            width: threshold.div_ceil(SLICES).max(1),
            threshold,
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            leftovers: AtomicU64::new(BIAS),
        }
    }

    /// Counts a call that begins. Tells the moment at which it is counted to have begun: that of
    /// another thread's clock, where its place shows a later slice already. Tells also whether it
    /// is the first of its slice: then it is time to look at those that hang.
    pub(crate) fn enter(&self, generation: u64, now: Instant) -> (Instant, bool) {
        let slice = now.as_nanos() / self.width;
        let tag = tag(generation, slice);
        let slot = &self.slots[usize::try_from(slice % SLOTS).unwrap_or(0)];
        // Relaxed throughout: each word is all there is; sums of several are estimates.
        let mut word = slot.load(Ordering::Relaxed);
        loop {
            let found = word >> COUNT_BITS;
            let later = found >> 28 == tag >> 28 && is_later(found, tag);
            let turned = found != tag && !later;
            let next = if turned {
                tag << COUNT_BITS | 1
            } else {
                word + 1
            };
            match slot.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    if turned && found >> 28 == tag >> 28 {
                        self.move_leftovers(generation, word & COUNT);
                    }
                    if !later {
                        return (now, turned);
                    }
                    let ahead = found.wrapping_sub(tag) & SLICE;
                    return (Instant::from_nanos((slice + ahead) * self.width), false);
                }
                Err(changed) => word = changed,
            }
        }
    }

    /// Counts a call no more that was counted to have begun at that moment in `generation`.
    pub(crate) fn leave(&self, generation: u64, counted_at: Instant) {
        let slice = counted_at.as_nanos() / self.width;
        let tag = tag(generation, slice);
        let slot = &self.slots[usize::try_from(slice % SLOTS).unwrap_or(0)];
        let mut word = slot.load(Ordering::Relaxed);
        while word >> COUNT_BITS == tag {
            match slot.compare_exchange_weak(word, word - 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => word = changed,
            }
        }
        self.move_leftovers(generation, 1_u64.wrapping_neg());
    }

    /// How many calls of `generation` have been under way for longer than the threshold.
    pub(crate) fn count(&self, generation: u64, now: Instant) -> u64 {
        let slice = now.as_nanos() / self.width;
        // Slices before this one ended before the threshold began.
        let ended = now.as_nanos().saturating_sub(self.threshold) / self.width;
        let of_now = tag(generation, slice);
        let mut overdue = 0;
        for slot in &self.slots {
            let word = slot.load(Ordering::Relaxed);
            let found = word >> COUNT_BITS;
            let age = of_now.wrapping_sub(found) & SLICE;
            let same = found >> 28 == of_now >> 28 && !is_later(found, of_now);
            if same && age > slice - ended {
                overdue += word & COUNT;
            }
        }
        let left = self.leftovers.load(Ordering::Relaxed);
        if left >> 48 == generation & 0xffff {
            overdue += (left & LEFT_COUNT).saturating_sub(BIAS);
        }
        overdue
    }

    /// Forgets the calls of earlier generations.
    pub(crate) fn begin(&self, generation: u64) {
        let empty = (generation & 0xffff) << 48 | BIAS;
        self.leftovers.store(empty, Ordering::Relaxed);
    }

    fn move_leftovers(&self, generation: u64, difference: u64) {
        let mut word = self.leftovers.load(Ordering::Relaxed);
        while difference != 0 && word >> 48 == generation & 0xffff {
            let next = (word & !LEFT_COUNT) | (word.wrapping_add(difference) & LEFT_COUNT);
            match self.leftovers.compare_exchange_weak(
                word,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(changed) => word = changed,
            }
        }
    }
}

fn tag(generation: u64, slice: u64) -> u64 {
    (generation & 0xfff) << 28 | slice & SLICE
}

/// Whether the slice of `found` comes after that of `tag`, modulo 2²⁸.
fn is_later(found: u64, tag: u64) -> bool {
    let ahead = found.wrapping_sub(tag) & SLICE;
    ahead != 0 && ahead < SLICE / 2
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Enter,
        /// The call that entered so many before the last leaves.
        Leave(usize),
        Wait(u64),
        Generation,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Enter),
            4 => any::<usize>().prop_map(Step::Leave),
            5 => (0_u64..400).prop_map(Step::Wait),
            1 => (0_u64..9000).prop_map(Step::Wait),
            1 => Just(Step::Generation),
        ];
        proptest::collection::vec(step, 0..120)
    }

    proptest! {
        /// A call is overdue once the slice in which it began has ended a threshold ago: at the
        /// latest a sixteenth of the threshold after its time.
        #[test]
        fn it_counts_the_calls_that_hang(steps in steps()) {
            let threshold = 1600;
            let overdue = Overdue::new(Duration::from_nanos(threshold));
            let (mut generation, mut now) = (1, 5000);
            overdue.begin(generation);
            let mut calls: Vec<(u64, u64, Instant)> = Vec::new();
            for step in steps {
                match step {
                    Step::Enter => {
                        let (at, _) = overdue.enter(generation, Instant::from_nanos(now));
                        calls.push((generation, now, at));
                    }
                    Step::Leave(which) if !calls.is_empty() => {
                        let (generation, _, at) = calls.swap_remove(which % calls.len());
                        overdue.leave(generation, at);
                    }
                    Step::Leave(_) => {}
                    Step::Wait(nanos) => now += nanos,
                    Step::Generation => {
                        generation += 1;
                        overdue.begin(generation);
                    }
                }
                let of_now = calls.iter().filter(|(of, ..)| *of == generation);
                let (mut surely, mut possibly) = (0, 0);
                for (_, began, _) in of_now {
                    surely += u64::from(now - began > threshold + 100);
                    possibly += u64::from(now - began > threshold);
                }
                let counted = overdue.count(generation, Instant::from_nanos(now));
                prop_assert!((surely..=possibly).contains(&counted), "{counted} at {now}");
            }
        }
    }
}
