//! A question, and who answers it.

use std::time::Duration;

use crate::effort::Effort;
use crate::measure::Measure;
use crate::target::Target;
use crate::unit::Unit;

/// One question put to several contestants: the same work for each, in one unit.
#[derive(Debug)]
#[must_use = "a case is asked once it is in a suite"]
pub struct Case {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) rounds: Option<usize>,
    pub(crate) burst: Option<Duration>,
    pub(crate) contestants: Vec<Contestant>,
}

impl Case {
    /// An empty case. `name` says what is asked, as a reader of the report will see it.
    pub const fn new(name: &'static str, unit: Unit) -> Self {
        Self {
            name,
            unit,
            rounds: None,
            burst: None,
            contestants: Vec::new(),
        }
    }

    /// Takes this many samples in each run, however long or short the comparison is. By default
    /// 15, or 5 when quick. For figures that do not vary, or take seconds.
    ///
    /// # Panics
    /// If `rounds` is 0.
    pub const fn rounds(mut self, rounds: usize) -> Self {
        assert!(rounds > 0, "a case of 0 rounds has no figures");
        self.rounds = Some(rounds);
        self
    }

    /// Makes each burst this long, however long or short the comparison is. By default 5 ms, or
    /// 2 ms when quick. For contestants whose memory takes longer to come back into the caches.
    pub const fn burst(mut self, burst: Duration) -> Self {
        self.burst = Some(burst);
        self
    }

    /// Adds a contestant.
    ///
    /// # Panics
    /// If the case has one of that name already.
    pub fn with(mut self, contestant: Contestant) -> Self {
        assert!(
            self.contestants
                .iter()
                .all(|other| other.name != contestant.name),
            "two contestants named {:?} in case {:?}",
            contestant.name,
            self.name
        );
        self.contestants.push(contestant);
        self
    }
}

impl Case {
    /// What this case takes of `effort`.
    pub(crate) fn effort(&self, effort: &Effort) -> Effort {
        let burst = self
            .burst
            .map(|burst| u64::try_from(burst.as_nanos()).unwrap_or(u64::MAX));
        Effort {
            rounds: self.rounds.unwrap_or(effort.rounds),
            burst_ns: burst.unwrap_or(effort.burst_ns),
            ..*effort
        }
    }
}

/// Someone who answers a [`Case`].
#[derive(Debug)]
#[must_use = "a contestant takes part once it is in a case"]
pub struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) measure: Measure,
    pub(crate) ours: bool,
    pub(crate) targets: Vec<Target>,
}

impl Contestant {
    /// A contestant of this project: its row tells how it compares with each other one.
    ///
    /// The first one of a case is the one by which the median run is chosen.
    pub const fn ours(name: &'static str, measure: Measure) -> Self {
        Self {
            name,
            measure,
            ours: true,
            targets: Vec::new(),
        }
    }

    /// A contestant to compare with.
    pub const fn peer(name: &'static str, measure: Measure) -> Self {
        Self {
            name,
            measure,
            ours: false,
            targets: Vec::new(),
        }
    }

    /// Adds a target. All targets together decide whether the row is met.
    pub fn must(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::figure;

    #[test]
    #[should_panic(expected = "two contestants named \"a\" in case \"question\"")]
    fn names_in_a_case_differ() {
        let twin = || Contestant::peer("a", figure(|| 1.0));
        let _ = Case::new("question", Unit::NS).with(twin()).with(twin());
    }
}
