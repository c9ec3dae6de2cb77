use std::collections::BTreeMap;

use super::buckets::Buckets;
use crate::equals::equals;
use crate::id::Id;
use crate::{Anchor, InvalidTable, Node};

/// Which node of an [`Anchor`] table has which bucket, and in which order the other buckets were
/// emptied: what the next table has to go on from.
///
/// With feature `serde` it is written and read; what is read is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(try_from = "crate::file::AnchorFile", into = "crate::file::AnchorFile")
)]
pub struct AnchorHistory {
    buckets: Buckets,
    /// Of each bucket; none exactly where it does not work.
    ids: Box<[Option<Id>]>,
}

impl AnchorHistory {
    pub(super) fn new(nodes: &[Node<'_>], capacity: u32) -> Result<Self, InvalidTable> {
        let roster = equals(nodes)?;
        if !(1..=Anchor::CAPACITY_MAX).contains(&capacity) {
            return Err(InvalidTable::Capacity {
                capacity,
                max: Anchor::CAPACITY_MAX,
            });
        }
        fits(nodes, capacity)?;
        let mut ids = vec![None; capacity as usize];
        for (id, (_, node)) in ids.iter_mut().zip(roster.by_id()) {
            *id = Some(Id::from(node.id()));
        }
        let mut buckets = Buckets::new(capacity);
        for bucket in (0..capacity).rev() {
            if ids[bucket as usize].is_none() {
                buckets.stop(bucket);
            }
        }
        Ok(Self {
            buckets,
            ids: ids.into(),
        })
    }

    /// Of ids that have been checked, and the buckets without one, the last that was emptied at the
    /// end.
    #[cfg(feature = "serde")]
    pub(crate) fn from_parts(ids: Box<[Option<Id>]>, emptied: &[u32]) -> Self {
        let capacity = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let mut buckets = Buckets::new(capacity);
        for &bucket in emptied {
            buckets.stop(bucket);
        }
        Self { buckets, ids }
    }

    #[cfg(feature = "serde")]
    pub(crate) fn into_ids(self) -> Box<[Option<Id>]> {
        self.ids
    }

    /// The buckets without a node, the last that was emptied at the end.
    #[cfg(feature = "serde")]
    pub(crate) fn emptied(&self) -> &[u32] {
        self.buckets.stopped()
    }

    pub(super) fn followed_by(&self, nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        let roster = equals(nodes)?;
        fits(nodes, self.capacity())?;
        let mut next = self.clone();
        let mut leaving = self.by_id();
        let joining = roster.by_id().map(|(_, node)| node.id());
        let joining: Vec<&[u8]> = joining.filter(|id| leaving.remove(id).is_none()).collect();
        let mut joining = joining.into_iter();
        // Nodes are left, so there are buckets beside those that stop here.
        for bucket in leaving.into_values() {
            let heir = joining.next().map(Id::from);
            if heir.is_none() {
                next.buckets.stop(bucket);
            }
            next.ids[bucket as usize] = heir;
        }
        for id in joining {
            if let Some(bucket) = next.buckets.restart() {
                next.ids[bucket as usize] = Some(Id::from(id));
            }
        }
        Ok(next)
    }

    fn by_id(&self) -> BTreeMap<&[u8], u32> {
        let buckets = (0..).zip(&self.ids);
        buckets
            .filter_map(|(bucket, id)| Some((id.as_ref()?.bytes(), bucket)))
            .collect()
    }

    /// Of each bucket, where its node is in `nodes`, which are those of this history.
    pub(super) fn places_in(&self, nodes: &[Node<'_>]) -> Box<[u32]> {
        let buckets = self.by_id();
        let mut places = vec![0; self.ids.len()];
        for (place, node) in (0..).zip(nodes) {
            if let Some(&bucket) = buckets.get(node.id()) {
                places[bucket as usize] = place;
            }
        }
        places.into()
    }

    pub(super) const fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// For how many nodes there is room.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.buckets.capacity()
    }

    /// The ids of the nodes, by the numbers of their buckets.
    pub fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.ids.iter().flatten().map(Id::bytes)
    }
}

fn fits(nodes: &[Node<'_>], capacity: u32) -> Result<(), InvalidTable> {
    if nodes.len() <= capacity as usize {
        return Ok(());
    }
    Err(InvalidTable::BeyondCapacity {
        nodes: nodes.len(),
        capacity,
    })
}
