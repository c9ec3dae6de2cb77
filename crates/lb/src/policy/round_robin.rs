use crate::Draw;
use crate::sync::{AtomicU64, Ordering, Padded};

use super::weighted_round_robin::in_turn;
use super::{Choice, InvalidTable, Member, Policy, Table};

/// Each in turn, whatever its weight: [`WeightedRoundRobin`](super::WeightedRoundRobin) heeds those.
///
/// Begins anywhere, so that processes that start together do not all begin with the same endpoint;
/// and again after each change of the group.
///
/// **Complexity**: O(1); one addition to a counter that all threads share.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RoundRobin;

impl RoundRobin {
    /// The policy.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<A> Policy<A> for RoundRobin {
    fn table(
        &self,
        members: &[Member<A>],
        draw: &mut Draw,
    ) -> Result<Box<dyn Table<A>>, InvalidTable> {
        let shares: Vec<u32> = members.iter().map(Member::share_percent).collect();
        if shares.windows(2).any(|pair| pair[0] != pair[1]) {
            // Who starts slowly is left out of some rounds.
            return Ok(in_turn(&shares, draw));
        }
        Ok(Box::new(Turns::starting(draw.below(members.len()))))
    }
}

/// Counts turns. With 64 bits from a small start it does not come to wrap.
#[derive(Debug)]
pub(super) struct Turns {
    next: Padded<AtomicU64>,
}

impl Turns {
    pub(super) fn starting(first: usize) -> Self {
        Self {
            next: Padded(AtomicU64::new(first as u64)),
        }
    }

    /// The turn after the last one, of `count`.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "less than a usize")]
    pub(super) fn next(&self, count: usize) -> Option<usize> {
        // Relaxed: it orders nothing else.
        let turn = self.next.0.fetch_add(1, Ordering::Relaxed);
        turn.checked_rem(count as u64).map(|index| index as usize)
    }
}

impl<A> Table<A> for Turns {
    #[inline]
    fn choose(&self, choice: &mut Choice<'_, A>) -> Option<usize> {
        self.next(choice.members().len())
    }
}
