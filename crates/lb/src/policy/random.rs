use crate::Draw;

use super::sample::Sampler;
use super::{Choice, InvalidTable, Member, Policy, Table};

/// Any, by its weight.
///
/// Shares nothing between threads, so it scales as reading does; the price is the imbalance of
/// chance. [`P2c`](super::P2c) costs little more and has next to none.
///
/// **Complexity**: O(1); 16 bytes an endpoint where weights differ.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Random;

impl Random {
    /// The policy.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    pub(crate) fn by_weight<A>(members: &[Member<A>]) -> Box<dyn Table<A>> {
        Box::new(Sampler::new(members.iter().map(Member::weight)))
    }
}

impl<A> Policy<A> for Random {
    fn table(
        &self,
        members: &[Member<A>],
        _draw: &mut Draw,
    ) -> Result<Box<dyn Table<A>>, InvalidTable> {
        Ok(Self::by_weight(members))
    }
}

impl<A> Table<A> for Sampler {
    #[inline]
    fn choose(&self, choice: &mut Choice<'_, A>) -> Option<usize> {
        Some(self.draw(&mut choice.draw))
    }
}
