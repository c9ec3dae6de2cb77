use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what became of the clients' requests.
#[derive(Default)]
pub(super) struct Tally {
    served: [AtomicU64; 3],
    admitted: [AtomicU64; 3],
    refused: [AtomicU64; 3],
    failed: AtomicU64,
}

/// The counts at one moment, or between two.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    /// By origin.
    pub(super) served: [u64; 3],
    /// By client.
    pub(super) admitted: [u64; 3],
    /// By client.
    pub(super) refused: [u64; 3],
    pub(super) failed: u64,
}

impl Tally {
    pub(super) fn served(&self, client: usize, origin: usize) {
        add(&self.served[origin % 3]);
        add(&self.admitted[client]);
    }

    pub(super) fn refused(&self, client: usize) {
        add(&self.refused[client]);
    }

    pub(super) fn failed(&self) {
        add(&self.failed);
    }

    /// All since the start.
    pub(super) fn total(&self) -> Counts {
        let read =
            |counters: &[AtomicU64; 3]| counters.each_ref().map(|c| c.load(Ordering::Relaxed));
        Counts {
            served: read(&self.served),
            admitted: read(&self.admitted),
            refused: read(&self.refused),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    pub(super) fn since(&self, before: &Self) -> Self {
        let less = |now: [u64; 3], then: [u64; 3]| std::array::from_fn(|i| now[i] - then[i]);
        Self {
            served: less(self.served, before.served),
            admitted: less(self.admitted, before.admitted),
            refused: less(self.refused, before.refused),
            failed: self.failed - before.failed,
        }
    }

    pub(super) fn served(&self) -> u64 {
        self.served.iter().sum()
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.iter().sum()
    }
}
