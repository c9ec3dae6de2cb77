//! One thread, alone: nanoseconds of processor time for one operation.

use super::{Measure, Sample, Sampler, Try, undisturbed};
use crate::effort::Effort;
use crate::stopwatch::{Moment, Span};

/// No batch is made longer than this while its size is sought; a batch this long that takes no
/// time does no work.
const BATCH_MAX: u64 = 1 << 34;

/// Measures the processor time of one operation on one thread.
///
/// `build` makes the contestant afresh for each run and returns its batch runner. The batch is
/// sized so that a burst takes some milliseconds; a shorter batch before each burst brings the
/// contestant back into the caches that another has just used.
#[must_use]
pub fn single<B, F>(build: B) -> Measure
where
    B: Fn() -> F + 'static,
    F: FnMut(u64) + 'static,
{
    Measure::new(move |effort| Box::new(Single::prepare(build(), effort)))
}

struct Single<F> {
    run: F,
    batch: u64,
}

impl<F: FnMut(u64)> Single<F> {
    fn prepare(mut run: F, effort: &Effort) -> Self {
        warm_up(&mut run, effort.warm_up_ns);
        let batch = batch_for(&mut run, effort.burst_ns);
        Self { run, batch }
    }
}

impl<F: FnMut(u64)> Sampler for Single<F> {
    fn sample(&mut self) -> Sample {
        undisturbed(|| {
            (self.run)(self.batch / 8 + 1);
            let span = timed(&mut self.run, self.batch);
            Try {
                value: span.cpu as f64 / self.batch as f64,
                share: span.cpu_share(),
            }
        })
    }
}

/// Runs batches of growing size for about `wall_ns`.
pub(super) fn warm_up(run: &mut dyn FnMut(u64), wall_ns: u64) {
    let start = Moment::now();
    let mut batch = 1;
    while start.elapsed().wall() < wall_ns && batch < BATCH_MAX {
        run(batch);
        batch = (batch * 2).min(1 << 12);
    }
}

/// The number of operations that take about `cpu_ns` of processor time, at least 1.
///
/// # Panics
/// If the operation takes no time at all, because the compiler has removed it.
pub(super) fn batch_for(run: &mut dyn FnMut(u64), cpu_ns: u64) -> u64 {
    let mut batch = 1;
    loop {
        let took = timed(run, batch).cpu.max(1);
        if took >= cpu_ns / 4 {
            let fitting = u128::from(batch) * u128::from(cpu_ns) / u128::from(took);
            return u64::try_from(fitting).unwrap_or(BATCH_MAX).max(1);
        }
        assert!(
            batch < BATCH_MAX,
            "{batch} operations took {took} ns: they do no work"
        );
        batch *= 2;
    }
}

fn timed(run: &mut dyn FnMut(u64), batch: u64) -> Span {
    let start = Moment::now();
    run(batch);
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    fn spin(turns: u64) -> impl FnMut(u64) {
        move |iterations| {
            for turn in 0..iterations * turns {
                black_box(turn);
            }
        }
    }

    #[test]
    fn a_batch_fills_its_burst() {
        let batch = batch_for(&mut spin(100), 1_000_000);
        let smaller = batch_for(&mut spin(800), 1_000_000);
        assert!(
            batch > 100,
            "{batch} operations of 100 turns in a millisecond"
        );
        assert!(
            smaller < batch,
            "{smaller} operations of eight times the work, {batch} of once"
        );
    }

    #[test]
    fn four_times_the_work_takes_longer_for_one_operation() {
        let median = |turns| {
            let mut single = Single::prepare(spin(turns), &Effort::QUICK);
            let mut samples: Vec<f64> = (0..5).map(|_| single.sample().value).collect();
            samples.sort_by(f64::total_cmp);
            samples[2]
        };
        let (less, more) = (median(50), median(200));
        assert!(
            more > 2.0 * less,
            "{less} ns for 50 turns, {more} ns for 200"
        );
    }
}
