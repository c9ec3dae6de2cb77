//! Tables of whole levels, which stay from plan to plan while their endpoints do.

use std::sync::Arc;

use super::{Known, Plan, WARM};
use crate::policy::{InvalidTable, Member, Policy, Table};
use crate::{Draw, EndpointId};

/// What the policy made of all endpoints of one level.
#[derive(Debug)]
pub(super) struct WholeLevel<A> {
    priority: u8,
    /// The endpoints that it is made of, with their weights.
    of: Box<[(EndpointId, u32)]>,
    pub(super) table: Arc<dyn Table<A>>,
}

impl<A> Clone for WholeLevel<A> {
    fn clone(&self) -> Self {
        Self {
            priority: self.priority,
            of: self.of.clone(),
            table: self.table.clone(),
        }
    }
}

impl<A> WholeLevel<A> {
    /// The tables of all levels that have a weight: those of `before` where their endpoints are the
    /// same, else new ones.
    pub(super) fn all(
        known: &[Known<'_, A>],
        policy: &dyn Policy<A>,
        before: Option<&Plan<A>>,
        draw: &mut Draw,
    ) -> Result<Box<[Self]>, InvalidTable> {
        let mut priorities: Vec<u8> = (known.iter())
            .filter(|known| known.weight > 0)
            .map(|known| known.priority)
            .collect();
        priorities.sort_unstable();
        priorities.dedup();
        let before = before.map_or(&[][..], |plan| &plan.whole);
        let level = |priority: u8| {
            let of = known.iter().filter(|known| known.priority == priority);
            let members: Vec<Member<A>> = of.map(|known| member(known, false)).collect();
            let same = |level: &&Self| level.priority == priority && level.is_of(&members);
            if let Some(same) = before.iter().find(same) {
                return Ok(same.clone());
            }
            let table = policy.table(&members, draw);
            let of = members
                .iter()
                .map(|member| (member.id().clone(), member.weight()));
            Ok(Self {
                priority,
                of: of.collect(),
                table: table.map_err(|invalid| invalid.at(priority))?.into(),
            })
        };
        priorities.into_iter().map(level).collect()
    }

    fn is_of(&self, members: &[Member<A>]) -> bool {
        let same = |((id, weight), member): (&(EndpointId, u32), &Member<A>)| {
            id == member.id() && *weight == member.weight()
        };
        self.of.len() == members.len() && self.of.iter().zip(members).all(same)
    }

    pub(super) fn of_priority(levels: &[Self], priority: u8) -> Option<&Self> {
        levels.iter().find(|level| level.priority == priority)
    }
}

/// A member of a table that a change of one endpoint must not move anything else in, so none starts
/// slowly.
pub(super) fn member<A>(known: &Known<'_, A>, usable: bool) -> Member<A> {
    Member {
        node: known.node.clone(),
        weight: u32::from(known.weight),
        share: WARM,
        in_flight_max: known.in_flight_max,
        priority: known.priority,
        usable,
    }
}
