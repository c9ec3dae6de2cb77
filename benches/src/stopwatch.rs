//! Reads two clocks at once: the one on the wall, and the processor time of this thread.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A moment on both clocks, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) wall: u64,
    pub(crate) cpu: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            wall: nanos(clock_gettime(ClockId::Monotonic)),
            cpu: nanos(clock_gettime(ClockId::ThreadCPUTime)),
        }
    }

    /// Nanoseconds on the wall since `self`; cheaper than both clocks.
    pub(crate) fn wall_elapsed(self) -> u64 {
        nanos(clock_gettime(ClockId::Monotonic)).saturating_sub(self.wall)
    }

    /// What passed since `self`.
    pub(crate) fn elapsed(self) -> Span {
        let now = Self::now();
        Span {
            start: self.wall,
            end: now.wall,
            cpu: now.cpu.saturating_sub(self.cpu),
        }
    }
}

/// What one thread did between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Processor time of the thread.
    pub(crate) cpu: u64,
}

impl Span {
    pub(crate) fn wall(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// The share of the wall time that the thread was running.
    pub(crate) fn cpu_share(&self) -> f64 {
        self.cpu as f64 / self.wall().max(1) as f64
    }
}

/// The share of the longest stretch covered by all `spans` at once.
pub(crate) fn overlap(spans: &[Span]) -> f64 {
    let first = spans.iter().map(|span| span.start).min().unwrap_or(0);
    let last = spans.iter().map(|span| span.end).max().unwrap_or(0);
    let all_in = spans.iter().map(|span| span.start).max().unwrap_or(0);
    let one_out = spans.iter().map(|span| span.end).min().unwrap_or(0);
    one_out.saturating_sub(all_in) as f64 / last.saturating_sub(first).max(1) as f64
}

fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, end: u64, cpu: u64) -> Span {
        Span { start, end, cpu }
    }

    #[test]
    fn a_busy_thread_uses_processor_time() {
        let start = Moment::now();
        let mut sum = 0_u64;
        while start.elapsed().cpu < 1_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        let span = start.elapsed();
        assert!(span.cpu >= 1_000_000 && span.wall() > 0, "{span:?}");
    }

    #[test]
    fn shares_are_of_the_wall_time() {
        assert!((span(100, 200, 98).cpu_share() - 0.98).abs() < 1e-9);
    }

    #[test]
    fn the_overlap_is_the_part_shared_by_all() {
        assert!((overlap(&[span(0, 90, 0), span(10, 100, 0)]) - 0.8).abs() < 1e-9);
        assert!(overlap(&[span(0, 10, 0), span(20, 30, 0)]).abs() < 1e-9);
    }
}
