//! Who owns what among the members of a level, by each algorithm.

use std::collections::HashMap;

use stanchion_hashing::{
    Anchor, AnchorHistory, Jump, JumpHistory, JumpOwners, Maglev, Node, Rendezvous, Ring,
};

use super::super::{InvalidTable, Member};
use super::{Algorithm, Histories};

#[derive(Debug)]
pub(super) enum Owners {
    Ring(Ring),
    Maglev(Maglev),
    Rendezvous(Rendezvous),
    Anchor(Anchor, Adopts<AnchorHistory>),
    Jump(Numbered, Adopts<JumpHistory>),
}

/// Where the history of a table goes once it is in force.
#[derive(Debug)]
pub(super) struct Adopts<H> {
    histories: Histories<H>,
    priority: u8,
}

impl Owners {
    pub(super) fn new<A>(
        members: &[Member<A>],
        algorithm: &Algorithm,
    ) -> Result<Self, InvalidTable> {
        let nodes = || members.iter().map(node).collect::<Vec<_>>();
        Ok(match algorithm {
            Algorithm::Ring => Self::Ring(Ring::new(&nodes())?),
            Algorithm::Maglev { size } => Self::Maglev(Maglev::with_size(&nodes(), *size)?),
            Algorithm::Rendezvous => Self::Rendezvous(Rendezvous::new(&nodes())?),
            #[cfg(feature = "ketama")]
            Algorithm::Libketama => Self::Ring(Ring::libketama(&nodes())?),
            #[cfg(feature = "ketama")]
            Algorithm::Nginx => Self::Ring(Ring::nginx(&nodes())?),
            Algorithm::Anchor {
                capacity,
                histories,
            } => {
                let adopts = Adopts::new(histories, members);
                let nodes = all_of_one_weight(members);
                let table = match histories.of(adopts.priority) {
                    Some(history) => Anchor::resume(&history, &nodes),
                    None => Anchor::new(&nodes, *capacity),
                };
                Self::Anchor(table?, adopts)
            }
            Algorithm::Jump(histories) => {
                let adopts = Adopts::new(histories, members);
                let history = histories.of(adopts.priority);
                Self::Jump(Numbered::new(members, history.as_ref())?, adopts)
            }
        })
    }

    /// Keeps the history of a table that is in force.
    pub(super) fn adopted(&self) {
        match self {
            Self::Anchor(table, adopts) => adopts.adopt(table.history().clone()),
            Self::Jump(table, adopts) => adopts.adopt(table.jump.history().clone()),
            Self::Ring(_) | Self::Maglev(_) | Self::Rendezvous(_) => {}
        }
    }
}

impl<H: Clone> Adopts<H> {
    fn new<A>(histories: &Histories<H>, members: &[Member<A>]) -> Self {
        Self {
            histories: histories.clone(),
            priority: members.first().map_or(0, Member::priority),
        }
    }

    fn adopt(&self, history: H) {
        self.histories.set(self.priority, history);
    }
}

fn node<A>(member: &Member<A>) -> Node<'_> {
    Node::new(member.id().as_str()).with_weight(member.weight())
}

/// Where weights are not known, who has none keeps its place, and is passed over.
fn all_of_one_weight<A>(members: &[Member<A>]) -> Vec<Node<'_>> {
    let weights = members.iter().map(Member::weight);
    let weight = weights.into_iter().find(|&weight| weight > 0).unwrap_or(1);
    let node = |member| match node(member) {
        without if without.weight() == 0 => without.with_weight(weight),
        with => with,
    };
    members.iter().map(node).collect()
}

/// A jump table of members that are numbered otherwise than they are listed.
#[derive(Debug)]
pub(super) struct Numbered {
    jump: Jump,
    /// Of each number, the member.
    members: Box<[usize]>,
}

impl Numbered {
    /// Those that the history knows have their numbers; the others follow by their ids.
    fn new<A>(members: &[Member<A>], history: Option<&JumpHistory>) -> Result<Self, InvalidTable> {
        let known = history.into_iter().flat_map(JumpHistory::ids).enumerate();
        let known: HashMap<&[u8], usize> = known.map(|(number, id)| (id, number)).collect();
        let nodes = all_of_one_weight(members);
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_by_key(|&member| {
            let id = nodes[member].id();
            (known.get(id).copied().unwrap_or(usize::MAX), id)
        });
        let numbered: Vec<Node<'_>> = order.iter().map(|&member| nodes[member]).collect();
        let jump = match history {
            Some(history) => Jump::resume(history, &numbered)?,
            None => Jump::new(&numbered)?,
        };
        Ok(Self {
            jump,
            members: order.into(),
        })
    }

    fn member(&self, number: usize) -> usize {
        self.members.get(number).copied().unwrap_or(number)
    }
}

impl stanchion_hashing::ConsistentHash for Numbered {
    type Owners<'a> = NumberedOwners<'a>;

    fn owner(&self, hash: u64) -> usize {
        self.member(self.jump.owner(hash))
    }

    fn owners(&self, hash: u64) -> NumberedOwners<'_> {
        NumberedOwners {
            table: self,
            owners: self.jump.owners(hash),
        }
    }

    /// The same for all.
    fn weight(&self, index: usize) -> u32 {
        self.jump.weight(index)
    }

    fn weight_sum(&self) -> u64 {
        self.jump.weight_sum()
    }
}

/// The owners of a hash, as members.
#[derive(Debug)]
pub(super) struct NumberedOwners<'a> {
    table: &'a Numbered,
    owners: JumpOwners,
}

impl Iterator for NumberedOwners<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        Some(self.table.member(self.owners.next()?))
    }
}
