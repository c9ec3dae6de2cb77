//! Several threads on one shared object: processor time for one operation of one thread, or the time
//! that passes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::single::{batch_for, warm_up};
use super::{Batch, Measure, Sample, Sampler, Try, undisturbed};
use crate::effort::Effort;
use crate::stopwatch::{Moment, Span, overlap};

/// How long a thread works between two looks at the time. A look costs some 25 ns.
const STRIDE_NS: u64 = 20_000;
/// A burst in which the threads were together for a smaller share than this is repeated.
const OVERLAP_MIN: f64 = 0.9;

/// Measures the processor time of one operation of one thread, while `threads` threads work on
/// the same object.
///
/// `build` makes the object afresh for each run and returns one batch runner for each thread. The
/// threads start together and work for the same time, however unevenly they get ahead. A lock
/// that parks its waiters spares the processor, not the wait: such bursts fall short of the
/// processor time asked for, and are marked as noisy.
///
/// # Panics
/// When run, if `build` returns another number of runners than `threads`.
#[must_use]
pub fn contended(threads: usize, build: impl Fn() -> Vec<Batch> + 'static) -> Measure {
    measure(threads, Counted::Processor, build)
}

/// As [`contended`], but measures the time that passes, waits included: for cases in which one waits
/// asleep for another. What else ran on the machine meanwhile cannot be told from such a wait, so it
/// must be quiet.
///
/// # Panics
/// When run, if `build` returns another number of runners than `threads`.
#[must_use]
pub fn contended_with_waits(threads: usize, build: impl Fn() -> Vec<Batch> + 'static) -> Measure {
    measure(threads, Counted::Passing, build)
}

fn measure(threads: usize, counted: Counted, build: impl Fn() -> Vec<Batch> + 'static) -> Measure {
    Measure::new(move |effort| {
        let runners = build();
        assert_eq!(runners.len(), threads, "one batch runner for each thread");
        Box::new(Contended::prepare(runners, counted, effort))
    })
}

/// Which time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// That of the processor.
    Processor,
    /// All that passes.
    Passing,
}

struct Contended {
    runners: Vec<Batch>,
    counted: Counted,
    stride: u64,
    burst_ns: u64,
}

impl Contended {
    fn prepare(mut runners: Vec<Batch>, counted: Counted, effort: &Effort) -> Self {
        for run in &mut runners {
            warm_up(run, effort.warm_up_ns);
        }
        let stride = batch_for(&mut runners[0], STRIDE_NS);
        Self {
            runners,
            counted,
            stride,
            burst_ns: effort.burst_ns,
        }
    }

    fn burst(&mut self) -> Try {
        let threads = self.runners.len();
        let (stride, burst_ns) = (self.stride, self.burst_ns);
        let arrived = AtomicUsize::new(0);
        let work: Vec<Work> = thread::scope(|scope| {
            let handles: Vec<_> = self
                .runners
                .iter_mut()
                .map(|run| {
                    let arrived = &arrived;
                    scope.spawn(move || {
                        // A barrier that does not sleep: a woken thread would start late.
                        arrived.fetch_add(1, Ordering::AcqRel);
                        while arrived.load(Ordering::Acquire) < threads {
                            std::hint::spin_loop();
                        }
                        work_for(run, stride, burst_ns)
                    })
                })
                .collect();
            handles
                .into_iter()
                .map(|handle| handle.join().expect("a contestant panicked"))
                .collect()
        });
        summed(&work, self.counted)
    }
}

impl Sampler for Contended {
    fn sample(&mut self) -> Sample {
        undisturbed(|| self.burst())
    }
}

/// What one thread got done.
#[derive(Clone, Copy, Debug)]
struct Work {
    operations: u64,
    span: Span,
}

fn work_for(run: &mut Batch, stride: u64, burst_ns: u64) -> Work {
    // Meets the other threads before anything counts.
    run(stride);
    let mut operations = 0;
    let start = Moment::now();
    loop {
        run(stride);
        operations += stride;
        if start.wall_elapsed() >= burst_ns {
            let span = start.elapsed();
            return Work { operations, span };
        }
    }
}

fn summed(work: &[Work], counted: Counted) -> Try {
    let time = |span: &Span| match counted {
        Counted::Processor => span.cpu,
        Counted::Passing => span.wall(),
    };
    let time: u64 = work.iter().map(|work| time(&work.span)).sum();
    let operations: u64 = work.iter().map(|work| work.operations).sum();
    let share = |span: &Span| match counted {
        Counted::Processor => span.cpu_share(),
        Counted::Passing => 1.0,
    };
    let least = work
        .iter()
        .map(|work| share(&work.span))
        .fold(f64::INFINITY, f64::min);
    let spans: Vec<Span> = work.iter().map(|work| work.span).collect();
    let together = overlap(&spans);
    Try {
        value: time as f64 / operations as f64,
        share: if together < OVERLAP_MIN {
            least.min(together)
        } else {
            least
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn every_thread_works_on_the_shared_object() {
        let shared = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let runner = |thread: usize| -> Batch {
            let shared = Arc::clone(&shared);
            Box::new(move |iterations| {
                for _ in 0..iterations {
                    shared[thread].fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let mut contended = Contended::prepare(
            vec![runner(0), runner(1)],
            Counted::Processor,
            &Effort::QUICK,
        );
        let before = shared.each_ref().map(|count| count.load(Ordering::Relaxed));
        let sample = contended.sample();
        let after = shared.each_ref().map(|count| count.load(Ordering::Relaxed));
        assert!(after[0] > before[0] && after[1] > before[1]);
        assert!(sample.value > 0.0, "{sample:?}");
    }

    #[test]
    fn cost_is_processor_time_over_all_operations() {
        let work = |operations, start, cpu| Work {
            operations,
            span: Span {
                start,
                end: start + 1_000,
                cpu,
            },
        };
        let of_processor = |work: &[Work]| summed(work, Counted::Processor);
        let even = of_processor(&[work(100, 0, 1_000), work(300, 0, 1_000)]);
        assert!((even.value - 5.0).abs() < 1e-9, "{even:?}");
        assert!((even.share - 1.0).abs() < 1e-9, "{even:?}");
        let apart = of_processor(&[work(100, 0, 1_000), work(100, 500, 1_000)]);
        assert!(apart.share < 0.5, "{apart:?}");
    }

    #[test]
    fn who_waits_asleep_is_counted_by_the_time_that_passes() {
        let work = |cpu| Work {
            operations: 100,
            span: Span {
                start: 0,
                end: 1_000,
                cpu,
            },
        };
        let asleep = [work(1_000), work(200)];
        let cost = summed(&asleep, Counted::Passing);
        assert!((cost.value - 10.0).abs() < 1e-9, "{cost:?}");
        assert!((cost.share - 1.0).abs() < 1e-9, "{cost:?}");
        let cost = summed(&asleep, Counted::Processor);
        assert!((cost.share - 0.2).abs() < 1e-9, "{cost:?}");
    }
}
