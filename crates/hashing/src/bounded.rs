//! Consistent hashing with bounded loads.

use crate::{ConsistentHash, InvalidLoadFactor};

/// Consistent hashing in which no node gets much more than its share: a key whose owner is full goes to
/// the next one that is not.
///
/// A node may have up to a factor more than its share of all loads (requests in flight, say), so a key
/// that everybody wants does not bring down its owner, and few keys move while loads are even. The table
/// decides from the loads that it is given, and keeps none.
///
/// # Complexity
///
/// As the successive owners of the table. With a factor of 1.25 and even loads, less than one key in a
/// hundred goes on to another node; where a few keys are most of the load, it is one of four, and 1.7
/// nodes are asked on average.
///
/// # Source
///
/// Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads (2018). The capacity counts
/// the key that is coming, and follows the weights.
///
/// # Examples
///
/// ```
/// use stanchion_hashing::{Bounded, ConsistentHash, LoadFactor, Node, Ring, key_hash};
///
/// let ring = Ring::new(&["a", "b", "c", "d"].map(Node::from))?;
/// let bounded = Bounded::new(ring, LoadFactor::new(1.25)?);
/// let hash = key_hash(b"user:1000");
/// let owner = bounded.table().owner(hash);
///
/// // 20 requests are in flight; of 21, a quarter and a quarter more is 6.6, so 7 may be at one node.
/// let mut loads = [5; 4];
/// assert_eq!(bounded.owner(hash, 20, |node| loads[node]), Some(owner));
/// loads = [4; 4];
/// loads[owner] = 8;
/// assert_eq!(bounded.owner(hash, 20, |node| loads[node]), bounded.table().owners(hash).nth(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bounded<H> {
    table: H,
    factor: LoadFactor,
}

/// How many times its share a node may have: more than 1, at most 1000. Default: 1.25.
///
/// Kept in steps of 2⁻²⁰, so that everybody computes the same capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoadFactor(u32);

const FACTOR_MAX: f64 = 1000.0;
const ONE: u32 = 1 << 20;

impl LoadFactor {
    /// So many times the share: 1.1 to 2 are usual.
    ///
    /// # Errors
    ///
    /// `factor` must be more than 1 and at most 1000.
    pub fn new(factor: f64) -> Result<Self, InvalidLoadFactor> {
        // What is not a number is not more than 1.
        if !(factor > 1.0 && factor <= FACTOR_MAX) {
            return Err(InvalidLoadFactor(factor));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "1000 times 2^20 has 30 bits"
        )]
        let steps = (factor * f64::from(ONE)).round() as u32;
        Ok(Self(steps.max(ONE + 1)))
    }

    /// The factor as a number.
    #[must_use]
    pub fn get(self) -> f64 {
        f64::from(self.0) / f64::from(ONE)
    }
}

impl Default for LoadFactor {
    fn default() -> Self {
        Self(ONE + ONE / 4)
    }
}

/// What nodes may have at one moment, by their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    factor: LoadFactor,
    coming: u128,
    weight_sum: u64,
}

impl Capacities {
    /// How much a node of `weight` may have, with what is coming: a factor more than its share,
    /// rounded up.
    #[must_use]
    pub fn of(&self, weight: u32) -> u64 {
        let share = u128::from(self.factor.0) * self.coming;
        // Both factors are below 2^32 and 2^96, so their product is too large in no case that counts.
        let capacity = share
            .saturating_mul(weight.into())
            .div_ceil(u128::from(self.weight_sum.max(1)) * u128::from(ONE));
        u64::try_from(capacity).unwrap_or(u64::MAX)
    }
}

impl<H: ConsistentHash> Bounded<H> {
    /// Bounds what the nodes of `table` may have.
    pub const fn new(table: H, factor: LoadFactor) -> Self {
        Self { table, factor }
    }

    /// The table.
    pub const fn table(&self) -> &H {
        &self.table
    }

    /// How many times its share a node may have.
    #[must_use]
    pub const fn factor(&self) -> LoadFactor {
        self.factor
    }

    /// What nodes may have while all of them together have `total`.
    #[must_use]
    pub fn capacities(&self, total: u64) -> Capacities {
        self.capacities_among(total, self.table.weight_sum())
    }

    /// What nodes may have while all of them together have `total`, and only some can be used, whose
    /// weights sum up to `weight_sum`.
    #[must_use]
    pub const fn capacities_among(&self, total: u64, weight_sum: u64) -> Capacities {
        Capacities {
            factor: self.factor,
            coming: total as u128 + 1,
            weight_sum,
        }
    }

    /// The first owner of `hash` that can take one more, given that all nodes together have `total`, and
    /// each the `load` that is told.
    ///
    /// `None` only if the loads sum up to more than `total`, as they may while they change. Whoever
    /// counts with atomics takes the next of [`owners`](Self::owners) when another thread was faster.
    pub fn owner(&self, hash: u64, total: u64, load: impl FnMut(usize) -> u64) -> Option<usize> {
        self.owners(hash, self.capacities(total), load).next()
    }

    /// The owners of `hash` that can take one more, in their order.
    ///
    /// A node that must not be used has the load [`u64::MAX`].
    pub fn owners(
        &self,
        hash: u64,
        capacities: Capacities,
        mut load: impl FnMut(usize) -> u64,
    ) -> impl Iterator<Item = usize> {
        let has_room = move |&node: &usize| load(node) < capacities.of(self.table.weight(node));
        self.table.owners(hash).filter(has_room)
    }
}
