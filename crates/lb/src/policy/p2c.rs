use crate::Draw;

use super::sample::Sampler;
use super::{Choice, InvalidPolicy, Member, Policy, Table};

/// The power of two choices: of two endpoints drawn at random, the one with fewer calls in flight
/// for its weight.
///
/// Nearly as good as looking at all, at a cost that does not grow; and where several balancers send
/// to the same endpoints without knowing of each other, better, since they do not all run to the same
/// one. A new endpoint is sent at most twice its fair share.
///
/// Draws go by weight, so an endpoint's share of the draws is its weight's, too. Of few endpoints, up
/// to 4, all are looked at: of two out of four drawn, one time in six both are bad if two of the
/// four are.
///
/// **Complexity**: O(choices); shares nothing between threads but the counts it reads.
///
/// **Source**: M. Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing* (2001); Envoy's
/// `LEAST_REQUEST` with `choice_count` (2), gRPC's `least_request_experimental`.
#[derive(Clone, Copy, Debug)]
pub struct P2c {
    choices: u8,
}

/// Groups of this size and less are looked at whole.
pub(super) const SCAN_MAX: usize = 4;

impl P2c {
    /// Two choices.
    #[must_use]
    pub const fn new() -> Self {
        Self { choices: 2 }
    }

    /// So many choices, from 2 to 32. More help where many endpoints are slow at once. Default: 2.
    ///
    /// # Errors
    ///
    /// If `choices` is out of range.
    pub fn with_choices(self, choices: u8) -> Result<Self, InvalidPolicy> {
        if !(2..=32).contains(&choices) {
            return Err(InvalidPolicy::new("choices", choices, "from 2 to 32"));
        }
        Ok(Self { choices })
    }
}

impl Default for P2c {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> Policy<A> for P2c {
    fn table(&self, members: &[Member<A>], _draw: &mut Draw) -> Box<dyn Table<A>> {
        Box::new(Choices {
            choices: usize::from(self.choices),
            sampler: Sampler::new(members.iter().map(Member::weight)),
        })
    }
}

#[derive(Debug)]
struct Choices {
    choices: usize,
    sampler: Sampler,
}

impl<A> Table<A> for Choices {
    #[inline]
    fn choose(&self, choice: &mut Choice<'_, A>) -> Option<usize> {
        best(&self.sampler, self.choices, choice, Load::of)
    }
}

/// The best of `choices` members drawn, or of all if they are few; ties go to the one drawn first.
#[inline]
pub(super) fn best<A, L: PartialOrd>(
    sampler: &Sampler,
    choices: usize,
    choice: &mut Choice<'_, A>,
    load: impl Fn(&Member<A>) -> L,
) -> Option<usize> {
    let members = choice.members();
    let count = members.len();
    if count <= SCAN_MAX.max(choices) {
        return least(members, choice.draw.below(count), load);
    }
    let (mut best, second) = sampler.draw_two(&mut choice.draw);
    let mut least = load(members.get(best)?);
    let mut compare = |other: usize| {
        let more = load(members.get(other)?);
        if more < least {
            (best, least) = (other, more);
        }
        Some(())
    };
    compare(second)?;
    for _ in 2..choices {
        compare(sampler.draw(&mut choice.draw))?;
    }
    Some(best)
}

/// The member with the least load of all. Ties go to the first from `start` on, so that no endpoint
/// is preferred.
#[inline]
pub(super) fn least<A, L: PartialOrd>(
    members: &[Member<A>],
    start: usize,
    load: impl Fn(&Member<A>) -> L,
) -> Option<usize> {
    let (before, after) = members.split_at_checked(start)?;
    let indices = (start..).zip(after).chain((0..).zip(before));
    let mut loads = indices.map(|(index, member)| (index, load(member)));
    let first = loads.next()?;
    let (index, _) = loads.fold(
        first,
        |best, other| {
            if other.1 < best.1 { other } else { best }
        },
    );
    Some(index)
}

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
}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(std::cmp::Ordering::Equal)
    }
}

impl PartialOrd for Load {
    /// Compares the quotients without dividing. A call count and a weight have 32 bits and 1.
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        let here = self.calls * other.weight;
        Some(here.cmp(&(other.calls * self.weight)))
    }
}
