use stanchion_core::Instant;

use super::Known;
use crate::draw::scale;
use crate::node::Timing;
use crate::policy::{Choice, Member, Needs, Policy, Table};
use crate::{Draw, EndpointId, PickContext, Picked};

/// Endpoints that a policy chooses among, with what it made of them.
#[derive(Debug)]
pub(super) struct Group<A> {
    pub(super) members: Box<[Member<A>]>,
    table: Box<dyn Table<A>>,
    /// Where its share of the traffic ends, in percent; it begins where that of the group before ends.
    pub(super) share_end: u32,
}

/// How often a policy is asked before a scan takes over.
const TRIES: u32 = 4;

impl<A> Group<A> {
    /// Of these nodes, those that are `usable`; or all, if the policy wants them.
    pub(super) fn new(
        nodes: &[Known<'_, A>],
        usable: impl Fn(&Known<'_, A>) -> bool,
        share_end: u32,
        policy: &dyn Policy<A>,
        needs: Needs,
        draw: &mut Draw,
    ) -> Self {
        let member = |known: &Known<'_, A>| Member {
            node: known.node.clone(),
            weight: u32::from(known.weight),
            in_flight_max: known.in_flight_max,
            usable: usable(known),
        };
        let members = nodes.iter().map(member);
        let members: Box<[Member<A>]> = members
            .filter(|member| member.usable || needs.whole)
            .collect();
        Self {
            table: policy.table(&members, draw),
            members,
            share_end,
        }
    }

    /// What the policy chooses, if that takes the call and is not to be avoided; it is asked a few
    /// times.
    #[inline]
    pub(super) fn pick(
        &self,
        context: &PickContext<'_>,
        timing: Option<Timing>,
        now: Instant,
        draw: Draw,
    ) -> Option<Picked<A>> {
        let mut choice = Choice {
            members: &self.members,
            hash: context.hash,
            avoid: context.avoid,
            now,
            draw,
        };
        for _ in 0..TRIES {
            let chosen = self.table.choose(&mut choice)?;
            let member = self.members.get(chosen)?;
            if member.usable
                && !choice.avoids(member)
                && let Some(picked) = member.begin(timing)
            {
                return Some(picked);
            }
        }
        None
    }

    /// The first from a random place on that takes the call and is not to be avoided.
    pub(super) fn scan(
        &self,
        avoid: &[EndpointId],
        random: u64,
        timing: Option<Timing>,
    ) -> Option<Picked<A>> {
        let start = scale(random, self.members.len());
        let (before, from) = self.members.split_at_checked(start)?;
        from.iter()
            .chain(before)
            .filter(|member| member.usable && !avoid.contains(&member.node.id))
            .find_map(|member| member.begin(timing))
    }
}
