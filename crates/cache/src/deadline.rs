use stanchion_core::Instant;

/// The moment from which on an entry is expired, in 48 bits beside the entry's other small parts.
///
/// In steps of 65.5 µs, rounded down: an entry is never given out late, and at most that much is
/// missing from its time. The whole range of [`Instant`] fits, its last step being "never".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline([u8; 6]);

const STEP_BITS: u32 = 16;

impl Deadline {
    pub(crate) const NEVER: Self = Self([u8::MAX; 6]);

    pub(crate) const fn at(moment: Instant) -> Self {
        let [a, b, c, d, e, f, _, _] = (moment.as_nanos() >> STEP_BITS).to_le_bytes();
        Self([a, b, c, d, e, f])
    }

    const fn steps(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// Whether the deadline is there at the time that `now` tells, which is asked only if one is set.
    #[inline]
    pub(crate) fn has_come(self, now: impl FnOnce() -> Instant) -> bool {
        self != Self::NEVER && self.steps() <= now().as_nanos() >> STEP_BITS
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn comes_no_later_than_it_was_set_and_a_step_before_at_most() {
        let moment = Instant::from_nanos(123_456_789_012_345);
        let deadline = Deadline::at(moment);
        let early = Duration::from_nanos(1 << STEP_BITS);
        assert!(deadline.has_come(|| moment));
        assert!(!deadline.has_come(|| moment - early));
    }

    #[test]
    fn never_does_not_come_and_asks_no_clock() {
        let asked = || unreachable!("no clock is read for an entry that does not expire");
        assert!(!Deadline::NEVER.has_come(asked));
        assert!(Deadline::at(Instant::MAX) == Deadline::NEVER);
    }
}
