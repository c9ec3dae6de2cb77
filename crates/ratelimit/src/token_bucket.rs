//! The token bucket as an algorithm among others, for those who hold states under a lock.
//!
//! The TAT is kept in nanoseconds and what is left of one in units, so that it needs no era, and
//! means the same under any quota.

use stanchion_core::Instant;

use crate::algorithm::Algorithm;
use crate::gcra::Gcra;
use crate::{LeakyBucket, Quota, Status};

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

    /// A leaky bucket that lets nobody wait.
    pub(crate) fn leaky(bucket: &LeakyBucket) -> Self {
        Self {
            gcra: Gcra::leaky(bucket),
            scale: bucket.outflow().scale(),
            step: bucket.outflow().step(),
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
    fn fits(&self, state: &State, now: Instant, cost: u64) -> bool {
        let ahead = self.ahead(state, now);
        self.gcra.decides(cost) && self.gcra.fitting(ahead, cost).is_some()
    }

    fn slot(&self, state: &State, now: Instant, cost: u64) -> Option<Instant> {
        let wait = || self.gcra.pace().wait(self.ahead(state, now), cost);
        (cost <= self.gcra.burst()).then(|| now + wait())
    }

    #[inline]
    fn take(&self, state: &mut State, _slot: Instant, cost: u64) -> u64 {
        let units = cost.saturating_mul(self.step);
        // Most quotas count in whole nanoseconds, and then nothing is divided.
        if self.scale == 1 {
            *state = State {
                nanos: state.nanos.saturating_add(units),
                units: 0,
            };
            return cost;
        }
        let units = units.saturating_add(state.units.min(self.scale - 1));
        state.nanos = state.nanos.saturating_add(units / self.scale);
        state.units = units % self.scale;
        cost
    }

    fn give_back(&self, state: &mut State, taken: u64) {
        let scale = u128::from(self.scale);
        let at = u128::from(state.nanos) * scale + u128::from(state.units.min(self.scale - 1));
        let at = at.saturating_sub(u128::from(taken) * u128::from(self.step));
        // Less than it was, so it fits.
        state.nanos = u64::try_from(at / scale).unwrap_or(u64::MAX);
        state.units = u64::try_from(at % scale).unwrap_or(0);
    }

    fn refund(&self, state: &mut State, now: Instant, cost: u64) -> u64 {
        let used = self.used(state, now);
        // Beyond the burst someone may be waiting for his slot.
        if used > self.limit() {
            return 0;
        }
        let back = cost.min(self.ahead(state, now) / self.step);
        // What is used of a last one comes back with it.
        self.give_back(state, cost.min(used));
        self.advance(state, now);
        back
    }

    fn limit(&self) -> u64 {
        self.gcra.burst()
    }

    fn used(&self, state: &State, now: Instant) -> u64 {
        self.ahead(state, now).div_ceil(self.step)
    }

    fn carry(&self, _from: &Self, state: &mut State, now: Instant, _used: u64, target: u64) {
        *state = self.idle();
        self.advance(state, now);
        self.take(state, now, target);
    }

    #[inline]
    fn status(&self, state: &State, now: Instant, _cost: u64) -> Status {
        Status::new(self.gcra, self.ahead(state, now))
    }
}
