//! The system's time: the processor's counter if the kernel keeps time by it, else std.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the machine's clocks"
)]

use std::cell::Cell;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use super::Instant;
use super::anchor::{Line, Pace, Published, Sample};

/// Where the kernel says which clock source it trusts.
const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
/// The first line rests on a short calibration, so it is drawn anew soon.
const FIRST_LINE_NS: u64 = 10_000_000;

/// The calibration of this process's clock, the one thing about time that is process-wide. It
/// stands here itself and not behind a pointer, which each reading would have to follow.
static COUNTER: OnceLock<Counter> = OnceLock::new();
/// Which source it is, once that is known.
static SOURCE: OnceLock<Source> = OnceLock::new();

thread_local! {
    /// The line that this thread read last. It holds until it is due.
    static LINE: Cell<Line> = const { Cell::new(Line::none()) };
}

enum Source {
    /// [`COUNTER`].
    Counter,
    Std(std::time::Instant),
}

struct Counter {
    ticks: quanta::Clock,
    origin: std::time::Instant,
    published: Published,
    pace: Mutex<Pace>,
}

#[inline]
pub(super) fn now() -> Instant {
    match COUNTER.get() {
        Some(counter) => counter.now(),
        None => first_or_std(),
    }
}

/// Calibrates, if nobody has; reads the standard library's clock where that is the source.
#[cold]
fn first_or_std() -> Instant {
    match SOURCE.get_or_init(choose) {
        Source::Counter => COUNTER.get_or_init(Counter::calibrate).now(),
        Source::Std(origin) => {
            Instant::from_nanos(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
        }
    }
}

pub(super) fn unix_time() -> Duration {
    // Before 1970 there is nothing that a date or an identifier could be made from.
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

fn choose() -> Source {
    let trusted = std::fs::read_to_string(CLOCK_SOURCE)
        .is_ok_and(|source| matches!(source.trim(), "tsc" | "arch_sys_counter"));
    if trusted {
        Source::Counter
    } else {
        Source::Std(std::time::Instant::now())
    }
}

impl Counter {
    fn calibrate() -> Self {
        let ticks = quanta::Clock::new();
        let origin = std::time::Instant::now();
        let first = Sample {
            tick: ticks.raw(),
            kernel_ns: 0,
        };
        // Nanoseconds in 2³² ticks are nanoseconds per tick times 2³².
        let slope = ticks.delta_as_nanos(0, 1 << 32);
        let line = Line::new(first.tick, 0, slope, FIRST_LINE_NS, slope);
        Self {
            ticks,
            origin,
            published: Published::new(&line),
            pace: Mutex::new(Pace::new(first)),
        }
    }

    #[inline]
    fn now(&self) -> Instant {
        let tick = self.ticks.raw();
        let nanos = LINE.with(|line| line.get().before_due(tick));
        nanos.map_or_else(|| self.now_on_next_line(), Instant::from_nanos)
    }

    /// The time by the line in force; by a new one, if that is due.
    #[cold]
    #[inline(never)]
    fn now_on_next_line(&self) -> Instant {
        let read = || self.published.read(|| self.ticks.raw());
        let (_, line) = read();
        if line.before_due(self.ticks.raw()).is_none() {
            self.redraw();
        }
        // If another thread is still drawing, by the old line, which goes on straight.
        let (nanos, line) = read();
        LINE.set(line);
        Instant::from_nanos(nanos)
    }

    fn redraw(&self) {
        self.published.redraw(|old| {
            let mut pace = self
                .pace
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            let (line, next) = pace.next_line(old, self.sample());
            *pace = next;
            line
        });
    }

    /// Both clocks at one moment: the tightest of a few tries, since the thread may be interrupted
    /// between the two.
    fn sample(&self) -> Sample {
        let try_once = |_| {
            let before = self.ticks.raw();
            let kernel = self.origin.elapsed();
            let after = self.ticks.raw();
            let sample = Sample {
                tick: before + after.saturating_sub(before) / 2,
                kernel_ns: u64::try_from(kernel.as_nanos()).unwrap_or(u64::MAX),
            };
            (after.saturating_sub(before), sample)
        };
        let tightest = (0..4).map(try_once).min_by_key(|(width, _)| *width);
        tightest.map_or(
            Sample {
                tick: 0,
                kernel_ns: 0,
            },
            |(_, sample)| sample,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back_on_one_thread_while_others_redraw() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = now();
                    for _ in 0..200_000 {
                        let next = now();
                        assert!(next >= last, "{next:?} after {last:?}");
                        last = next;
                    }
                });
            }
        });
    }
}
