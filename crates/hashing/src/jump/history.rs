use crate::equals::equals;
use crate::id::Id;
use crate::{InvalidTable, Node};

/// The nodes of a [`Jump`](crate::Jump) table, by the numbers of their buckets: what the next table has
/// to go on from.
///
/// With feature `serde` it is written and read; what is read is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(try_from = "crate::file::JumpFile", into = "crate::file::JumpFile")
)]
pub struct JumpHistory {
    ids: Box<[Id]>,
}

impl JumpHistory {
    pub(super) fn new(nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        equals(nodes)?;
        Ok(Self {
            ids: nodes.iter().map(|node| Id::from(node.id())).collect(),
        })
    }

    /// Of ids that have been checked.
    #[cfg(feature = "serde")]
    pub(crate) const fn from_ids(ids: Box<[Id]>) -> Self {
        Self { ids }
    }

    #[cfg(feature = "serde")]
    pub(crate) fn into_ids(self) -> Box<[Id]> {
        self.ids
    }

    pub(super) fn followed_by(&self, nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        for (at, (old, new)) in self.ids.iter().zip(nodes).enumerate() {
            if old.bytes() != new.id() {
                return Err(InvalidTable::NotAtTheEnd {
                    at,
                    was: old.bytes().into(),
                    is: new.id().into(),
                });
            }
        }
        Self::new(nodes)
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    /// The ids of the nodes, by the numbers of their buckets.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.ids.iter().map(Id::bytes)
    }
}
