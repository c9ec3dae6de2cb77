//! What came of a run.

use super::{MILLISECOND, Nanos, SECOND};

/// How calls fared, without those of the first fifth.
#[derive(Debug, Default)]
pub struct Tally {
    /// From going out to the answer, of calls that were answered, sorted.
    latencies: Vec<Nanos>,
    /// Calls that were counted.
    pub calls: usize,
    /// Calls that failed, were given up, or went nowhere.
    pub failures: usize,
    /// Calls that each server was sent, also before counting began.
    pub picks: Vec<u64>,
    /// The most calls that each server had at once.
    pub most_present: Vec<u32>,
    /// What share of its cores' time each server worked.
    pub busy: Vec<f64>,
    /// Calls that each server was sent within each second.
    pub picks_by_second: Vec<Vec<u32>>,
}

impl Tally {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            picks: vec![0; servers],
            most_present: vec![0; servers],
            ..Self::default()
        }
    }

    pub(super) fn sent(&mut self, server: usize, at: Nanos) {
        self.picks[server] += 1;
        let second = usize::try_from(at / SECOND).unwrap_or(usize::MAX);
        let servers = self.picks.len();
        while self.picks_by_second.len() <= second {
            self.picks_by_second.push(vec![0; servers]);
        }
        self.picks_by_second[second][server] += 1;
    }

    pub(super) fn present(&mut self, server: usize, count: u32) {
        let most = &mut self.most_present[server];
        *most = count.max(*most);
    }

    pub(super) fn ended(&mut self, latency: Option<Nanos>) {
        self.calls += 1;
        match latency {
            Some(latency) => self.latencies.push(latency),
            None => self.failures += 1,
        }
    }

    pub(super) fn finish(mut self, busy: Vec<f64>) -> Self {
        self.latencies.sort_unstable();
        self.busy = busy;
        self
    }

    /// The latency in milliseconds that this share of the answered calls stayed below.
    ///
    /// # Panics
    ///
    /// If nothing was answered.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length"
    )]
    pub fn quantile(&self, share: f64) -> f64 {
        assert!(!self.latencies.is_empty(), "nothing was answered");
        let place = (self.latencies.len() as f64 * share) as usize;
        let place = place.min(self.latencies.len() - 1);
        self.latencies[place] as f64 / MILLISECOND as f64
    }

    /// The share of calls that failed.
    #[must_use]
    pub fn failed(&self) -> f64 {
        self.failures as f64 / self.calls.max(1) as f64
    }
}
