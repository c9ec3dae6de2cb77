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
/// And how often one that sets a bound, which others may reach meanwhile.
const LATE: u32 = 16;

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
            in_flight_max: u32::MAX,
        };
        let member = self.members.get(self.table.choose(&mut choice)?)?;
        // A look at the first choice is the way of nearly all calls.
        let max = choice.in_flight_max;
        let begun = choice.takes(member).then(|| member.begin(max)).flatten();
        begun.or_else(|| self.begin_again(&mut choice))
    }

    #[cold]
    fn begin_again(&self, choice: &mut Choice<'_, A>) -> Option<Call<Node<A>>> {
        let (mut refused, mut late) = (1, 0);
        while refused < TRIES && late < LATE {
            choice.in_flight_max = u32::MAX;
            let member = self.members.get(self.table.choose(choice)?)?;
            if choice.takes(member)
                && let Some(call) = member.begin(choice.in_flight_max)
            {
                return Some(call);
            }
            match choice.in_flight_max {
                u32::MAX => refused += 1,
                _ => late += 1,
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
            .find_map(|member| member.begin(u32::MAX))
    }
}

#[cfg(all(test, stanchion_loom))]
mod loom {
    use ::loom::sync::Arc;
    use ::loom::thread;
    use stanchion_core::Clock;

    use super::*;
    use crate::Endpoint;
    use crate::counted::Kept;
    use crate::outlier::Heed;
    use crate::policy::{ConsistentHash, Policy};

    fn member(id: &str) -> Member<()> {
        let (clock, home) = (Clock::system(), std::sync::Weak::new());
        let node = Node::new(Endpoint::new(id, ()), &clock, home, Heed::NOTHING);
        Member {
            node: Kept::new(node),
            weight: 1,
            share: WARM,
            in_flight_max: u32::MAX,
            priority: 0,
            usable: true,
        }
    }

    /// With two calls of three endpoints, each may have one, so those who pick at once part.
    #[test]
    fn two_who_pick_at_once_do_not_exceed_a_bound_together() {
        ::loom::model(|| {
            let members: Box<[Member<()>]> = ["a", "b", "c"].map(member).into();
            let policy = ConsistentHash::rendezvous().with_bound(1.1).unwrap();
            let table = policy.table(&members, &mut Draw::from_seed(1)).unwrap();
            let group = Arc::new(Group {
                table: table.into(),
                members,
                share_end: 0,
            });
            let pick = |group: &Group<()>| {
                let context = PickContext::new().with_hash(7);
                let draw = Draw::from_seed(1);
                group.begin(&context, Instant::ZERO, draw).unwrap()
            };
            let there = thread::spawn({
                let group = group.clone();
                move || pick(&group)
            });
            let here = pick(&group);
            let there = there.join().unwrap();
            assert_ne!(here.id, there.id);
        });
    }
}
