use std::time::Duration;

use crate::Cause;

/// The numbers of a cache at one moment; counters run since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Entries in the cache, those included that expired and were not yet reclaimed.
    pub entries: u64,
    /// What they weigh together: their number, if the cache has no weigher.
    pub weight: u64,
    /// What they may weigh.
    pub capacity: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not, or found it expired.
    pub misses: u64,
    /// The window of the adaptive policy, in per cent of the entries.
    pub window_percent: u8,
    /// Loads that brought a value; one of many keys counts once.
    pub loads: u64,
    /// Loads that did not: they failed, panicked or took too long. One that was given up counts
    /// nowhere.
    pub failed_loads: u64,
    /// Callers who waited for a load that another had started.
    pub joined_loads: u64,
    /// What the loads that brought a value took together.
    pub load_time: Duration,
    /// Loads that were begun in the background, of what was there or not.
    pub refreshes: u64,
    /// Such loads that were not begun, since as many as may be were under way.
    pub refused_refreshes: u64,
    /// Reads that got a value whose time was over.
    pub stale: u64,
    pub(crate) left: [u64; 5],
}

impl Snapshot {
    /// How many entries left for `cause`, or were [`Refused`](Cause::Refused).
    #[must_use]
    pub const fn removed(&self, cause: Cause) -> u64 {
        self.left[cause as usize]
    }

    /// The part of the reads that found their key; 0 before the first.
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        match self.hits + self.misses {
            0 => 0.0,
            reads => self.hits as f64 / reads as f64,
        }
    }
}
