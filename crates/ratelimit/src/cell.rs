//! One bucket behind one atomic word.

mod eras;
mod fixed;

use stanchion_core::Instant;

use crate::gcra::{DEBT_MAX, Decision, Gcra};
use crate::sync::{AtomicU64, Mutex, Ordering, fence, pause};

/// The TAT of one bucket, changed by compare-and-swap, and a stamp: the era in which it was last
/// known to be readable, and the generation of the quota whose units it counts in.
///
/// The era changes after 52 days at the earliest, and the generation where a quota is changed live;
/// both are only compared otherwise. Whoever changes the word has seen the same stamp before and
/// after reading it, so it was of the quota and the era that the decision is made for. And a change
/// of generation flips the highest bit of the word, so whoever read it before fails to swap it
/// after. (That leaves a swap during which the quota was changed once to other units, or twice, and
/// the word then came to the very same 64 bits.)
///
/// The cell has a cache line of its own: who pays from a lease reads what lies around it, and need
/// not wait for those who write the word.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Cell {
    /// The TAT, on the side of the generation.
    tat: AtomicU64,
    /// | bits | meaning |
    /// |---|---|
    /// | 63–32 | generation |
    /// | 31–0 | era, or [`CHANGING`] |
    stamp: AtomicU64,
    /// The latest slot that someone was promised for later, in nanoseconds. Held while such a slot is
    /// taken or given back, and while a refund looks how far it may go; checks do not look at it.
    promised: Mutex<u64>,
}

/// Stands for the era while one thread writes the word for a new era or a new quota.
const CHANGING: u64 = 0xffff_ffff;

/// Flips a word to the side of the next generation.
const FLIP: u64 = 1 << 63;

/// A slot that was taken, now or for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Nanoseconds until the slot.
    pub(crate) ready_after: u64,
    /// How far the bucket is from full with it.
    pub(crate) ahead: u64,
    cost: u64,
    generation: u32,
    /// The TAT with it: as long as it stands there, nobody took anything behind.
    end: u64,
    /// The latest slot that was promised before it, if it is one for later.
    promised_before: Option<u64>,
}

impl Cell {
    /// A full bucket.
    pub(crate) fn new() -> Self {
        Self {
            tat: AtomicU64::new(0),
            stamp: AtomicU64::new(0),
            promised: Mutex::new(0),
        }
    }

    /// The stamp, once nothing is being changed: what was written before it is seen.
    #[inline]
    pub(crate) fn stamp(&self) -> u64 {
        let mut spins = 0;
        loop {
            let stamp = self.last_stamp();
            if stamp & CHANGING != CHANGING {
                return stamp;
            }
            pause(&mut spins);
        }
    }

    /// The stamp, which tells [`CHANGING`] where something is being changed.
    #[inline]
    pub(crate) fn last_stamp(&self) -> u64 {
        // Acquire pairs with the Release in `enter` and `change_quota`: who sees the stamp sees the
        // word that was written for it, and the quota.
        self.stamp.load(Ordering::Acquire)
    }

    /// Tries to check once, as [`try_check`](Self::try_check) does, where nothing out of the
    /// ordinary has to be done first; else `None`, and nothing was done.
    ///
    /// Tells whether it was admitted, and how far the bucket is from full then.
    #[inline]
    pub(crate) fn check_once(
        &self,
        gcra: &Gcra,
        stamp: u64,
        now: Instant,
        cost: u64,
    ) -> Option<(bool, u64)> {
        let moment = gcra.moment(now);
        let (now, side) = (moment.units, gcra.side());
        let word = self.tat.load(Ordering::Relaxed);
        // As in `change`.
        fence(Ordering::Acquire);
        let as_read = self.stamp.load(Ordering::Relaxed) == stamp;
        if !as_read || gcra.era_of(stamp) != Some(moment.era) || !gcra.decides(cost) {
            return None;
        }
        // As `Gcra::ahead` and `Gcra::fitting` have it, in the order that has the new word ready the
        // soonest after the time is known: the swap waits for that, and the next check for the swap.
        let tat = word ^ side;
        let taken = gcra.units_of(cost);
        let is_ahead = Gcra::is_ahead(tat, now);
        let ahead = if is_ahead { tat.wrapping_sub(now) } else { 0 };
        let next = ahead.wrapping_add(taken);
        if !gcra.has_room(next) {
            return Some((false, ahead));
        }
        let (moved, begun) = (
            // On either side, as the highest bit is all that tells them apart.
            word.wrapping_add(taken),
            now.wrapping_add(taken.wrapping_add(side)),
        );
        let new = if is_ahead { moved } else { begun };
        let swapped = self
            .tat
            .compare_exchange(word, new, Ordering::Relaxed, Ordering::Relaxed);
        swapped.is_ok().then_some((true, next))
    }

    /// As [`check`](Self::check), by a quota that was read after `stamp`; `None` if it has changed
    /// since.
    #[inline]
    pub(crate) fn try_check(
        &self,
        gcra: &Gcra,
        stamp: u64,
        now: Instant,
        cost: u64,
    ) -> Option<Decision> {
        if !gcra.decides(cost) {
            let ahead = self.try_peek(gcra, stamp, now)?;
            return Some(Decision::beyond(cost, ahead));
        }
        let decide = |ahead, _| gcra.fitting(ahead, cost).ok_or(ahead);
        Some(match self.change(gcra, stamp, now, decide)? {
            Ok((ahead, _)) => Decision::admitted(ahead),
            Err(ahead) => Decision::exceeded(ahead),
        })
    }

    /// As [`peek`](Self::peek), likewise.
    pub(crate) fn try_peek(&self, gcra: &Gcra, stamp: u64, now: Instant) -> Option<u64> {
        let looked = self.change(gcra, stamp, now, |ahead, _| Err(ahead))?;
        Some(looked.map_or_else(|ahead| ahead, |(ahead, _)| ahead))
    }

    /// Takes the next slot for `cost`, if it lies no further than `wait_max` units from now;
    /// otherwise tells how far the bucket is from full.
    pub(crate) fn try_reserve(
        &self,
        gcra: &Gcra,
        stamp: u64,
        now: Instant,
        cost: u64,
        wait_max: u64,
    ) -> Option<Result<Claim, u64>> {
        // Who need not wait is promised nothing, and does not meet those who do.
        let at_once = self.try_claim(gcra, stamp, now, cost, 0)?;
        if at_once.is_ok() || wait_max == 0 {
            return Some(at_once);
        }
        let mut promised = self.promised.lock();
        let claimed = self.try_claim(gcra, stamp, now, cost, wait_max)?;
        Some(claimed.map(|mut claim| {
            if claim.ready_after > 0 {
                let slot = now.as_nanos().saturating_add(claim.ready_after);
                claim.promised_before = Some(*promised);
                *promised = slot.max(*promised);
            }
            claim
        }))
    }

    fn try_claim(
        &self,
        gcra: &Gcra,
        stamp: u64,
        now: Instant,
        cost: u64,
        wait_max: u64,
    ) -> Option<Result<Claim, u64>> {
        let mut ready_after = 0;
        let taken = self.change(gcra, stamp, now, |ahead, _| {
            let next = gcra.ahead_with(ahead, cost);
            let wait = gcra.wait_units(next);
            if wait > wait_max || next > DEBT_MAX {
                return Err(ahead);
            }
            ready_after = gcra.nanos(wait);
            Ok(next)
        })?;
        Some(taken.map(|(ahead, end)| Claim {
            ready_after,
            ahead,
            cost,
            generation: gcra.generation(),
            end,
            promised_before: None,
        }))
    }

    /// As [`cancel`](Self::cancel), likewise.
    pub(crate) fn try_cancel(
        &self,
        gcra: &Gcra,
        stamp: u64,
        now: Instant,
        claim: &Claim,
    ) -> Option<bool> {
        let mut promised = self.promised.lock();
        let changed = self.change(gcra, stamp, now, |ahead, tat| {
            let is_last = tat == claim.end && gcra.generation() == claim.generation;
            is_last
                .then(|| gcra.refunded(ahead, claim.cost, 0).0)
                .ok_or(ahead)
        })?;
        if let (Ok(_), Some(before)) = (&changed, claim.promised_before) {
            // Whoever was promised anything behind it has given it back before.
            *promised = before;
        }
        Some(changed.is_ok())
    }

    /// As [`refund`](Self::refund), likewise.
    pub(crate) fn try_refund(
        &self,
        gcra: &Gcra,
        stamp: u64,
        now: Instant,
        cost: u64,
    ) -> Option<u64> {
        let promised = self.promised.lock();
        let floor = match promised.saturating_sub(now.as_nanos()) {
            0 => 0,
            ready => gcra.ahead_of_slot(gcra.units(ready)),
        };
        let mut back = 0;
        let changed = self.change(gcra, stamp, now, |ahead, _| {
            let (next, given) = gcra.refunded(ahead, cost, floor);
            back = given;
            Ok::<_, u64>(next)
        })?;
        Some(changed.map_or(0, |_| back))
    }

    /// As [`force`](Self::force), likewise.
    pub(crate) fn try_force(
        &self,
        gcra: &Gcra,
        stamp: u64,
        now: Instant,
        cost: u64,
    ) -> Option<u64> {
        let changed = self.change(gcra, stamp, now, |ahead, _| {
            let next = gcra.ahead_with(ahead, cost).min(DEBT_MAX);
            if cost == 0 {
                Err(ahead)
            } else {
                Ok(next.max(ahead))
            }
        })?;
        Some(changed.map_or_else(|ahead| ahead, |(ahead, _)| ahead))
    }

    /// Moves the TAT to where `decide` says that it lies ahead, being told how far it does and its
    /// number; or leaves it, with what `decide` says instead. `None` if the quota changed since
    /// `stamp`, or the era did.
    ///
    /// Returns how far ahead the TAT lies then, and its number.
    #[inline]
    fn change<T>(
        &self,
        gcra: &Gcra,
        stamp: u64,
        now: Instant,
        mut decide: impl FnMut(u64, u64) -> Result<u64, T>,
    ) -> Option<Result<(u64, u64), T>> {
        let moment = gcra.moment(now);
        let (now, stamp) = if stamp == gcra.stamp(moment.era) {
            (moment.units, stamp)
        } else {
            self.enter(gcra, moment)?
        };
        let side = gcra.side();
        let mut word = self.tat.load(Ordering::Relaxed);
        loop {
            // Pairs with the Release in `change_quota`: whoever reads a word of another quota sees
            // the stamp changed.
            fence(Ordering::Acquire);
            if self.stamp.load(Ordering::Relaxed) != stamp {
                return None;
            }
            let tat = word ^ side;
            let ahead = match decide(Gcra::ahead(tat, now), tat) {
                Ok(ahead) => ahead,
                Err(instead) => return Some(Err(instead)),
            };
            let next = now.wrapping_add(ahead);
            // Relaxed: the word is all there is; what was promised has its own lock.
            match self.tat.compare_exchange_weak(
                word,
                next ^ side,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(Ok((ahead, next))),
                Err(changed) => word = changed,
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
                assert!(gcra.pace().duration(cell.peek(&gcra, now)) <= DAY);
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
