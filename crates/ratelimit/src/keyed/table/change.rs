//! What is done to a bucket besides checks: slots for later, refunds, debts.
//!
//! All of it is done under the locks of both lines of a key, as a new key is. That is a few dozen
//! instructions more than a swap, and it leaves one way in which a bucket is taken out and put back.

use std::time::Duration;

use stanchion_core::Instant;

use super::{Entry, Fingerprint, Place, Table, WhenFull};
use crate::cell;
use crate::gcra::{DEBT_MAX, Gcra};

/// A slot that was taken, now or for later.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim {
    /// In the bucket of a key, which was full again at `end` with it.
    Own { cost: u64, end: u64 },
    /// In the bucket that keys without a place share.
    Shared(cell::Claim),
}

/// How far a wait may go.
#[derive(Clone, Copy, Debug)]
pub(in crate::keyed) struct Patience {
    /// In units.
    pub(in crate::keyed) wait_max: u64,
    pub(in crate::keyed) when_full: WhenFull,
}

/// What became of a bucket.
enum Changed {
    /// Its TAT lies so far ahead.
    Moved(u64, Place),
    /// It stayed, so far from full.
    Left(u64),
    /// The key has none, and the first of its places is free after so many units.
    NoPlace(u64),
}

impl Table {
    /// Takes the first slot for `cost`, if it lies close enough. Returns the slot and the claim, or
    /// how far the bucket is from full.
    pub(in crate::keyed) fn reserve(
        &self,
        gcra: &Gcra,
        hash: u64,
        now: Instant,
        cost: u64,
        patience: Patience,
    ) -> (Result<(Instant, Claim), u64>, Place) {
        let Patience {
            wait_max,
            when_full,
        } = patience;
        let fits = |ahead| {
            let next = gcra.ahead_with(ahead, cost);
            (gcra.wait_units(next) <= wait_max && next <= DEBT_MAX).then_some(next)
        };
        match self.change(gcra, hash, now, when_full == WhenFull::Evict, fits) {
            Changed::Moved(ahead, place) => {
                let wait = gcra.nanos(gcra.wait_units(ahead));
                let slot = now + Duration::from_nanos(wait);
                let end = gcra.moment(now).units.wrapping_add(ahead);
                (Ok((slot, Claim::Own { cost, end })), place)
            }
            Changed::Left(ahead) => (Err(ahead), Place::Own),
            Changed::NoPlace(ahead) if when_full == WhenFull::Deny => (Err(ahead), Place::Denied),
            Changed::NoPlace(_) => {
                let reserved = self.overflowing(|stamp| {
                    self.overflow.try_reserve(gcra, stamp, now, cost, wait_max)
                });
                let in_time = |claim: cell::Claim| {
                    let slot = now + Duration::from_nanos(claim.ready_after);
                    (slot, Claim::Shared(claim))
                };
                (reserved.map(in_time), Place::Shared)
            }
        }
    }

    /// Gives a slot back, if nobody took anything behind it and its place was not given away. Tells
    /// whether it did.
    pub(in crate::keyed) fn cancel(
        &self,
        gcra: &Gcra,
        hash: u64,
        now: Instant,
        claim: &Claim,
    ) -> bool {
        let (cost, end) = match claim {
            Claim::Own { cost, end } => (*cost, *end),
            Claim::Shared(claim) => return self.overflow.cancel(gcra, now, claim),
        };
        let units = gcra.moment(now).units;
        let is_last = |ahead: u64| units.wrapping_add(ahead) == end;
        let back = |ahead| is_last(ahead).then(|| gcra.refunded(ahead, cost, 0).0);
        matches!(
            self.change(gcra, hash, now, false, back),
            Changed::Moved(..)
        )
    }

    /// Gives back up to `cost`; nothing of a bucket in which someone may be waiting for his slot.
    /// Tells how much that was.
    pub(in crate::keyed) fn refund(&self, gcra: &Gcra, hash: u64, now: Instant, cost: u64) -> u64 {
        let mut given = 0;
        self.change(gcra, hash, now, false, |ahead| {
            if ahead == 0 || gcra.wait_units(ahead) > 0 {
                return None;
            }
            let (next, back) = gcra.refunded(ahead, cost, 0);
            given = back;
            Some(next)
        });
        given
    }

    /// Takes `cost` whatever is left, into debt. Returns how far the bucket is from full then.
    pub(in crate::keyed) fn force(
        &self,
        gcra: &Gcra,
        hash: u64,
        now: Instant,
        cost: u64,
        when_full: WhenFull,
    ) -> (u64, Place) {
        let owing = |ahead: u64| {
            let counts = cost > 0 && ahead < DEBT_MAX;
            counts.then(|| gcra.ahead_with(ahead, cost).min(DEBT_MAX))
        };
        match self.change(gcra, hash, now, when_full == WhenFull::Evict, owing) {
            Changed::Moved(ahead, place) => (ahead, place),
            Changed::Left(ahead) => (ahead, Place::Own),
            // What was done has to be paid for by someone.
            Changed::NoPlace(_) => (self.overflow.force(gcra, now, cost), Place::Shared),
        }
    }

    /// Moves the bucket of `hash` on to where `next` says that its TAT lies ahead, being told where
    /// it lies; or leaves it. A bucket that was full gets a place first.
    fn change(
        &self,
        gcra: &Gcra,
        hash: u64,
        now: Instant,
        evict: bool,
        next: impl FnOnce(u64) -> Option<u64>,
    ) -> Changed {
        let key = Fingerprint::of(hash);
        let moment = gcra.moment(now);
        let homes = self.homes(key);
        let both = self.lock_both(homes.0, homes.1);
        let bucket = |ahead| Entry::new(key, moment.era, moment.units.wrapping_add(ahead));
        for line in [&both.0, &both.1] {
            if let Some((place, _)) = line.find(key) {
                let entry = line.take_out(place);
                let ahead = entry.ahead(moment);
                // After a clock that went back by eras nothing can be told, so nothing is changed.
                let next = if ahead == u64::MAX { None } else { next(ahead) };
                line.put(place, next.map_or(entry, bucket));
                return match next {
                    Some(ahead) => Changed::Moved(ahead, Place::Own),
                    None => Changed::Left(ahead),
                };
            }
        }
        let ahead = self.floor(gcra, key, now);
        let Some(next) = next(ahead) else {
            return Changed::Left(ahead);
        };
        if let Some((line, place)) = self.seize(gcra, &both, homes, now) {
            line.put(place, bucket(next));
            return Changed::Moved(next, Place::Own);
        }
        let (line, place, soonest) = Self::soonest(&both, moment);
        if !evict {
            return Changed::NoPlace(soonest);
        }
        line.take_out(place);
        line.put(place, bucket(next));
        Changed::Moved(next, Place::Evicted)
    }

    /// Runs `attempt` on the shared bucket, whose quota never changes.
    fn overflowing<T>(&self, mut attempt: impl FnMut(u64) -> Option<T>) -> T {
        loop {
            if let Some(done) = attempt(self.overflow.stamp()) {
                return done;
            }
        }
    }
}

#[cfg(all(test, stanchion_loom))]
mod loom;
