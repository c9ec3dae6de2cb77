//! The turns of a cell: to another era, and to another quota.

use stanchion_core::Instant;

use super::{CHANGING, Cell, FLIP};
use crate::Inherit;
use crate::gcra::{Gcra, Moment};
use crate::sync::{Ordering, fence, pause};

impl Cell {
    /// Brings the word into the era of `now`; returns `now` in units, or the start of the cell's
    /// era if the clock went back beyond it, and the stamp. `None` if the quota has changed.
    #[cold]
    pub(super) fn enter(&self, gcra: &Gcra, now: Moment) -> Option<(u64, u64)> {
        let mut spins = 0;
        let side = gcra.side();
        // Pairs with the Release in `change_quota`: whoever has read parts of another quota sees
        // the stamp changed.
        fence(Ordering::Acquire);
        loop {
            let stamp = self.stamp.load(Ordering::Acquire);
            let era = gcra.era_of(stamp)?;
            if era == CHANGING {
                pause(&mut spins);
            } else if era >= now.era {
                let start = gcra.moment(gcra.start_of(era)).units;
                let units = if era == now.era { now.units } else { start };
                return Some((units, stamp));
            } else if era + 1 == now.era {
                // Still readable. A TAT that has passed is as good as now, and now is readable
                // for two eras more; the bucket is full either way, so nobody notices.
                let word = self.tat.load(Ordering::Relaxed);
                let raised = Gcra::ahead(word ^ side, now.units) > 0
                    || self
                        .tat
                        .compare_exchange(
                            word,
                            now.units ^ side,
                            Ordering::Relaxed,
                            Ordering::Relaxed,
                        )
                        .is_ok();
                if raised {
                    let _ = self.stamp.compare_exchange(
                        stamp,
                        gcra.stamp(now.era),
                        Ordering::Release,
                        Ordering::Relaxed,
                    );
                }
            } else if self
                .stamp
                .compare_exchange(
                    stamp,
                    gcra.stamp(CHANGING),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok()
            {
                // Nobody took anything for a whole era, so the bucket is full. Only this thread
                // says so; the others wait for the era.
                self.tat.store(now.units ^ side, Ordering::Relaxed);
                self.stamp.store(gcra.stamp(now.era), Ordering::Release);
            }
        }
    }

    /// Turns the bucket of quota `old` into one of `new`, which is the next generation, and lets
    /// `publish` write the quota where the others read it. One caller at a time.
    pub(crate) fn change_quota(
        &self,
        old: &Gcra,
        new: &Gcra,
        now: Instant,
        inherit: Inherit,
        publish: impl FnOnce(),
    ) {
        let mut spins = 0;
        let (now, then) = loop {
            // The quota changes only here, so the generation is that of `old`.
            let Some((units, stamp)) = self.enter(old, old.moment(now)) else {
                pause(&mut spins);
                continue;
            };
            let era = old.era_of(stamp).unwrap_or(0);
            let closed = self.stamp.compare_exchange(
                stamp,
                new.stamp(CHANGING),
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            if closed.is_ok() {
                // Where the clock went back behind the era, at its start.
                break (now.max(old.start_of(era)), units);
            }
        };
        // Release pairs with the Acquire fences in `change` and `enter`: whoever reads anything
        // that is written from here on sees the stamp changed.
        fence(Ordering::Release);
        let word = self.tat.fetch_xor(FLIP, Ordering::Relaxed);
        let ahead = new.inherited(old, Gcra::ahead(word ^ old.side(), then), inherit);
        let after = new.moment(now);
        let tat = after.units.wrapping_add(ahead);
        self.tat.store(tat ^ new.side(), Ordering::Relaxed);
        publish();
        self.stamp.store(new.stamp(after.era), Ordering::Release);
    }
}
