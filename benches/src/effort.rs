//! How much time a comparison may take.

/// How often and how long each contestant is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// How often the whole set is run.
    pub(crate) runs: usize,
    /// How many bursts of each contestant make one figure.
    pub(crate) rounds: usize,
    /// How long a burst lasts.
    pub(crate) burst_ns: u64,
    /// How long a contestant works before anything counts.
    pub(crate) warm_up_ns: u64,
}

impl Effort {
    /// What a result that is written down rests on.
    pub(crate) const FULL: Self = Self {
        runs: 3,
        rounds: 15,
        burst_ns: 5_000_000,
        warm_up_ns: 50_000_000,
    };
    /// A look, while working on the code.
    pub(crate) const QUICK: Self = Self {
        runs: 1,
        rounds: 5,
        burst_ns: 2_000_000,
        warm_up_ns: 5_000_000,
    };
}
