//! Turns a processor's counter into nanoseconds that keep pace with the kernel's clock.
//!
//! The counter ticks at a rate that is known only roughly, so the conversion is a straight line
//! that is drawn anew about once a second. A new line starts exactly where the old one stands (two
//! nanoseconds on, against rounding), never below it, and leans just enough to meet the kernel's
//! clock again. So no reader ever sees a step back, and the error does not accumulate. The lean is
//! meant for its second: where nobody reads for longer, the line goes on straight.
//!
//! A line is published through two slots and a generation. Generation `g` stands in slot `g % 2`,
//! and the slot is written again only after `g + 1` was published. A reader takes the generation,
//! the line, the counter, and then the generation once more: unchanged means that the line was
//! whole and still in force when the counter was read. Readers never wait for a writer.
//!
//! A line holds until it is due, whatever was published since (nothing is, before), so a thread keeps
//! the one that it read last, and looks here about once a second.

use crate::sync::{AtomicBool, AtomicU64, Ordering, fence};

/// Nanoseconds per tick are a fixed-point number with this many binary places.
const FRACTION_BITS: u32 = 32;
/// How long a line is used before it is drawn anew.
const LINE_NS: u64 = 1_000_000_000;
/// How much a line may lean to meet the kernel's clock: 40 millionths.
const LEAN_PER_MILLION: u64 = 40;
/// An error beyond this is not drift (the machine slept, or was moved): it is not leaned away.
const JUMP_NS: u64 = 1_000_000;

/// A line from ticks to nanoseconds, with a bend where the next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Nanoseconds at tick 0, if the line went back that far; modulo 2⁶⁴.
    offset: u64,
    /// Nanoseconds per tick, times 2³².
    slope: u64,
    /// The tick from which a new line is due.
    due_tick: u64,
    /// The slope from there on: the measured one, without a lean.
    straight: u64,
}

impl Line {
    /// The line through (`tick`, `ns`) with `slope`, due again after `valid_ns`, and `straight` from
    /// there on.
    pub(super) fn new(tick: u64, ns: u64, slope: u64, valid_ns: u64, straight: u64) -> Self {
        let valid_ticks = (u128::from(valid_ns) << FRACTION_BITS) / u128::from(slope.max(1));
        Self {
            offset: ns.wrapping_sub(scaled(tick, slope)),
            slope,
            due_tick: tick.saturating_add(u64::try_from(valid_ticks).unwrap_or(u64::MAX)),
            straight,
        }
    }

    /// The nanoseconds at a tick.
    ///
    /// A tick that was taken a moment before the line's start, as a processor may that runs ahead
    /// of its orders, reads on the line drawn backwards: as good as on the one before.
    #[inline]
    fn at(&self, tick: u64) -> u64 {
        if tick < self.due_tick {
            self.leaning(tick)
        } else {
            self.beyond(tick)
        }
    }

    #[inline]
    fn leaning(&self, tick: u64) -> u64 {
        self.offset.wrapping_add(scaled(tick, self.slope))
    }

    /// The nanoseconds at a tick before the next line is due; `None` from there on.
    #[inline]
    pub(super) fn before_due(&self, tick: u64) -> Option<u64> {
        (tick < self.due_tick).then(|| self.leaning(tick))
    }

    /// A line that is due at once.
    pub(super) const fn none() -> Self {
        Self {
            offset: 0,
            slope: 0,
            due_tick: 0,
            straight: 0,
        }
    }

    #[cold]
    fn beyond(&self, tick: u64) -> u64 {
        let since = tick.saturating_sub(self.due_tick);
        self.leaning(self.due_tick)
            .wrapping_add(scaled(since, self.straight))
    }
}

/// `ticks` in nanoseconds, modulo 2⁶⁴ (584 years).
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "wraps after 584 years")]
fn scaled(ticks: u64, slope: u64) -> u64 {
    ((u128::from(ticks) * u128::from(slope)) >> FRACTION_BITS) as u64
}

/// One reading of the counter and of the kernel's clock at the same moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) tick: u64,
    pub(super) kernel_ns: u64,
}

/// What redrawing a line goes by: the sample before, and where our zero lies on the kernel's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    last: Sample,
    /// Kernel nanoseconds minus ours; moves only when the counter jumped.
    offset: u64,
}

impl Pace {
    pub(super) fn new(first: Sample) -> Self {
        Self {
            last: first,
            offset: first.kernel_ns,
        }
    }

    /// The line that follows `old` at `sample`, and the pace to go on with. The same line again if
    /// it is not due yet, or the sample is of no use.
    pub(super) fn next_line(self, old: &Line, sample: Sample) -> (Line, Self) {
        // Another thread was faster. From its sample to this one is too short a time to tell the
        // rate by: a tenth of a microsecond too much, in ten, would hold for a second.
        if sample.tick < old.due_tick {
            return (*old, self);
        }
        let ticks = sample.tick.saturating_sub(self.last.tick);
        let kernel = sample.kernel_ns.saturating_sub(self.last.kernel_ns);
        if ticks == 0 || kernel == 0 {
            return (
                Line {
                    due_tick: sample.tick.saturating_add(1 << 24),
                    ..*old
                },
                self,
            );
        }
        let ours = old.at(sample.tick).wrapping_add(2);
        let truth = sample.kernel_ns.wrapping_sub(self.offset);
        let behind = truth.saturating_sub(ours);
        let ahead = ours.saturating_sub(truth);
        let measured = (u128::from(kernel) << FRACTION_BITS) / u128::from(ticks);
        let mut pace = Self {
            last: sample,
            ..self
        };

        if behind > JUMP_NS || ahead > JUMP_NS {
            // The counter and the kernel disagree on how long the machine was away. The pace of
            // that time says nothing; keep the slope. Stepping on is harmless, stepping back is not.
            let start = ours.max(truth);
            pace.offset = sample.kernel_ns.wrapping_sub(start);
            let slope = old.straight;
            return (Line::new(sample.tick, start, slope, LINE_NS, slope), pace);
        }
        let lean = |error: u64| {
            let most = LINE_NS / 1_000_000 * LEAN_PER_MILLION;
            measured * u128::from(error.min(most)) / u128::from(LINE_NS)
        };
        let slope = measured + lean(behind) - lean(ahead);
        let slope = u64::try_from(slope).unwrap_or(old.slope).max(1);
        let straight = u64::try_from(measured).unwrap_or(old.straight).max(1);
        (Line::new(sample.tick, ours, slope, LINE_NS, straight), pace)
    }
}

/// The line in force, read without waiting by any number of threads.
#[derive(Debug)]
pub(super) struct Published {
    generation: AtomicU64,
    slots: [Slot; 2],
    redrawing: AtomicBool,
}

#[derive(Debug)]
struct Slot {
    offset: AtomicU64,
    slope: AtomicU64,
    due_tick: AtomicU64,
    straight: AtomicU64,
}

impl Slot {
    fn new(line: &Line) -> Self {
        Self {
            offset: AtomicU64::new(line.offset),
            slope: AtomicU64::new(line.slope),
            due_tick: AtomicU64::new(line.due_tick),
            straight: AtomicU64::new(line.straight),
        }
    }

    // Relaxed: the fences of the readers and of `publish` order the four.
    #[inline]
    fn load(&self) -> Line {
        Line {
            offset: self.offset.load(Ordering::Relaxed),
            slope: self.slope.load(Ordering::Relaxed),
            due_tick: self.due_tick.load(Ordering::Relaxed),
            straight: self.straight.load(Ordering::Relaxed),
        }
    }

    fn store(&self, line: &Line) {
        self.offset.store(line.offset, Ordering::Relaxed);
        self.slope.store(line.slope, Ordering::Relaxed);
        self.due_tick.store(line.due_tick, Ordering::Relaxed);
        self.straight.store(line.straight, Ordering::Relaxed);
    }
}

impl Published {
    pub(super) fn new(line: &Line) -> Self {
        Self {
            generation: AtomicU64::new(0),
            slots: [Slot::new(line), Slot::new(line)],
            redrawing: AtomicBool::new(false),
        }
    }

    /// The nanoseconds now, and the line that says so.
    pub(super) fn read(&self, counter: impl Fn() -> u64) -> (u64, Line) {
        loop {
            // Acquire pairs with the Release store in `publish`: the line of this generation is whole.
            let generation = self.generation.load(Ordering::Acquire);
            let line = self.slots[usize::from(generation % 2 == 1)].load();
            let tick = counter();
            // Pairs with the Release fence in `publish`: had the slot been written again meanwhile,
            // the load below would see a later generation.
            fence(Ordering::Acquire);
            if self.generation.load(Ordering::Relaxed) == generation {
                return (line.at(tick), line);
            }
        }
    }

    /// Draws the next line with `draw`, unless another thread is at it already.
    pub(super) fn redraw(&self, draw: impl FnOnce(&Line) -> Line) {
        // Acquire and Release make this a lock: the writer below sees the writer before.
        if self.redrawing.swap(true, Ordering::Acquire) {
            return;
        }
        let generation = self.generation.load(Ordering::Relaxed);
        let line = draw(&self.slots[usize::from(generation % 2 == 1)].load());
        self.publish(generation.wrapping_add(1), &line);
        self.redrawing.store(false, Ordering::Release);
    }

    fn publish(&self, generation: u64, line: &Line) {
        // Orders the store of the generation before (last time) ahead of the stores to the slot.
        fence(Ordering::Release);
        self.slots[usize::from(generation % 2 == 1)].store(line);
        self.generation.store(generation, Ordering::Release);
    }
}

#[cfg(all(test, stanchion_loom))]
mod loom;

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A counter of 2.6 GHz that runs `ppm` millionths fast, and a first guess that is `guess`
    /// millionths off; reads at `steps` nanoseconds of true time.
    fn follow(ppm: i64, guess: i64, steps: &[u64]) -> Vec<(u64, u64)> {
        let tick_at = |ns: u64| {
            let rate = 2_600_000_000_i128 * (1_000_000 + i128::from(ppm)) / 1_000_000;
            u64::try_from(i128::from(ns) * rate / 1_000_000_000).unwrap_or(u64::MAX)
        };
        let exact = (1_i64 << 32) * 10 / 26;
        let slope = (exact + exact / 1_000_000 * guess).unsigned_abs();
        let first = Sample {
            tick: tick_at(0),
            kernel_ns: 77,
        };
        let mut pace = Pace::new(first);
        let mut line = Line::new(first.tick, 0, slope, 10_000_000, slope);
        let mut now = 0;
        steps
            .iter()
            .map(|step| {
                now += step;
                let tick = tick_at(now);
                let read = line.at(tick);
                if tick >= line.due_tick {
                    let sample = Sample {
                        tick,
                        kernel_ns: now + 77,
                    };
                    (line, pace) = pace.next_line(&line, sample);
                }
                (now, read)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn never_steps_back_and_drifts_less_than_50_ppm(
            ppm in -300_i64..300,
            guess in -100_i64..100,
            steps in prop::collection::vec(1_u64..5_000_000, 1_000..3_000),
        ) {
            let reads = follow(ppm, guess, &steps);
            for pair in reads.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].1);
            }
            // After the first short line the rate is known: compare over at least a second.
            let settled: Vec<_> = reads.iter().filter(|(now, _)| *now > 100_000_000).collect();
            for (a, b) in settled.iter().zip(settled.iter().skip(400)) {
                let (true_span, span) = (b.0 - a.0, b.1 - a.1);
                let error = span.abs_diff(true_span);
                prop_assert!(error <= true_span / 20_000 + 20, "{span} for {true_span}");
            }
        }
    }

    #[test]
    fn a_line_that_is_not_due_is_not_drawn_anew() {
        let second = 1_000_000_000;
        let first = Sample {
            tick: 0,
            kernel_ns: 0,
        };
        let old = Line::new(0, 0, 1 << 32, second, 1 << 32);
        let due = Sample {
            tick: second,
            kernel_ns: second,
        };
        let (line, pace) = Pace::new(first).next_line(&old, due);
        assert_ne!(line, old);
        // A thread that met the old line a moment later, with a reading that is a bit off.
        let late = Sample {
            tick: second + 1_000,
            kernel_ns: second + 1_100,
        };
        let (again, pace) = pace.next_line(&line, late);
        assert_eq!((again, pace.last.tick), (line, second));
    }

    #[test]
    fn a_machine_that_slept_neither_goes_back_nor_crawls() {
        let second = 1_000_000_000_u64;
        let first = Sample {
            tick: 0,
            kernel_ns: 0,
        };
        let line = Line::new(0, 0, 1 << 32, second, 1 << 32);
        // The counter counted an hour that the kernel did not.
        let hour = 3_600 * second;
        let sample = Sample {
            tick: hour + second,
            kernel_ns: second,
        };
        let (line, pace) = Pace::new(first).next_line(&line, sample);
        assert!(line.at(sample.tick) > hour);
        // From there on it keeps pace.
        let later = Sample {
            tick: sample.tick + second,
            kernel_ns: 2 * second,
        };
        let (next, _) = pace.next_line(&line, later);
        assert_eq!(next.at(later.tick) - line.at(sample.tick), second + 2);
    }

    proptest! {
        /// A line that leans must not lean on while nobody reads: after an hour that would be a
        /// tenth of a second.
        #[test]
        fn the_first_second_after_a_rest_is_a_second(
            ppm in -300_i64..300,
            guess in -100_i64..100,
            busy in prop::collection::vec(1_000_000_u64..5_000_000, 100..1_000),
            rests in prop::collection::vec(1_u64..3_600, 1..4),
        ) {
            let second = 1_000_000_000;
            let mut steps = busy;
            for rest in &rests {
                steps.push(rest * second);
                steps.extend([second / 100; 300]);
            }
            let reads = follow(ppm, guess, &steps);
            for pair in reads.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].1);
            }
            // From the first reading after a rest on, over one second.
            for (a, b) in reads.iter().zip(reads.iter().skip(100)) {
                let (true_span, span) = (b.0 - a.0, b.1 - a.1);
                if true_span == second && a.0 > 100_000_000 {
                    let error = span.abs_diff(true_span);
                    prop_assert!(error <= true_span / 20_000 + 20, "{span} for {true_span}");
                }
            }
        }
    }
}
