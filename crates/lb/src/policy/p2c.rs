use crate::Draw;

use super::load::{Load, least};
use super::sample::{Sampler, even_pair};
use super::{Choice, InvalidPolicy, InvalidTable, Member, Policy, Table};

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
    fn table(
        &self,
        members: &[Member<A>],
        _draw: &mut Draw,
    ) -> Result<Box<dyn Table<A>>, InvalidTable> {
        let sampler = Sampler::new(members.iter().map(Member::weight));
        Ok(match sampler {
            Sampler::Even(count) if self.choices == 2 && count > SCAN_MAX => {
                Box::new(EvenPair { count })
            }
            sampler => Box::new(Choices {
                choices: usize::from(self.choices),
                sampler,
            }),
        })
    }
}

/// What is made of most groups, in fewer steps: two choices of more than a few, all of one weight, so
/// that calls are all there is to compare.
#[derive(Debug)]
struct EvenPair {
    count: usize,
}

impl<A> Table<A> for EvenPair {
    #[inline]
    fn choose(&self, choice: &mut Choice<'_, A>) -> Option<usize> {
        let members = choice.members;
        let (first, second) = even_pair(self.count, &mut choice.draw);
        let calls = (
            members.get(first)?.in_flight(),
            members.get(second)?.in_flight(),
        );
        Some(if calls.1 < calls.0 { second } else { first })
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
        return least(members, &mut choice.draw, load);
    }
    let (first, second) = sampler.draw_two(&mut choice.draw);
    let loads = (load(members.get(first)?), load(members.get(second)?));
    let best = if loads.1 < loads.0 { second } else { first };
    if choices > 2 {
        return best_of_more(sampler, choices - 2, choice, best, load);
    }
    Some(best)
}

/// The best of one that was drawn and `more` others. Apart, so that the usual case stays short.
#[inline(never)]
fn best_of_more<A, L: PartialOrd>(
    sampler: &Sampler,
    more: usize,
    choice: &mut Choice<'_, A>,
    mut best: usize,
    load: impl Fn(&Member<A>) -> L,
) -> Option<usize> {
    let members = choice.members();
    let mut least = load(members.get(best)?);
    for _ in 0..more {
        let other = sampler.draw(&mut choice.draw);
        let load = load(members.get(other)?);
        if load < least {
            (best, least) = (other, load);
        }
    }
    Some(best)
}
