mod histories;
mod owners;

use std::fmt;

use stanchion_hashing::{Anchor, AnchorHistory, Bounded, JumpHistory, LoadFactor, Maglev, Node};

use crate::Draw;
pub use histories::Histories;
use owners::Owners;

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
/// | [`anchor`](Self::anchor) | none | some steps | 24 bytes an endpoint of the capacity |
/// | [`jump`](Self::jump) | none; only the last endpoint may go | O(ln n) | the ids |
/// | `libketama`, `nginx` (feature `ketama`) | none, or few | as a ring | 160 points an endpoint |
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

#[derive(Clone, Debug)]
enum Algorithm {
    Ring,
    Maglev {
        size: u32,
    },
    Rendezvous,
    Anchor {
        capacity: u32,
        histories: Histories<AnchorHistory>,
    },
    Jump(Histories<JumpHistory>),
    #[cfg(feature = "ketama")]
    Libketama,
    #[cfg(feature = "ketama")]
    Nginx,
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

    /// By anchor hashing, for up to `capacity` endpoints of a level: twice as many as there are is
    /// a good choice.
    ///
    /// Which keys an endpoint owns depends on the order in which endpoints came and went, which is what
    /// `histories` are: keep their [`levels`](Histories::levels) after each update, and begin with
    /// them in the next process and in all that are to agree. Endpoints must be of one weight; one of
    /// weight 0 keeps its place and is passed over.
    ///
    /// # Errors
    ///
    /// If `capacity` is 0, or more than [`ENDPOINTS_MAX`](crate::ENDPOINTS_MAX).
    pub fn anchor(
        capacity: u32,
        histories: Histories<AnchorHistory>,
    ) -> Result<Self, InvalidPolicy> {
        match Anchor::new(&[Node::from("any")], capacity) {
            Ok(_) if capacity as usize <= crate::ENDPOINTS_MAX => Ok(Self::by(Algorithm::Anchor {
                capacity,
                histories,
            })),
            _ => Err(InvalidPolicy::new("capacity", capacity, "from 1 to 65536")),
        }
    }

    /// By jump hashing, for shards that are never lost: endpoints may be added, and only the last one
    /// that was added may go, or the update is refused.
    ///
    /// Endpoints are numbered as they are added, those of one update by their ids; `histories` hold
    /// the numbers, and have to be kept as with [`anchor`](Self::anchor). Endpoints must be of one weight;
    /// one of weight 0 keeps its number and is passed over.
    #[must_use]
    pub const fn jump(histories: Histories<JumpHistory>) -> Self {
        Self::by(Algorithm::Jump(histories))
    }

    /// By the ring of libketama, as memcached's clients have it. Ids are what those clients name servers
    /// by, such as `10.0.1.1:11211`, and hashes are those of
    /// [`libketama_hash`](stanchion_hashing::engine::libketama_hash). An endpoint of next to no
    /// weight owns nothing.
    #[cfg(feature = "ketama")]
    #[must_use]
    pub const fn libketama() -> Self {
        Self::by(Algorithm::Libketama)
    }

    /// By the ring of nginx's `hash … consistent`. Ids are as in its `server`, and hashes are those of
    /// [`nginx_hash`](stanchion_hashing::engine::nginx_hash).
    #[cfg(feature = "ketama")]
    #[must_use]
    pub const fn nginx() -> Self {
        Self::by(Algorithm::Nginx)
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
    /// The bound counts the calls of this balancer. A place below it is taken by compare and swap, so
    /// calls that are picked at the same moment do not exceed it together either; only where 16
    /// attempts in a row come too late is a call sent on regardless.
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
        Ok(Box::new(Hashed {
            owners: Owners::new(members, &self.algorithm)?,
            bound: self.bound,
        }))
    }

    fn needs(&self) -> Needs {
        Needs::default().with_whole_level()
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
        choice: &mut Choice<'_, A>,
    ) -> Option<usize> {
        let owner = table.owner(hash);
        let Some(factor) = self.bound else {
            if choice.allows(owner) {
                return Some(owner);
            }
            return table.owners(hash).find(|&owner| choice.allows(owner));
        };
        let members = choice.members;
        let calls = |index: usize| {
            let member = members.get(index);
            member.map_or(u64::MAX, |member| u64::from(member.in_flight()))
        };
        // Everyone may have one call.
        if choice.allows(owner) && calls(owner) == 0 {
            choice.bound(1);
            return Some(owner);
        }
        let (mut total, mut weights) = (0, 0);
        for (index, member) in members.iter().enumerate() {
            if member.usable {
                total += u64::from(member.in_flight());
                weights += u64::from(table.weight(index));
            }
        }
        let bounded = Bounded::new(table, factor);
        let capacities = bounded.capacities_among(total, weights);
        let allowed = |index: usize| match choice.allows(index) {
            true => calls(index),
            false => u64::MAX,
        };
        let first = bounded.owners(hash, capacities, allowed).next();
        if let Some(owner) = first {
            let capacity = capacities.of(table.weight(owner));
            choice.bound(u32::try_from(capacity).unwrap_or(u32::MAX));
        }
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
            Owners::Anchor(anchor, _) => self.find(anchor, hash, choice),
            Owners::Jump(jump, _) => self.find(jump, hash, choice),
        }
    }

    fn adopted(&self) {
        self.owners.adopted();
    }
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashed")
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}
