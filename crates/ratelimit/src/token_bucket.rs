//! The token bucket as an algorithm among others, for those who hold states under a lock.
//!
//! The TAT is kept in nanoseconds and what is left of one in units, so that it needs no era, and
//! means the same under any quota.

use stanchion_core::Instant;

use crate::algorithm::Algorithm;
use crate::gcra::Gcra;
use crate::{Quota, Status};

#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    gcra: Gcra,
    scale: u64,
    step: u64,
}

impl TokenBucket {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            gcra: Gcra::new(&quota),
            scale: quota.scale(),
            step: quota.step(),
        }
    }

    /// How far the bucket is from full, in units.
    fn ahead(&self, state: &State, now: Instant) -> u64 {
        let nanos = state.nanos.saturating_sub(now.as_nanos());
        match state.nanos >= now.as_nanos() {
            // A quota of coarser units may have come since.
            true => nanos
                .saturating_mul(self.scale)
                .saturating_add(state.units.min(self.scale - 1)),
            false => 0,
        }
    }
}

/// The moment at which the bucket is full again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    nanos: u64,
    /// Beyond that, in units of 1/scale ns; less than a nanosecond.
    units: u64,
}

impl Algorithm for TokenBucket {
    type State = State;
    const RESERVES: bool = true;

    fn idle(&self) -> State {
        State { nanos: 0, units: 0 }
    }

    #[inline]
    fn advance(&self, state: &mut State, now: Instant) {
        if state.nanos < now.as_nanos() {
            *state = State {
                nanos: now.as_nanos(),
                units: 0,
            };
        }
    }

    #[inline]
    fn slot(&self, state: &State, now: Instant, cost: u64) -> Option<Instant> {
        let wait = || self.gcra.wait(self.ahead(state, now), cost);
        (cost <= self.gcra.burst()).then(|| now + wait())
    }

    #[inline]
    fn take(&self, state: &mut State, _slot: Instant, cost: u64) {
        let units = cost.saturating_mul(self.step);
        let units = units.saturating_add(state.units.min(self.scale - 1));
        state.nanos = state.nanos.saturating_add(units / self.scale);
        state.units = units % self.scale;
    }

    #[inline]
    fn status(&self, state: &State, now: Instant, _cost: u64) -> Status {
        Status::new(self.gcra, self.ahead(state, now))
    }

    fn is_idle(&self, state: &State, now: Instant) -> bool {
        self.ahead(state, now) == 0
    }
}
