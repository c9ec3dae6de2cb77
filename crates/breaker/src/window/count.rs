//! The last N calls, without a lock.

use super::{Counts, Kind};
use crate::sync::{AtomicU32, AtomicU64, Ordering, Padded};

/// A ring of the last N calls. A call takes the next index, and with it the place of the call
/// that is N older; the sums change only where the two went differently. So while all is well a
/// call writes one word, and reads one.
///
/// ```text
/// index := next++;  place := index mod N
/// if slots[place] ≠ (generation, kind):
///     old := swap(slots[place], (generation, kind))
///     sums += kind if the sums are of this generation;  −= old if they are of its
/// ```
///
/// At any moment when no thread stands between these lines, the sums are those of the slots of
/// their generation. A thread that stands there holds back its own call and no other; one that
/// wakes a whole round, or a generation, later overwrites one slot, and the sums follow. What is
/// then one too many is the number of calls, by one for each such thread, until its slot slides
/// out.
#[derive(Debug)]
pub(crate) struct CountWindow {
    size: u64,
    min: u64,
    /// The index of the first call of this generation.
    start: AtomicU64,
    /// An index, lately passed, whose place is 0: saves the division.
    lap: AtomicU64,
    /// The index of the next call; never begins anew.
    next: Padded<AtomicU64>,
    /// | bits | meaning |
    /// |---|---|
    /// | 63–48 | generation, its low bits |
    /// | 47–24 | failed calls in the slots of this generation, plus `BIAS` |
    /// | 23–0 | slow ones, plus `BIAS` |
    ///
    /// The bias is there for the moment at which a call is taken out by who overtook it and was
    /// not put in yet.
    sums: Padded<AtomicU64>,
    /// | bits | meaning |
    /// |---|---|
    /// | 31–2 | generation, its low bits |
    /// | 1 | the call was slow |
    /// | 0 | the call failed |
    slots: Box<[AtomicU32]>,
}

const FAILED: u32 = 1;
const SLOW: u32 = 2;
const TAG_SHIFT: u32 = 2;
const TAG_MAX: u32 = u32::MAX >> TAG_SHIFT;
const ONE_FAILED: u64 = 1 << 24;
const ONE_SLOW: u64 = 1;
const SUM_MASK: u64 = ONE_FAILED - 1;
const BIAS: u64 = 1 << 22;
const SUMS_TAG_SHIFT: u32 = 48;

/// A generation's low bits, as slots hold them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits are what is asked for"
)]
fn tag(generation: u64) -> u32 {
    generation as u32 & TAG_MAX
}

/// The same, as the sums hold them.
fn sums_tag(tag: u32) -> u64 {
    u64::from(tag) << SUMS_TAG_SHIFT
}

/// Sums of nothing.
fn no_sums(generation: u64) -> u64 {
    sums_tag(tag(generation)) | (BIAS * ONE_FAILED) | (BIAS * ONE_SLOW)
}

/// What a slot adds to the sums.
fn weight(slot: u32) -> u64 {
    u64::from(slot & FAILED) * ONE_FAILED + u64::from((slot & SLOW) >> 1) * ONE_SLOW
}

impl CountWindow {
    /// The last `calls`; a rate is known from `min` on.
    pub(crate) fn new(calls: u32, min: u64) -> Self {
        // No generation is 0, so an unused slot is of none.
        let slot = || AtomicU32::new(0);
        Self {
            size: u64::from(calls),
            min,
            start: AtomicU64::new(0),
            lap: AtomicU64::new(0),
            next: Padded(AtomicU64::new(0)),
            sums: Padded(AtomicU64::new(0)),
            slots: std::iter::repeat_with(slot).take(calls as usize).collect(),
        }
    }

    #[inline(always)]
    pub(crate) fn record(&self, generation: u64, kind: Kind) -> Option<Counts> {
        // AcqRel: see `settled`.
        let index = self.next.0.fetch_add(1, Ordering::AcqRel);
        let slot = &self.slots[self.place(index)];
        let kind_bits = u32::from(kind.failed) * FAILED + u32::from(kind.slow) * SLOW;
        let value = tag(generation) << TAG_SHIFT | kind_bits;
        // Relaxed: a window begins before its generation is published, and calls follow that. A
        // call that comes a generation late has an index before the start, and holds nothing.
        let start = self.start.load(Ordering::Relaxed);
        let due = !kind.is_good() || index.wrapping_sub(start).wrapping_add(1) == self.min;
        if slot.load(Ordering::Relaxed) == value && !due {
            return None;
        }
        self.record_with_care(generation, slot, value, due)
    }

    /// The slot changes, or the window has to tell what it holds.
    #[inline(never)]
    fn record_with_care(
        &self,
        generation: u64,
        slot: &AtomicU32,
        value: u32,
        due: bool,
    ) -> Option<Counts> {
        if slot.load(Ordering::Relaxed) != value {
            self.change(slot, value);
        }
        due.then(|| self.settled(generation))
    }

    /// Index modulo size, by a subtraction for all but one call of a round.
    #[inline]
    fn place(&self, index: u64) -> usize {
        // Relaxed: any multiple of the size will do.
        let place = index.wrapping_sub(self.lap.load(Ordering::Relaxed));
        let place = if place < self.size {
            place
        } else {
            self.next_lap(index)
        };
        // Less than the size, which fits.
        usize::try_from(place).unwrap_or(0)
    }

    #[cold]
    #[inline(never)]
    fn next_lap(&self, index: u64) -> u64 {
        let place = index % self.size;
        self.lap.store(index - place, Ordering::Relaxed);
        place
    }

    fn change(&self, slot: &AtomicU32, value: u32) {
        // Relaxed: what counts is the order of swaps of this one word.
        let old = slot.swap(value, Ordering::Relaxed);
        let (new_tag, old_tag) = (value >> TAG_SHIFT, old >> TAG_SHIFT);
        // A slot of an earlier generation is in no sums any more; one of a later, where this
        // thread is the late one, is.
        let age = new_tag.wrapping_sub(old_tag) & TAG_MAX;
        let counted = age == 0 || age > TAG_MAX / 2;
        let (added, removed) = (weight(value), if counted { weight(old) } else { 0 });
        if age == 0 {
            self.adjust(new_tag, added.wrapping_sub(removed));
        } else {
            self.adjust(new_tag, added);
            self.adjust(old_tag, removed.wrapping_neg());
        }
    }

    /// Adds to the sums, if they are of this generation.
    fn adjust(&self, tag: u32, difference: u64) {
        if difference == 0 {
            return;
        }
        let mut sums = self.sums.0.load(Ordering::Relaxed);
        while sums & sums_tag(u32::MAX) == sums_tag(tag) {
            // Neither half leaves its bits: there are fewer slots and threads than the bias.
            let next = sums.wrapping_add(difference);
            // Release: see `settled`.
            match self
                .sums
                .0
                .compare_exchange_weak(sums, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(changed) => sums = changed,
            }
        }
    }

    /// What the window holds, at least with what was recorded before the last change of either
    /// word.
    ///
    /// A verdict must not be missed between the call that failed and the one that made the
    /// calls enough. The first writes the sums and then reads `next`, the other writes `next` and
    /// then reads the sums; both by read-modify-write, which reads the latest. If the first comes
    /// before the other in the order of `next`, the other's Acquire sees its sums; else it sees
    /// the other's index.
    fn settled(&self, generation: u64) -> Counts {
        let next = self.next.0.fetch_add(0, Ordering::AcqRel);
        let sums = self.sums.0.fetch_add(0, Ordering::AcqRel);
        self.of(generation, next, sums)
    }

    pub(crate) fn counts(&self, generation: u64) -> Counts {
        let next = self.next.0.load(Ordering::Acquire);
        let sums = self.sums.0.load(Ordering::Acquire);
        self.of(generation, next, sums)
    }

    fn of(&self, generation: u64, next: u64, sums: u64) -> Counts {
        if sums & sums_tag(u32::MAX) != sums_tag(tag(generation)) {
            return Counts::default();
        }
        let held = next.wrapping_sub(self.start.load(Ordering::Relaxed));
        Counts {
            total: held.min(self.size),
            failed: ((sums / ONE_FAILED) & SUM_MASK).saturating_sub(BIAS),
            slow: (sums & SUM_MASK).saturating_sub(BIAS),
        }
    }

    /// The caller lets one thread at a time in, and publishes the generation afterwards.
    pub(crate) fn begin(&self, generation: u64) {
        let next = self.next.0.load(Ordering::Acquire);
        self.start.store(next, Ordering::Relaxed);
        // Not a store: an adjustment that is under way must not come after it unseen.
        self.sums.0.swap(no_sums(generation), Ordering::AcqRel);
    }
}

#[cfg(all(test, stanchion_loom))]
mod loom;

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        // Mostly good, so that the short way is taken too.
        (0_u8..10, 0_u8..10).prop_map(|(failed, slow)| Kind {
            failed: failed == 0,
            slow: slow == 0,
        })
    }

    fn counted(calls: &VecDeque<Kind>) -> Counts {
        let mut counts = Counts::default();
        calls.iter().for_each(|kind| counts.add(*kind));
        counts
    }

    proptest! {
        #[test]
        fn it_holds_exactly_the_last_calls_of_each_generation(
            size in 1_u32..12,
            generations in proptest::collection::vec(
                proptest::collection::vec(kinds(), 0..40), 1..6,
            ),
        ) {
            let window = CountWindow::new(size, 1);
            for (generation, calls) in (1_u64..).zip(generations) {
                window.begin(generation);
                let mut last = VecDeque::new();
                for kind in calls {
                    window.record(generation, kind);
                    last.push_back(kind);
                    if last.len() > size as usize {
                        last.pop_front();
                    }
                    prop_assert_eq!(window.counts(generation), counted(&last));
                }
            }
        }

        /// All but good calls ask for a verdict, and so does the one that makes them enough.
        #[test]
        fn a_verdict_is_due_where_a_rate_may_have_risen(
            size in 1_u32..12, min in 1_u64..12, calls in proptest::collection::vec(kinds(), 0..40),
        ) {
            let min = min.min(u64::from(size));
            let window = CountWindow::new(size, min);
            window.begin(1);
            for (kind, held) in calls.into_iter().zip(1..) {
                let due = window.record(1, kind);
                prop_assert_eq!(due.is_some(), !kind.is_good() || held == min);
                prop_assert!(due.is_none_or(|counts| counts == window.counts(1)));
            }
        }
    }

    #[test]
    fn late_calls_of_an_earlier_generation_leave_no_mark() {
        let failed = Kind {
            failed: true,
            slow: false,
        };
        let window = CountWindow::new(4, 1);
        window.begin(1);
        window.record(1, failed);
        window.begin(2);
        for _ in 0..4 {
            window.record(2, failed);
        }
        window.record(1, failed);
        assert_eq!(window.counts(2).failed, 3, "it took the place of one");
        for _ in 0..4 {
            window.record(2, Kind::default());
        }
        assert_eq!(window.counts(2).failed, 0);
        assert_eq!(window.counts(1), Counts::default());
    }
}
