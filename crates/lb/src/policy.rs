//! Which of the endpoints that may be used is used: one file for each policy.
//!
//! A [`Policy`] is a value; from it and a group of endpoints a [`Table`] is made, once for each
//! change of the group and off the path of calls. A pick asks the table, which takes no lock and
//! allocates nothing. Own policies implement the two traits.

mod consistent_hash;
mod invalid;
mod invalid_table;
mod least_connections;
mod load;
mod p2c;
mod peak_ewma;
mod random;
mod round_robin;
mod sample;
mod weighted_least_connections;
mod weighted_round_robin;

use std::fmt;
use std::sync::Arc;

use stanchion_core::Instant;

use crate::counted::{Call, Kept};
pub use crate::latency::Metering;
use crate::node::Node;
use crate::{Draw, EndpointId, Health, PickContext};

pub use consistent_hash::{ConsistentHash, Histories};
pub use invalid::InvalidPolicy;
pub use invalid_table::InvalidTable;
pub use least_connections::LeastConnections;
pub use p2c::P2c;
pub use peak_ewma::PeakEwma;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use weighted_least_connections::WeightedLeastConnections;
pub use weighted_round_robin::WeightedRoundRobin;

/// How to choose among endpoints.
pub trait Policy<A>: fmt::Debug + Send + Sync {
    /// Prepares for choosing among `members`, which are of one priority, and of which at least one
    /// has a weight.
    ///
    /// `draw` gives random bits, so that processes that are told of a change together do not all
    /// begin with the same endpoint.
    ///
    /// # Errors
    ///
    /// If it can make no table of these. Whoever set the endpoints, or the policy, is told, and what
    /// was in force stays. Where nobody can be told, because health or time changed a group, chance
    /// chooses in that group until a table can be made; a table of a whole level is not made anew then.
    fn table(
        &self,
        members: &[Member<A>],
        draw: &mut Draw,
    ) -> Result<Box<dyn Table<A>>, InvalidTable>;

    /// What is to be measured, and which endpoints the table is made of. By default nothing, and
    /// those that may be used.
    fn needs(&self) -> Needs {
        Needs::default()
    }
}

/// What a [`Policy`] made of one group of endpoints.
pub trait Table<A>: fmt::Debug + Send + Sync {
    /// Chooses one of the members, by its index.
    ///
    /// `None`, or an index that there is not, leaves the choice to a scan for any endpoint that
    /// takes the call. A choice that is refused (to be avoided, or full) is asked for again a few
    /// times before that.
    fn choose(&self, choice: &mut Choice<'_, A>) -> Option<usize>;

    /// Hears that picks go by it from now on. Only tables of whole levels are told, each time a set of
    /// endpoints or a policy is taken; for who keeps a history.
    fn adopted(&self) {}
}

/// What a [`Policy`] goes by.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Needs {
    /// Calls are timed so.
    pub latency: Option<Metering>,
    /// The table is made of all endpoints of a level, once for each time they are set, so that
    /// health, draining and time move nothing else; it must pass over those that [`Choice::allows`]
    /// refuses. Endpoints of weight 0 are among them.
    pub whole: bool,
}

/// One endpoint, as a policy sees it.
pub struct Member<A> {
    pub(crate) node: Kept<Node<A>>,
    pub(crate) weight: u32,
    pub(crate) share: u32,
    pub(crate) in_flight_max: u32,
    pub(crate) priority: u8,
    pub(crate) usable: bool,
}

/// One pick, as a policy sees it.
#[derive(Debug)]
pub struct Choice<'a, A> {
    pub(crate) members: &'a [Member<A>],
    pub(crate) context: &'a PickContext<'a>,
    pub(crate) now: Instant,
    pub(crate) draw: Draw,
    /// What is chosen may have less than so many calls, whatever it takes itself.
    pub(crate) in_flight_max: u32,
}

impl<A, P: Policy<A> + ?Sized> Policy<A> for Arc<P> {
    fn table(
        &self,
        members: &[Member<A>],
        draw: &mut Draw,
    ) -> Result<Box<dyn Table<A>>, InvalidTable> {
        (**self).table(members, draw)
    }

    fn needs(&self) -> Needs {
        (**self).needs()
    }
}

impl Needs {
    /// With calls timed so.
    #[must_use]
    pub const fn with_latency(mut self, metering: Metering) -> Self {
        self.latency = Some(metering);
        self
    }

    /// With the endpoints of a level in one table, whatever their health.
    #[must_use]
    pub const fn with_whole_level(mut self) -> Self {
        self.whole = true;
        self
    }
}

impl<A> Member<A> {
    /// What it is called.
    #[must_use]
    pub fn id(&self) -> &EndpointId {
        &self.node.id
    }

    /// Where it is reached.
    #[must_use]
    pub fn address(&self) -> &A {
        &self.node.address
    }

    /// The level that it belongs to, as do all members of a table.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// Its share beside the others, by its own weight and by how far its slow start has come; at
    /// least 1, but for those of weight 0 in the table of a whole level.
    #[inline]
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// How far its slow start has come, from 1 to 100 percent; 100 without one. For policies that do
    /// not go by weights, or else such an endpoint would get its whole share of calls at once.
    #[inline]
    #[must_use]
    pub fn share_percent(&self) -> u32 {
        self.share
    }

    /// Calls that this balancer has sent there and that are not over.
    #[inline]
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.node.calls()
    }

    /// Its latency in nanoseconds, as of `now`; `None` while no call was timed.
    #[inline]
    #[must_use]
    pub fn latency(&self, now: Instant, metering: Metering) -> Option<f32> {
        self.node.latency.at(now, metering)
    }

    /// Its health now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.node.health.read().health()
    }

    fn is_full(&self) -> bool {
        self.in_flight_max != u32::MAX && self.in_flight() >= self.in_flight_max
    }

    /// Counts a call there, unless it is full, or has `max`.
    #[inline]
    pub(crate) fn begin(&self, max: u32) -> Option<Call<Node<A>>> {
        self.node.begin(self.in_flight_max.min(max))
    }
}

impl<'a, A> Choice<'a, A> {
    /// The endpoints to choose among, in the order in which the table was made of them.
    #[inline]
    #[must_use]
    pub fn members(&self) -> &'a [Member<A>] {
        self.members
    }

    /// The hash of the call's key.
    #[inline]
    #[must_use]
    pub fn hash(&self) -> Option<u64> {
        self.context.hash
    }

    /// The time, if the policy needs latencies; else the clock's origin.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Has the pick take what is chosen only while it has less than `max` calls in flight: checked and
    /// counted in one step, so that several picks at once do not exceed it. If it has as many by then,
    /// the table is asked again, up to 16 times.
    #[inline]
    pub fn bound(&mut self, max: u32) {
        self.in_flight_max = max;
    }

    /// Random bits.
    #[inline]
    pub fn draw(&mut self) -> &mut Draw {
        &mut self.draw
    }

    /// Whether the endpoint at `index` may be used, is not full, and is not to be avoided.
    #[must_use]
    pub fn allows(&self, index: usize) -> bool {
        let allowed = |member: &Member<A>| self.takes(member) && !member.is_full();
        self.members.get(index).is_some_and(allowed)
    }

    /// Whether the endpoint may be used and is not to be avoided.
    #[inline]
    pub(crate) fn takes(&self, member: &Member<A>) -> bool {
        member.usable && (self.context.avoid.is_empty() || !self.avoids(member))
    }

    #[cold]
    fn avoids(&self, member: &Member<A>) -> bool {
        self.context.avoid.contains(&member.node.id)
    }
}

impl<A> fmt::Debug for Member<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("node", &self.node)
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}
