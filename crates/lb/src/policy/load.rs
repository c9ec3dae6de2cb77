//! What an endpoint would have to do, and who has the least of it.

use std::cmp::Ordering;

use crate::Draw;

use super::Member;

/// What an endpoint would have to do with one call more, for its weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    calls: u64,
    weight: u64,
}

impl Load {
    #[inline]
    pub(super) fn of<A>(member: &Member<A>) -> Self {
        Self {
            calls: u64::from(member.in_flight()) + 1,
            weight: u64::from(member.weight()),
        }
    }

    /// Whatever its weight, but for how far its slow start has come.
    #[inline]
    pub(super) fn started<A>(member: &Member<A>) -> Self {
        Self {
            calls: u64::from(member.in_flight()) + 1,
            weight: u64::from(member.share_percent()),
        }
    }
}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Load {
    /// Compares the quotients without dividing. Calls are at most 2³² and weights less, so the
    /// products fit.
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let here = self.calls * other.weight;
        Some(here.cmp(&(other.calls * self.weight)))
    }
}

/// The member with the least load; of several, each as likely as another.
#[inline]
pub(super) fn least<A, L: PartialOrd>(
    members: &[Member<A>],
    draw: &mut Draw,
    load: impl Fn(&Member<A>) -> L,
) -> Option<usize> {
    let (mut best, mut ties) = (0, 0);
    let mut least = load(members.first()?);
    for (index, member) in members.iter().enumerate() {
        let other = load(member);
        if other < least {
            (best, least, ties) = (index, other, 1);
        } else if other == least {
            ties += 1;
        }
    }
    // Rather look again than draw at each tie.
    let mut skip = draw.below(ties);
    let chosen = members.iter().skip(best).position(|member| {
        let tie = load(member) == least;
        let chosen = tie && skip == 0;
        skip -= usize::from(tie && !chosen);
        chosen
    });
    // Where loads changed meanwhile, the first of them is as good.
    Some(best + chosen.unwrap_or(0))
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    #[test]
    fn loads_compare_as_calls_for_weight_do() {
        let load = |calls, weight| Load { calls, weight };
        // Envoy: weight 2 with 4 calls in flight weighs 0.4, weight 1 with 2 weighs 0.33.
        assert!(load(4 + 1, 2) < load(2 + 1, 1));
        assert!(load(6, 2) == load(3, 1));
        let most = load(1 << 32, 1);
        assert!(load(1 << 32, u64::from(u32::MAX)) < most);
    }
}
