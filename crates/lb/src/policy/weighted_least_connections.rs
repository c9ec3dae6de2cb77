use crate::Draw;

use super::load::{Load, least};
use super::{Choice, InvalidTable, Member, Policy, Table};

/// The endpoint with the fewest calls in flight for its weight, the new one counted: the least of
/// (calls + 1) / weight; of several, any.
///
/// As [`LeastConnections`](super::LeastConnections) in all else. Envoy weighs endpoints of different
/// weights by the inverse, weight / (calls + 1), and goes around by that.
///
/// **Complexity**: O(n); shares nothing between threads but the counts it reads.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WeightedLeastConnections;

impl WeightedLeastConnections {
    /// The policy.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<A> Policy<A> for WeightedLeastConnections {
    fn table(
        &self,
        _members: &[Member<A>],
        _draw: &mut Draw,
    ) -> Result<Box<dyn Table<A>>, InvalidTable> {
        Ok(Box::new(*self))
    }
}

impl<A> Table<A> for WeightedLeastConnections {
    fn choose(&self, choice: &mut Choice<'_, A>) -> Option<usize> {
        least(choice.members, &mut choice.draw, Load::of)
    }
}
