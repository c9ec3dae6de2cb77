//! One bucket behind one atomic word.

use std::ops::RangeInclusive;

use stanchion_core::Instant;

use crate::gcra::{Decision, Gcra, Moment, Verdict};
use crate::sync::{AtomicU64, Ordering, pause};

/// The TAT of one bucket, changed by compare-and-swap, and the era in which it was last known to
/// be readable.
///
/// The era changes after 52 days at the earliest, and is only compared otherwise; it stands beside
/// the word, in the same cache line, on which nothing else stands: who pays from a lease reads what
/// lies around a limiter's cell, and need not wait for those who write the word.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Cell {
    tat: AtomicU64,
    era: AtomicU64,
}

/// Stands for the era while one thread empties a word that was forgotten.
const RESETTING: u64 = u64::MAX;

impl Cell {
    /// A full bucket.
    pub(crate) fn new() -> Self {
        Self {
            tat: AtomicU64::new(0),
            era: AtomicU64::new(0),
        }
    }

    /// Takes `cost` at `now`, or refuses and writes nothing.
    #[inline]
    pub(crate) fn check(&self, gcra: &Gcra, now: Instant, cost: u64) -> Decision {
        if !gcra.decides(cost) {
            return Decision::beyond(cost, self.peek(gcra, now));
        }
        let now = self.moment(gcra, now);
        // Relaxed throughout: the word is all there is, nothing else is published through it.
        let mut tat = self.tat.load(Ordering::Relaxed);
        loop {
            let ahead = Gcra::ahead(tat, now);
            let next = match gcra.decide(ahead, now, cost) {
                Verdict::Admit(next) => next,
                Verdict::Refuse => return Decision::exceeded(ahead),
            };
            match self
                .tat
                .compare_exchange_weak(tat, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Decision::admitted(next.wrapping_sub(now)),
                Err(changed) => tat = changed,
            }
        }
    }

    /// Takes as much of `costs` as there is, from its start on, or refuses and writes nothing. Tells
    /// what was taken.
    pub(crate) fn take(
        &self,
        gcra: &Gcra,
        now: Instant,
        costs: RangeInclusive<u64>,
    ) -> (Decision, u64) {
        let now = self.moment(gcra, now);
        let mut tat = self.tat.load(Ordering::Relaxed);
        loop {
            let ahead = Gcra::ahead(tat, now);
            let cost = gcra.remaining(ahead).min(*costs.end());
            let next = match gcra.decide(ahead, now, cost.max(*costs.start())) {
                Verdict::Admit(next) => next,
                Verdict::Refuse => return (Decision::exceeded(ahead), 0),
            };
            match self
                .tat
                .compare_exchange_weak(tat, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return (Decision::admitted(next.wrapping_sub(now)), cost),
                Err(changed) => tat = changed,
            }
        }
    }

    /// How far the bucket is from full at `now`.
    pub(crate) fn peek(&self, gcra: &Gcra, now: Instant) -> u64 {
        let now = self.moment(gcra, now);
        Gcra::ahead(self.tat.load(Ordering::Relaxed), now)
    }

    /// `now` in units, with the word made readable for its era.
    #[inline]
    fn moment(&self, gcra: &Gcra, now: Instant) -> u64 {
        let moment = gcra.moment(now);
        // Acquire pairs with the Release in `enter`: who sees the era sees the word emptied for it.
        if moment.era == self.era.load(Ordering::Acquire) {
            moment.units
        } else {
            self.enter(gcra, moment)
        }
    }

    /// Brings the word into the era of `now`; returns `now` in units, or the start of the cell's
    /// era if the clock went back beyond it.
    #[cold]
    fn enter(&self, gcra: &Gcra, now: Moment) -> u64 {
        let mut spins = 0;
        loop {
            let era = self.era.load(Ordering::Acquire);
            if era == RESETTING {
                pause(&mut spins);
            } else if era >= now.era {
                let start = gcra.moment(gcra.start_of(era)).units;
                return if era == now.era { now.units } else { start };
            } else if era + 1 == now.era {
                // Still readable. A TAT that has passed is as good as now, and now is readable
                // for two eras more; the bucket is full either way, so nobody notices.
                let tat = self.tat.load(Ordering::Relaxed);
                let raised = Gcra::ahead(tat, now.units) > 0
                    || self
                        .tat
                        .compare_exchange(tat, now.units, Ordering::Relaxed, Ordering::Relaxed)
                        .is_ok();
                if raised {
                    let _ = self.era.compare_exchange(
                        era,
                        now.era,
                        Ordering::Release,
                        Ordering::Relaxed,
                    );
                }
            } else if self
                .era
                .compare_exchange(era, RESETTING, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                // Nobody took anything for a whole era, so the bucket is full. Only this thread
                // says so; the others wait for the era.
                self.tat.store(now.units, Ordering::Relaxed);
                self.era.store(now.era, Ordering::Release);
            }
        }
    }
}

#[cfg(all(test, stanchion_loom))]
mod loom;

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Quota;
    use crate::gcra::Kind;

    fn admits(cell: &Cell, gcra: &Gcra, now: Instant, cost: u64) -> bool {
        cell.check(gcra, now, cost).kind == Kind::Admitted
    }

    const DAY: Duration = Duration::from_secs(86_400);

    /// Idle times around every wrap of the finest units, up to 30 years: the bucket is full.
    #[test]
    fn a_bucket_that_was_forgotten_is_full() {
        let gcra = Gcra::new(&Quota::new(1021, Duration::from_secs(1)).unwrap());
        let wrap = Duration::from_nanos(u64::MAX / 1021);
        for times in 0..50 {
            for minus in [
                Duration::ZERO,
                Duration::from_millis(1),
                Duration::from_secs(1),
                DAY * 30,
            ] {
                let cell = Cell::new();
                let start = Instant::ZERO + DAY;
                assert!(admits(&cell, &gcra, start, 1021));
                assert!(!admits(&cell, &gcra, start, 1));
                let idle = (wrap * times + wrap / 4).saturating_sub(minus).max(DAY);
                assert_eq!(cell.peek(&gcra, start + idle), 0, "idle for {idle:?}");
                assert!(admits(&cell, &gcra, start + idle, 1021));
                assert!(!admits(&cell, &gcra, start + idle, 1));
            }
        }
    }

    /// Being looked at brings a bucket into each era, and leaves a TAT that the next one can read.
    #[test]
    fn a_bucket_that_is_only_looked_at_once_an_era_stays_full() {
        let gcra = Gcra::new(&Quota::new(1021, Duration::from_secs(1)).unwrap());
        let cell = Cell::new();
        assert!(admits(&cell, &gcra, Instant::ZERO, 1021));
        for era in 1..200 {
            let end = gcra.start_of(era + 1) - Duration::from_nanos(1);
            assert_eq!(cell.peek(&gcra, end), 0, "at the end of era {era}");
        }
    }

    #[test]
    fn thirty_years_of_use_keep_the_rate() {
        let gcra = Gcra::new(&Quota::new(1021, DAY).unwrap().with_burst(7).unwrap());
        let cell = Cell::new();
        let mut now = Instant::ZERO;
        let mut admitted = 0_u128;
        // Demand every 20 days and, in between, every few hours for a while.
        while now.as_nanos() < 30 * 365 * 86_400_000_000_000 {
            for _ in 0..9 {
                while admits(&cell, &gcra, now, 1) {
                    admitted += 1;
                }
                assert!(gcra.duration(cell.peek(&gcra, now)) <= DAY);
                now += DAY / 7;
            }
            assert_eq!(gcra.remaining(cell.peek(&gcra, now)), 7);
            now += DAY * 20;
        }
        assert!(admitted > 4_000, "{admitted}");
    }

    #[test]
    fn a_clock_that_goes_back_over_an_era_admits_nothing_twice() {
        let gcra = Gcra::new(&Quota::new(1021, Duration::from_secs(1)).unwrap());
        let cell = Cell::new();
        let late = Instant::ZERO + DAY * 200;
        assert!(admits(&cell, &gcra, late, 1021));
        for back in [
            Duration::from_nanos(1),
            Duration::from_secs(1),
            DAY,
            DAY * 60,
            DAY * 200,
        ] {
            assert!(!admits(&cell, &gcra, late - back, 1), "{back:?} back");
        }
        assert!(admits(&cell, &gcra, late + Duration::from_secs(1), 1021));
    }
}
