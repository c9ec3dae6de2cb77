//! Ways to measure a contestant. Each gives one sample a round.

mod contended;
mod heap;
mod single;

use std::fmt;
use std::rc::Rc;

pub use contended::{contended, contended_with_waits};
pub use heap::{allocations, held};
pub use single::single;

use crate::effort::Effort;

/// Work in batches: does the operation as many times as it is told.
///
/// It checks its own results where that costs next to nothing (an admission counted, say), so that
/// a contestant cannot look fast by refusing.
pub type Batch = Box<dyn FnMut(u64) + Send>;

/// A burst below this share of processor time lost its processor, and is repeated.
const CPU_SHARE_MIN: f64 = 0.98;
/// How often a burst is tried; then the best try counts, and is marked as noisy.
const ATTEMPTS: u32 = 8;

/// How one contestant is measured; made by [`single`], [`contended`] or [`figure`].
pub struct Measure {
    prepare: Box<Prepare>,
}

type Prepare = dyn Fn(&Effort) -> Box<dyn Sampler>;

impl Measure {
    fn new(prepare: impl Fn(&Effort) -> Box<dyn Sampler> + 'static) -> Self {
        Self {
            prepare: Box::new(prepare),
        }
    }

    /// Builds the contestant, finds its batch size and warms it up.
    pub(crate) fn prepare(&self, effort: &Effort) -> Box<dyn Sampler> {
        (self.prepare)(effort)
    }
}

impl fmt::Debug for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measure").finish_non_exhaustive()
    }
}

/// A figure that is not a time: memory, a count, a rate, a drift.
///
/// `measure` is called once a round and gives the figure in the unit of the case.
#[must_use]
pub fn figure(measure: impl Fn() -> f64 + 'static) -> Measure {
    let measure: Rc<dyn Fn() -> f64> = Rc::new(measure);
    Measure::new(move |_| Box::new(Figure(measure.clone())))
}

struct Figure(Rc<dyn Fn() -> f64>);

impl Sampler for Figure {
    fn sample(&mut self) -> Sample {
        Sample {
            value: (self.0)(),
            repeated: 0,
            noisy: false,
        }
    }
}

/// A contestant at work.
pub(crate) trait Sampler {
    /// Measures once.
    fn sample(&mut self) -> Sample;
}

/// What one round of one contestant gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    /// How many bursts were thrown away for want of processor time.
    pub(crate) repeated: u32,
    /// Whether even the best burst had too little of it.
    pub(crate) noisy: bool,
}

/// One try of a burst: its figure, and the share of the processor that it got.
#[derive(Clone, Copy, Debug)]
struct Try {
    value: f64,
    share: f64,
}

/// Repeats `burst` until one had its processor to itself, at most [`ATTEMPTS`] times.
fn undisturbed(mut burst: impl FnMut() -> Try) -> Sample {
    let mut best = burst();
    let mut repeated = 0;
    while best.share < CPU_SHARE_MIN && repeated + 1 < ATTEMPTS {
        let again = burst();
        repeated += 1;
        if again.share > best.share {
            best = again;
        }
    }
    Sample {
        value: best.value,
        repeated,
        noisy: best.share < CPU_SHARE_MIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(shares: &[f64]) -> Sample {
        let mut left = shares.iter().enumerate();
        undisturbed(|| {
            let (index, share) = left.next().expect("no more tries than were planned");
            Try {
                value: index as f64,
                share: *share,
            }
        })
    }

    #[test]
    fn the_first_undisturbed_burst_counts() {
        let sample = tries(&[0.5, 0.9, 0.99]);
        assert!(
            (sample.value - 2.0).abs() < 1e-9 && !sample.noisy,
            "{sample:?}"
        );
        assert_eq!(sample.repeated, 2);
    }

    #[test]
    fn tries_are_bounded_and_the_best_one_is_marked() {
        let sample = tries(&[0.5, 0.7, 0.9, 0.6, 0.4, 0.3, 0.2, 0.1]);
        assert!(
            (sample.value - 2.0).abs() < 1e-9 && sample.noisy,
            "{sample:?}"
        );
        assert_eq!(sample.repeated, ATTEMPTS - 1);
    }
}
