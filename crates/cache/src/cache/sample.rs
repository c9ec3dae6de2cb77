//! What the adaptive policy's tuner is told, and what it decides.

use std::sync::atomic::Ordering;

use super::Inner;
use crate::hash::{is_sampled, short};
use crate::policy::Tuner;

/// How many entries a weight is, before any is known.
const ENTRIES_AT_START: usize = 1024;

pub(super) fn tuner(entries: usize, weighed: bool) -> Tuner {
    Tuner::new(if weighed { ENTRIES_AT_START } else { entries })
}

impl<K, V, S> Inner<K, V, S> {
    #[inline]
    pub(super) fn is_sampled(&self, hash: u64) -> bool {
        is_sampled(hash, self.sample_mask.load(Ordering::Relaxed))
    }

    #[cold]
    pub(super) fn sample_read(&self, hash: u64, missed: bool) {
        self.sample(|tuner| tuner.read(short(hash), missed));
    }

    #[cold]
    pub(super) fn sample_insertion(&self, hash: u64) {
        self.sample(|tuner| tuner.inserted(short(hash)));
    }

    /// Tells the tuner, unless somebody does already: a sample may have gaps, a read may not wait.
    fn sample(&self, tell: impl FnOnce(&mut Tuner) -> Option<u8>) {
        let Some(mut tuner) = self.tuner.as_ref().and_then(|tuner| tuner.try_lock()) else {
            return;
        };
        if let Some(window) = tell(&mut tuner) {
            self.window_percent.store(window, Ordering::Relaxed);
        }
        if self.weigher.is_some() && tuner.is_at_start_of_period() {
            let entries = usize::try_from(self.entries()).unwrap_or(usize::MAX);
            self.refit(&mut tuner, entries);
        }
    }

    /// Fits the tuner to another capacity.
    pub(super) fn retune(&self, capacity: u64) {
        if let (Some(tuner), None) = (&self.tuner, &self.weigher) {
            let entries = usize::try_from(capacity).unwrap_or(usize::MAX);
            self.refit(&mut tuner.lock(), entries);
        }
    }

    fn refit(&self, tuner: &mut Tuner, entries: usize) {
        if tuner.refit(entries) {
            self.sample_mask.store(tuner.mask(), Ordering::Relaxed);
        }
    }
}
