use std::fmt;

use stanchion_hashing::{Bounded, LoadFactor, Maglev, Node, Rendezvous, Ring};

use crate::Draw;

use super::{Choice, InvalidPolicy, InvalidTable, Member, Needs, Policy, Table};

/// The endpoint that owns the call's hash, so that calls of one key meet at one endpoint, whichever
/// process sends them.
///
/// Endpoints own keys by their ids and weights, whatever their health, so the keys of one that fails
/// or is drained go to the next owner of each, and come back when it does; no other key moves. One that
/// is gone is taken out, and how few other keys move then is the algorithm's.
///
/// The hash comes with [`PickContext::with_hash`](crate::PickContext::with_hash), from
/// [`key_hash`](stanchion_hashing::key_hash) or [`IpKey`](crate::IpKey) for instance. A call without one
/// goes anywhere.
///
/// | algorithm | keys of others that move | a pick costs | memory |
/// |---|---|---|---|
/// | [`ring`](Self::ring) | none | a look at a table and a short search | 160 points an endpoint |
/// | [`maglev`](Self::maglev) | up to 1 % | a look at a table | 65,537 places |
/// | [`rendezvous`](Self::rendezvous) | none | O(n) | an entry an endpoint |
///
/// Endpoints of which no table can be made, because they are more than the places of a Maglev table,
/// say, are refused when they are set; the message names the value.
///
/// **Complexity**: as the table says; O(n) more with a bound, where the owner is not idle. A table is
/// made when the ids or weights of a level's endpoints change, not when their health does.
///
/// **Source**: as [`stanchion_hashing`] has it.
#[derive(Clone, Debug)]
pub struct ConsistentHash {
    algorithm: Algorithm,
    bound: Option<LoadFactor>,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Ring,
    Maglev { size: u32 },
    Rendezvous,
}

impl ConsistentHash {
    /// By a ring, each endpoint on it with 160 points for each of its weight.
    #[must_use]
    pub const fn ring() -> Self {
        Self::by(Algorithm::Ring)
    }

    /// By a Maglev table of 65,537 places.
    #[must_use]
    pub const fn maglev() -> Self {
        Self::by(Algorithm::Maglev { size: Maglev::SIZE })
    }

    /// By a Maglev table of so many places: a prime, and better a hundred for each endpoint. All who
    /// are to agree need the same.
    ///
    /// # Errors
    ///
    /// If `size` is no prime, or too large.
    pub fn maglev_of_size(size: u32) -> Result<Self, InvalidPolicy> {
        match Maglev::with_size(&[Node::from("any")], size) {
            Ok(_) => Ok(Self::by(Algorithm::Maglev { size })),
            Err(_) => Err(InvalidPolicy::new(
                "size",
                size,
                "a prime from 3 on that is not too large",
            )),
        }
    }

    /// By rendezvous hashing (highest random weight).
    #[must_use]
    pub const fn rendezvous() -> Self {
        Self::by(Algorithm::Rendezvous)
    }

    const fn by(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            bound: None,
        }
    }

    /// No endpoint has more than `factor` times its share of the calls in flight; what is above goes to
    /// the next owner. From above 1 to 1000; 1.25 to 2 are usual. Default: no bound.
    ///
    /// The bound counts the calls of this balancer. Calls that are picked at the same moment on
    /// several threads may exceed it, by at most one for each other thread.
    ///
    /// Envoy's `hash_balance_factor`, HAProxy's `hash-balance-factor`, which are percentages.
    ///
    /// # Errors
    ///
    /// If `factor` is out of range.
    pub fn with_bound(mut self, factor: f64) -> Result<Self, InvalidPolicy> {
        let invalid = |_| InvalidPolicy::new("bound", factor, "more than 1 and at most 1000");
        self.bound = Some(LoadFactor::new(factor).map_err(invalid)?);
        Ok(self)
    }
}

impl<A> Policy<A> for ConsistentHash {
    fn table(
        &self,
        members: &[Member<A>],
        _draw: &mut Draw,
    ) -> Result<Box<dyn Table<A>>, InvalidTable> {
        let nodes: Vec<Node<'_>> = members.iter().map(node).collect();
        Ok(Box::new(Hashed {
            owners: Owners::new(&nodes, self.algorithm)?,
            bound: self.bound,
        }))
    }

    fn needs(&self) -> Needs {
        Needs::default().with_whole_level()
    }
}

/// A member as its table sees it.
fn node<A>(member: &Member<A>) -> Node<'_> {
    Node::new(member.id().as_str()).with_weight(member.weight())
}

/// Who owns what.
#[derive(Debug)]
enum Owners {
    Ring(Ring),
    Maglev(Maglev),
    Rendezvous(Rendezvous),
}

impl Owners {
    fn new(nodes: &[Node<'_>], algorithm: Algorithm) -> Result<Self, InvalidTable> {
        Ok(match algorithm {
            Algorithm::Ring => Self::Ring(Ring::new(nodes)?),
            Algorithm::Maglev { size } => Self::Maglev(Maglev::with_size(nodes, size)?),
            Algorithm::Rendezvous => Self::Rendezvous(Rendezvous::new(nodes)?),
        })
    }
}

/// The table of one level.
struct Hashed {
    owners: Owners,
    bound: Option<LoadFactor>,
}

impl Hashed {
    fn find<A>(
        &self,
        table: &impl stanchion_hashing::ConsistentHash,
        hash: u64,
        choice: &Choice<'_, A>,
    ) -> Option<usize> {
        let owner = table.owner(hash);
        let Some(factor) = self.bound else {
            if choice.allows(owner) {
                return Some(owner);
            }
            return table.owners(hash).find(|&owner| choice.allows(owner));
        };
        let calls = |index: usize| {
            let member = choice.members.get(index);
            member.map_or(u64::MAX, |member| u64::from(member.in_flight()))
        };
        // Everyone may have one call.
        if choice.allows(owner) && calls(owner) == 0 {
            return Some(owner);
        }
        let usable = choice.members.iter().filter(|member| member.usable);
        let (mut total, mut weights) = (0, 0);
        for member in usable {
            total += u64::from(member.in_flight());
            weights += u64::from(member.weight());
        }
        let bounded = Bounded::new(table, factor);
        let capacities = bounded.capacities_among(total, weights);
        let allowed = |index: usize| match choice.allows(index) {
            true => calls(index),
            false => u64::MAX,
        };
        let first = bounded.owners(hash, capacities, allowed).next();
        // All are full only if calls came while they were added up.
        first.or_else(|| table.owners(hash).find(|&owner| choice.allows(owner)))
    }
}

impl<A> Table<A> for Hashed {
    fn choose(&self, choice: &mut Choice<'_, A>) -> Option<usize> {
        let hash = choice.hash().unwrap_or_else(|| choice.draw.bits());
        match &self.owners {
            Owners::Ring(ring) => self.find(ring, hash, choice),
            Owners::Maglev(maglev) => self.find(maglev, hash, choice),
            Owners::Rendezvous(rendezvous) => self.find(rendezvous, hash, choice),
        }
    }
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashed")
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}
