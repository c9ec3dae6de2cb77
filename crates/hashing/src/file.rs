//! Histories as they are written and read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::{AnchorHistory, HASH_VERSION, JumpHistory, NODES_MAX};

/// A [`JumpHistory`].
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JumpFile {
    hash_version: u32,
    /// By the numbers of the buckets.
    ids: Vec<Id>,
}

/// An [`AnchorHistory`].
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnchorFile {
    hash_version: u32,
    /// By the numbers of the buckets; none where one is empty.
    ids: Vec<Option<Id>>,
    /// The empty buckets, the last one that was emptied at the end.
    emptied: Vec<u32>,
}

impl From<JumpHistory> for JumpFile {
    fn from(history: JumpHistory) -> Self {
        Self {
            hash_version: HASH_VERSION,
            ids: history.into_ids().into(),
        }
    }
}

impl TryFrom<JumpFile> for JumpHistory {
    type Error = String;

    fn try_from(file: JumpFile) -> Result<Self, String> {
        check(file.hash_version, file.ids.len(), file.ids.iter())?;
        Ok(Self::from_ids(file.ids.into()))
    }
}

impl From<AnchorHistory> for AnchorFile {
    fn from(history: AnchorHistory) -> Self {
        Self {
            hash_version: HASH_VERSION,
            emptied: history.emptied().to_vec(),
            ids: history.into_ids().into(),
        }
    }
}

impl TryFrom<AnchorFile> for AnchorHistory {
    type Error = String;

    fn try_from(file: AnchorFile) -> Result<Self, String> {
        let AnchorFile {
            hash_version,
            ids,
            emptied,
        } = file;
        check(hash_version, ids.len(), ids.iter().flatten())?;
        if ids.iter().flatten().next().is_none() {
            return Err("ids has no node, must have at least 1".into());
        }
        let empty = ids.iter().filter(|id| id.is_none()).count();
        let mut seen = vec![false; ids.len()];
        for &bucket in &emptied {
            let expected = ids.get(bucket as usize).is_some_and(Option::is_none);
            if !expected || std::mem::replace(&mut seen[bucket as usize], true) {
                return Err(format!(
                    "emptied has {bucket}, must have each bucket once that has no id"
                ));
            }
        }
        if emptied.len() != empty {
            return Err(format!(
                "emptied has {} buckets, must have the {empty} that have no id",
                emptied.len()
            ));
        }
        Ok(Self::from_parts(ids.into(), &emptied))
    }
}

/// What both have in common: the version, how many there are, and no two with one id.
fn check<'a>(version: u32, length: usize, ids: impl Iterator<Item = &'a Id>) -> Result<(), String> {
    if version != HASH_VERSION {
        return Err(format!("hash_version is {version}, must be {HASH_VERSION}"));
    }
    if !(1..=NODES_MAX).contains(&length) {
        return Err(format!(
            "ids has {length} entries, must have 1 to {NODES_MAX}"
        ));
    }
    let mut seen = BTreeMap::new();
    for (place, id) in ids.enumerate() {
        if let Some(other) = seen.insert(id, place) {
            return Err(format!(
                "ids has {id:?} as node {other} and as node {place}, must have each once"
            ));
        }
    }
    Ok(())
}
