use std::sync::Arc;

use stanchion_core::Instant;

use super::{Known, subset};
use crate::config::Subset;
use crate::counted::Call;
use crate::draw::scale;
use crate::node::Node;
use crate::policy::{Choice, Member, Table};
use crate::slow_start::WARM;
use crate::{Draw, EndpointId, PickContext};

/// Endpoints that a policy chooses among, with what it made of them.
#[derive(Debug)]
pub(super) struct Group<A> {
    pub(super) members: Box<[Member<A>]>,
    pub(super) table: Arc<dyn Table<A>>,
    /// Where its share of the traffic ends, of [`WHOLE`](super::zones::WHOLE); it begins where that of
    /// the group before ends.
    pub(super) share_end: u64,
}

/// How often a policy is asked before a scan takes over.
const TRIES: u32 = 4;

/// Of these nodes, those that are `usable`, and of these the subset if there is one.
pub(super) fn members<A>(
    nodes: &[&Known<'_, A>],
    usable: impl Fn(&Known<'_, A>) -> bool,
    subset: Option<Subset>,
) -> Box<[Member<A>]> {
    let usable = || nodes.iter().filter(|known| usable(known));
    let slow = usable().any(|known| known.share < WARM);
    let member = |known: &&Known<'_, A>| {
        let share = if slow { known.share } else { WARM };
        Member {
            node: known.node.clone(),
            weight: u32::from(known.weight) * if slow { share } else { 1 },
            share,
            in_flight_max: known.in_flight_max,
            priority: known.priority,
            usable: true,
        }
    };
    let members: Vec<Member<A>> = usable().map(member).collect();
    let Some(subset) = subset else {
        return members.into();
    };
    let kept = subset::kept(members.iter().map(Member::id), subset);
    let kept = members.into_iter().zip(kept).filter(|(_, kept)| *kept);
    kept.map(|(member, _)| member).collect()
}

impl<A> Group<A> {
    /// What the policy chooses, if that takes the call and is not to be avoided; it is asked a few
    /// times.
    #[inline(always)]
    pub(super) fn begin(
        &self,
        context: &PickContext<'_>,
        now: Instant,
        draw: Draw,
    ) -> Option<Call<Node<A>>> {
        let mut choice = Choice {
            members: &self.members,
            context,
            now,
            draw,
        };
        let member = self.members.get(self.table.choose(&mut choice)?)?;
        // A look at the first choice is the way of nearly all calls.
        let begun = choice.takes(member).then(|| member.begin()).flatten();
        begun.or_else(|| self.begin_again(&mut choice))
    }

    #[cold]
    fn begin_again(&self, choice: &mut Choice<'_, A>) -> Option<Call<Node<A>>> {
        for _ in 1..TRIES {
            let member = self.members.get(self.table.choose(choice)?)?;
            if choice.takes(member)
                && let Some(call) = member.begin()
            {
                return Some(call);
            }
        }
        None
    }

    /// The first from a random place on that takes the call and is not to be avoided.
    pub(super) fn scan(&self, avoid: &[EndpointId], random: u64) -> Option<Call<Node<A>>> {
        let start = scale(random, self.members.len());
        let (before, from) = self.members.split_at_checked(start)?;
        from.iter()
            .chain(before)
            .filter(|member| member.usable && !avoid.contains(&member.node.id))
            .find_map(Member::begin)
    }
}
