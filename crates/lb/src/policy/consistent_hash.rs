use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use stanchion_hashing::{Bounded, InvalidTable, LoadFactor, Maglev, Node, Rendezvous, Ring};

use crate::{Draw, EndpointId};

use super::{Choice, InvalidPolicy, Member, Needs, Policy, Table};

/// The endpoint that owns the call's hash, so that calls of one key meet at one endpoint, whichever
/// process sends them.
///
/// Endpoints own keys by their ids and weights, whatever their health, so the keys of one that fails
/// go to the next owner of each, and come back when it does; no other key moves. One that is drained,
/// disabled or gone is taken out, and how few other keys move then is the algorithm's.
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
/// Where a table cannot be built (more endpoints than places, or more points than a ring may have)
/// endpoints are ranked by rendezvous instead, which always can.
///
/// **Complexity**: as the table says; O(n) more with a bound, where the owner is not idle. A table is
/// built when the endpoints of a level change, not when their health does.
///
/// **Source**: as [`stanchion_hashing`] has it.
pub struct ConsistentHash {
    algorithm: Algorithm,
    bound: Option<LoadFactor>,
    /// The tables of the levels, so that health changes build none; at most [`RECENT_MAX`].
    recent: Mutex<Vec<Arc<Owners>>>,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Ring,
    Maglev { size: u32 },
    Rendezvous,
}

/// More levels than anyone has.
const RECENT_MAX: usize = 16;

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
            recent: Mutex::new(Vec::new()),
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

    /// The table for these members: one of those built before, or a new one.
    fn owners<A>(&self, members: &[Member<A>]) -> Arc<Owners> {
        let mut recent = self.recent.lock();
        if let Some(known) = recent.iter().find(|owners| owners.are_of(members)) {
            return known.clone();
        }
        let owners = Arc::new(Owners::new(members, self.algorithm));
        if recent.len() == RECENT_MAX {
            recent.remove(0);
        }
        recent.push(owners.clone());
        owners
    }
}

impl<A> Policy<A> for ConsistentHash {
    fn table(&self, members: &[Member<A>], _draw: &mut Draw) -> Box<dyn Table<A>> {
        let weights = members.iter().filter(|member| member.usable);
        Box::new(Hashed {
            owners: self.owners(members),
            bound: self.bound,
            usable_weight: weights.map(|member| u64::from(member.weight)).sum(),
        })
    }

    fn needs(&self) -> Needs {
        Needs::default().with_whole_level()
    }
}

impl fmt::Debug for ConsistentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsistentHash")
            .field("algorithm", &self.algorithm)
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}

/// Who owns what among endpoints of these ids and weights.
struct Owners {
    of: Box<[(EndpointId, u32)]>,
    table: Placed,
}

enum Placed {
    Ring(Ring),
    Maglev(Maglev),
    Rendezvous(Rendezvous),
    /// No algorithm can place them, which they give no reason for.
    Nowhere,
}

impl Owners {
    fn new<A>(members: &[Member<A>], algorithm: Algorithm) -> Self {
        let of = members
            .iter()
            .map(|member| (member.id().clone(), member.weight));
        let of: Box<[(EndpointId, u32)]> = of.collect();
        let nodes = of
            .iter()
            .map(|(id, weight)| Node::new(id.as_str()).with_weight(*weight));
        let nodes: Vec<Node<'_>> = nodes.collect();
        let placed = Placed::new(&nodes, algorithm);
        let placed = placed.or_else(|_| Placed::new(&nodes, Algorithm::Rendezvous));
        let table = placed.unwrap_or(Placed::Nowhere);
        Self { of, table }
    }

    fn are_of<A>(&self, members: &[Member<A>]) -> bool {
        let same = |((id, weight), member): (&(EndpointId, u32), &Member<A>)| {
            id == member.id() && *weight == member.weight
        };
        self.of.len() == members.len() && self.of.iter().zip(members).all(same)
    }
}

impl Placed {
    fn new(nodes: &[Node<'_>], algorithm: Algorithm) -> Result<Self, InvalidTable> {
        match algorithm {
            Algorithm::Ring => Ring::new(nodes).map(Self::Ring),
            Algorithm::Maglev { size } => Maglev::with_size(nodes, size).map(Self::Maglev),
            Algorithm::Rendezvous => Rendezvous::new(nodes).map(Self::Rendezvous),
        }
    }
}

/// The table of one group.
struct Hashed {
    owners: Arc<Owners>,
    bound: Option<LoadFactor>,
    /// The sum of the weights that may be used.
    usable_weight: u64,
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
        let total = usable.map(|member| u64::from(member.in_flight())).sum();
        let bounded = Bounded::new(table, factor);
        let capacities = bounded.capacities_among(total, self.usable_weight);
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
        match &self.owners.table {
            Placed::Ring(ring) => self.find(ring, hash, choice),
            Placed::Maglev(maglev) => self.find(maglev, hash, choice),
            Placed::Rendezvous(rendezvous) => self.find(rendezvous, hash, choice),
            Placed::Nowhere => None,
        }
    }
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashed")
            .field("endpoints", &self.owners.of.len())
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}
