use crate::Draw;

use super::load::{Load, least};
use super::{Choice, InvalidTable, Member, Policy, Table};

/// The endpoint with the fewest calls in flight, whatever its weight; of several, any.
///
/// Right for one balancer in front of few endpoints. Several balancers know each only its own
/// calls; and a new endpoint gets all calls until it has as many as the others. [`P2c`](super::P2c)
/// has neither trouble, and costs the same whatever the number of endpoints.
///
/// **Complexity**: O(n); shares nothing between threads but the counts it reads.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LeastConnections;

impl LeastConnections {
    /// The policy.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<A> Policy<A> for LeastConnections {
    fn table(
        &self,
        _members: &[Member<A>],
        _draw: &mut Draw,
    ) -> Result<Box<dyn Table<A>>, InvalidTable> {
        Ok(Box::new(*self))
    }
}

impl<A> Table<A> for LeastConnections {
    fn choose(&self, choice: &mut Choice<'_, A>) -> Option<usize> {
        least(choice.members, &mut choice.draw, Load::started)
    }
}
