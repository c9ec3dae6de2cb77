//! A breaker in plain numbers.

use crate::sync::{AtomicU64, Ordering};

use super::Shared;
use crate::window::{Counts, Kind};
use crate::{Snapshot, State};

/// What happened, ever, but for refusals. Relaxed throughout: numbers for metrics.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) late: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) slow: AtomicU64,
}

impl Totals {
    pub(super) fn new() -> Self {
        Self {
            late: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            slow: AtomicU64::new(0),
        }
    }

    pub(super) fn copied(&self) -> Self {
        let copy = |total: &AtomicU64| AtomicU64::new(total.load(Ordering::Relaxed));
        Self {
            late: copy(&self.late),
            failed: copy(&self.failed),
            slow: copy(&self.slow),
        }
    }

    pub(super) fn add(&self, kind: Kind) {
        if kind.failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        if kind.slow {
            self.slow.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    /// What the window holds.
    pub(super) fn counts(&self) -> Counts {
        let generation = self.word().generation();
        self.window.counts(generation, || self.clock.now())
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let machine = self.machine.lock();
        let state = machine.state();
        let generation = machine.generation();
        let counts = match state {
            State::HalfOpen => machine.trials_over(),
            _ => self.window.counts(generation, || now),
        };
        let known = state != State::HalfOpen && self.knows_rates(counts);
        let rate = |part| known.then(|| share(part, counts.total));
        let ramp = self.config.ramp.zip(machine.ramp_since());
        let admitted = ramp.and_then(|(ramp, since)| ramp.share(now - since));
        let hanging = self.overdue.as_ref();
        let totals = &self.totals.0;
        Snapshot {
            state,
            cause: machine.cause(),
            in_state_for: now - machine.since(),
            calls: counts.total,
            failed: counts.failed,
            slow: counts.slow,
            failure_rate: rate(counts.failed),
            slow_rate: rate(counts.slow),
            hanging: hanging.map_or(0, |overdue| overdue.count(generation, now)),
            trials_in_flight: machine.trials_in_flight(),
            open_for: (state == State::Open).then(|| machine.until() - now),
            admitted_share: admitted.map(|admitted| share(admitted, 1 << 32)),
            rejected_total: self.rejected.sum(),
            late_total: totals.late.load(Ordering::Relaxed),
            failed_total: totals.failed.load(Ordering::Relaxed),
            slow_total: totals.slow.load(Ordering::Relaxed),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share, told to people")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a share, told to people")]
pub(super) fn quotient(part: u64, whole: u64) -> f32 {
    share(part, whole) as f32
}
