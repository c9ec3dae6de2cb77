//! The generic cell rate algorithm, the token bucket in one number.
//!
//! A bucket is told by its *theoretical arrival time* (TAT): the moment at which it will be full
//! again. A request for `n` moves it `n` steps on, from now or from where it stands, whichever is
//! later; and it may, as long as it then lies no more than `burst` steps ahead of now.
//!
//! ```text
//! new = max(tat, now) + n · step
//! admit  iff  new − now ≤ burst · step
//! ```
//!
//! Time is counted in units of 1/scale ns, in which a step is a whole number, so nothing is ever
//! rounded between two admissions. Units of 1/1024 ns would fill 64 bits in 208 days. So both
//! times are kept modulo 2⁶⁴, and the *era* of the last touch tells a bucket that waits for the
//! future from one that was forgotten in the past: see [`Gcra::era`].
//!
//! Source: ITU-T I.371, annex A (virtual scheduling algorithm).

use std::time::Duration;

use stanchion_core::Instant;

use crate::keyed::Place;
use crate::{Inherit, LeakyBucket, Quota, Rejected, Status};

/// A TAT that lies further ahead than this cannot be: it lies in the past. Ahead it lies at most
/// [`DEBT_MAX`], and an era more where the clock went back; behind, at most two eras.
const AHEAD_MAX: u64 = (1 << 63) - 1;

/// The furthest that a TAT ever lies ahead, by debts and by those who wait: 73 years of
/// nanoseconds, 26 days of the finest units.
pub(crate) const DEBT_MAX: u64 = 1 << 61;

/// A quota in the terms of the algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gcra {
    /// Units per nanosecond, 1 to 1024.
    scale: u64,
    /// Units from one admission to the next.
    step: u64,
    /// Units that a full burst takes to refill; at most 2⁶⁰.
    tolerance: u64,
    burst: u64,
    era_shift: u32,
    /// How often the quota of a live bucket was changed, modulo 2³². A TAT stands on one of two
    /// sides by it, as it is or with its highest bit flipped.
    generation: u32,
}

/// The lower half of a stamp, which tells the era.
const ERA: u64 = 0xffff_ffff;

/// What a bucket said: small enough for two registers, and made readable only at the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// How far the bucket is from full, in units, after what was taken.
    pub(crate) ahead: u64,
    pub(crate) kind: Kind,
    /// How the key came to its bucket.
    pub(crate) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Admitted,
    Exceeded,
    CostAboveBurst,
}

impl Decision {
    #[inline]
    pub(crate) fn admitted(ahead: u64) -> Self {
        Self {
            ahead,
            kind: Kind::Admitted,
            place: Place::Own,
        }
    }

    #[inline]
    pub(crate) fn exceeded(ahead: u64) -> Self {
        Self {
            ahead,
            kind: Kind::Exceeded,
            place: Place::Own,
        }
    }

    /// On what needs no decision: a cost of 0 is always admitted, one above the burst never is.
    pub(crate) fn beyond(cost: u64, ahead: u64) -> Self {
        let kind = if cost == 0 {
            Kind::Admitted
        } else {
            Kind::CostAboveBurst
        };
        Self {
            ahead,
            kind,
            place: Place::Own,
        }
    }

    pub(crate) fn with_place(self, place: Place) -> Self {
        Self { place, ..self }
    }

    #[inline]
    pub(crate) fn is_admitted(self) -> bool {
        self.kind == Kind::Admitted
    }

    #[inline]
    pub(crate) fn into_result(self, gcra: &Gcra, cost: u64) -> Result<Status, Rejected> {
        let status = Status::new(*gcra, self.ahead);
        match self.kind {
            Kind::Admitted => Ok(status),
            Kind::Exceeded if self.place == Place::Denied => {
                let wait = gcra.nanos(self.ahead);
                Err(Rejected::no_room(gcra.burst(), wait, cost))
            }
            Kind::Exceeded => Err(Rejected::exceeded(status, cost)),
            Kind::CostAboveBurst => Err(Rejected::cost_above_burst(status, cost)),
        }
    }
}

/// A moment in units: modulo 2⁶⁴, and the era that it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) units: u64,
    pub(crate) era: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Admitted, with this new TAT.
    Admit(u64),
    /// Refused for now.
    Refuse,
}

impl Gcra {
    pub(crate) fn new(quota: &Quota) -> Self {
        Self {
            scale: quota.scale(),
            step: quota.step(),
            tolerance: quota.burst() * quota.step(),
            burst: quota.burst(),
            era_shift: 62 - quota.scale().next_power_of_two().ilog2(),
            generation: 0,
        }
    }

    /// One at a time, with the interval of the outflow.
    pub(crate) fn leaky(bucket: &LeakyBucket) -> Self {
        Self {
            tolerance: bucket.outflow().step(),
            burst: 1,
            ..Self::new(bucket.outflow())
        }
    }

    /// In five words.
    pub(crate) fn to_words(self) -> [u64; 5] {
        let shift = u64::from(self.era_shift);
        [self.scale, shift, self.step, self.tolerance, self.burst]
    }

    #[inline]
    pub(crate) fn from_words(words: [u64; 5], stamp: u64) -> Self {
        let [scale, shift, step, tolerance, burst] = words;
        Self {
            scale,
            step,
            tolerance,
            burst,
            era_shift: lower_half(shift),
            generation: lower_half(stamp >> 32),
        }
    }

    /// What a status needs of it.
    #[inline]
    pub(crate) fn pace(&self) -> Pace {
        Pace {
            scale: self.scale,
            step: self.step,
            burst: self.burst,
        }
    }

    /// The same quota after a change.
    pub(crate) fn after(self, earlier: &Self) -> Self {
        Self {
            generation: earlier.generation.wrapping_add(1),
            ..self
        }
    }

    /// A generation and an era in one word.
    #[inline]
    pub(crate) fn stamp(&self, era: u64) -> u64 {
        u64::from(self.generation) << 32 | era
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The era of a stamp, if it is of this generation.
    #[inline]
    pub(crate) fn era_of(&self, stamp: u64) -> Option<u64> {
        (stamp >> 32 == u64::from(self.generation)).then_some(stamp & ERA)
    }

    /// What a TAT of this generation is combined with to stand in its word.
    #[inline]
    pub(crate) fn side(&self) -> u64 {
        u64::from(self.generation) << 63
    }

    pub(crate) fn burst(&self) -> u64 {
        self.burst
    }

    #[inline]
    pub(crate) fn moment(&self, now: Instant) -> Moment {
        Moment {
            units: now.as_nanos().wrapping_mul(self.scale),
            era: self.era(now),
        }
    }

    /// The era of a moment: a stretch of time of at most 2⁶² and more than 2⁶¹ units (52 days for
    /// the finest units, 146 years for nanoseconds).
    ///
    /// A TAT never lies more than 2⁶¹ units ahead. So one that was touched two eras ago or
    /// earlier has passed, whatever its number says; and one that was touched in this era or the
    /// last is at most 2⁶³ units old, so [`Gcra::ahead`] reads it rightly.
    #[inline]
    pub(crate) fn era(&self, now: Instant) -> u64 {
        now.as_nanos() >> self.era_shift
    }

    /// The first moment of an era.
    pub(crate) fn start_of(&self, era: u64) -> Instant {
        Instant::from_nanos(era << self.era_shift)
    }

    /// How far `tat` lies ahead of `now`, in units; 0 if it has passed.
    #[inline]
    pub(crate) fn ahead(tat: u64, now: u64) -> u64 {
        if Self::is_ahead(tat, now) {
            tat.wrapping_sub(now)
        } else {
            0
        }
    }

    #[inline]
    pub(crate) fn is_ahead(tat: u64, now: u64) -> bool {
        tat.wrapping_sub(now) <= AHEAD_MAX
    }

    /// Whether `cost` needs a decision; see [`Decision::beyond`].
    #[inline]
    pub(crate) fn decides(&self, cost: u64) -> bool {
        cost.wrapping_sub(1) < self.burst
    }

    /// Decides on `cost` at `now`, for a bucket whose TAT lies `ahead`. `cost` is at most `burst`.
    #[inline]
    pub(crate) fn decide(&self, ahead: u64, now: u64, cost: u64) -> Verdict {
        match self.fitting(ahead, cost) {
            Some(ahead) => Verdict::Admit(now.wrapping_add(ahead)),
            None => Verdict::Refuse,
        }
    }

    /// How far ahead the TAT lies after `cost`, which is at most `burst`; `None` if it does not fit.
    #[inline]
    pub(crate) fn fitting(&self, ahead: u64, cost: u64) -> Option<u64> {
        debug_assert!(self.decides(cost), "the caller sees to the others");
        // No sum of these two passes 2⁶⁴: the first is below 2⁶³, the second at most the tolerance.
        let ahead = ahead.wrapping_add(self.units_of(cost));
        self.has_room(ahead).then_some(ahead)
    }

    /// How far `cost`, which is at most `burst`, moves a TAT.
    #[inline]
    pub(crate) fn units_of(&self, cost: u64) -> u64 {
        cost.wrapping_mul(self.step)
    }

    /// Whether a TAT may lie so far ahead.
    #[inline]
    pub(crate) fn has_room(&self, ahead: u64) -> bool {
        ahead <= self.tolerance
    }

    /// How far ahead the TAT lies after `cost` more; no further than it ever may.
    pub(crate) fn ahead_with(&self, ahead: u64, cost: u64) -> u64 {
        ahead.saturating_add(cost.saturating_mul(self.step))
    }

    /// How long whoever takes `ahead_with` has to wait for it, in units.
    pub(crate) fn wait_units(&self, ahead_with: u64) -> u64 {
        ahead_with.saturating_sub(self.tolerance)
    }

    /// How far ahead the TAT lies with `cost` given back, but no less than `floor`; and how much of
    /// `cost` that is, in whole numbers.
    pub(crate) fn refunded(&self, ahead: u64, cost: u64, floor: u64) -> (u64, u64) {
        let next = ahead.saturating_sub(cost.saturating_mul(self.step));
        let next = next.max(floor.min(ahead));
        (next, (ahead - next) / self.step)
    }

    /// How far ahead a TAT lies that promises nobody more than the slot at `ready`, in units from
    /// now.
    pub(crate) fn ahead_of_slot(&self, ready: u64) -> u64 {
        ready.saturating_add(self.tolerance)
    }

    /// How far ahead the TAT lies in this quota, where it lay `ahead` in `old`.
    pub(crate) fn inherited(&self, old: &Self, ahead: u64, inherit: Inherit) -> u64 {
        // What is left, in steps of a token; below zero in debt.
        let left = i128::from(old.tolerance) - i128::from(ahead);
        let in_new_steps = |left: i128| {
            let product = left * i128::from(self.step);
            product.div_euclid(i128::from(old.step))
        };
        let left = match inherit {
            Inherit::Keep => in_new_steps(left),
            Inherit::Proportional => {
                (left * i128::from(self.tolerance)).div_euclid(i128::from(old.tolerance))
            }
            Inherit::Additive => {
                let grown = i128::from(self.burst) - i128::from(old.burst);
                in_new_steps(left) + grown * i128::from(self.step)
            }
            Inherit::Reset => i128::from(self.tolerance),
        };
        let ahead = i128::from(self.tolerance) - left;
        u64::try_from(ahead.max(0)).map_or(DEBT_MAX, |ahead| ahead.min(DEBT_MAX))
    }

    /// What a bucket whose TAT lies `ahead` would admit at once.
    pub(crate) fn remaining(&self, ahead: u64) -> u64 {
        self.pace().remaining(ahead)
    }

    /// `units` in nanoseconds, rounded up.
    pub(crate) fn nanos(&self, units: u64) -> u64 {
        units.div_ceil(self.scale)
    }

    /// `units` as a duration, rounded down to a nanosecond.
    pub(crate) fn duration_down(&self, units: u64) -> Duration {
        Duration::from_nanos(units / self.scale)
    }

    /// `nanos` in units; what is too far to count is "too far ahead for any cost".
    pub(crate) fn units(&self, nanos: u64) -> u64 {
        nanos.saturating_mul(self.scale)
    }
}

/// What makes a distance of a TAT readable: no more than that, as it is copied with each status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    scale: u64,
    step: u64,
    /// As many steps are the tolerance.
    burst: u64,
}

impl Pace {
    pub(crate) fn burst(&self) -> u64 {
        self.burst
    }

    /// As [`Gcra::remaining`].
    pub(crate) fn remaining(&self, ahead: u64) -> u64 {
        self.tolerance().saturating_sub(ahead) / self.step
    }

    /// How long until `cost` fits, if nothing else is admitted; rounded up to a nanosecond.
    pub(crate) fn wait(&self, ahead: u64, cost: u64) -> Duration {
        let needed = ahead.saturating_add(cost.saturating_mul(self.step));
        self.duration(needed.saturating_sub(self.tolerance()))
    }

    /// `units` as a duration, rounded up to a nanosecond.
    pub(crate) fn duration(&self, units: u64) -> Duration {
        Duration::from_nanos(units.div_ceil(self.scale))
    }

    fn tolerance(&self) -> u64 {
        self.burst * self.step
    }
}

#[inline]
fn lower_half(word: u64) -> u32 {
    (word & ERA) as u32
}
