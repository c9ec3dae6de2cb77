//! What one contestant did in one run of a case, and how it compares with another.

use crate::measure::Sample;
use crate::stats::Summary;
use crate::unit::Unit;

/// One contestant's samples, one for each round.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    samples: Vec<Sample>,
}

impl Played {
    pub(crate) const fn new(samples: Vec<Sample>) -> Self {
        Self { samples }
    }

    /// The figure, over the rounds that were not noisy.
    pub(crate) fn summary(&self) -> Summary {
        let rounds = self
            .samples
            .iter()
            .map(|sample| (sample.value, sample.noisy));
        Summary::of(&undisturbed(rounds))
    }

    /// How many times better than `other`, round against round.
    ///
    /// The machine may work differently from one second to the next (two virtual processors share
    /// a core, and then do not); both contestants of a round have met the same one.
    pub(crate) fn times_better(&self, unit: Unit, other: &Self) -> Summary {
        self.against(other, |ours, theirs| unit.times_better(ours, theirs))
    }

    /// How much more than `other`, round against round.
    pub(crate) fn more_than(&self, other: &Self) -> Summary {
        self.against(other, |ours, theirs| ours - theirs)
    }

    fn against(&self, other: &Self, compare: impl Fn(f64, f64) -> f64) -> Summary {
        let rounds = self.samples.iter().zip(&other.samples);
        let compared = rounds.map(|(ours, theirs)| {
            (
                compare(ours.value, theirs.value),
                ours.noisy || theirs.noisy,
            )
        });
        Summary::of(&undisturbed(compared))
    }

    pub(crate) fn rounds(&self) -> usize {
        self.samples.len()
    }

    /// Bursts thrown away for want of processor time.
    pub(crate) fn repeated(&self) -> u32 {
        self.samples.iter().map(|sample| sample.repeated).sum()
    }

    /// Rounds whose best burst still had too little of it.
    pub(crate) fn noisy(&self) -> usize {
        self.samples.iter().filter(|sample| sample.noisy).count()
    }

    /// Whether the figures include noisy rounds, because there are not enough others.
    pub(crate) fn is_noisy(&self) -> bool {
        self.noisy() * 2 > self.rounds()
    }
}

/// The values of the rounds that were not noisy; of all rounds, if those are fewer than half.
fn undisturbed(rounds: impl Iterator<Item = (f64, bool)>) -> Vec<f64> {
    let rounds: Vec<(f64, bool)> = rounds.collect();
    let noisy = rounds.iter().filter(|(_, noisy)| *noisy).count();
    let keep_all = noisy * 2 > rounds.len();
    let kept = rounds.into_iter().filter(|(_, noisy)| keep_all || !noisy);
    kept.map(|(value, _)| value).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Undisturbed samples.
    pub(crate) fn played(values: &[f64]) -> Played {
        Played::new(values.iter().map(|value| sample(*value, false)).collect())
    }

    fn sample(value: f64, noisy: bool) -> Sample {
        Sample {
            value,
            repeated: 2,
            noisy,
        }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn contestants_are_compared_round_by_round() {
        // The machine grew three times slower for both after the second round.
        let ours = played(&[10.0, 10.0, 30.0, 30.0, 30.0]);
        let theirs = played(&[20.0, 20.0, 60.0, 60.0, 60.0]);
        let ratio = ours.times_better(Unit::NS, &theirs);
        assert!(close(ratio.low, 2.0) && close(ratio.median, 2.0) && close(ratio.high, 2.0));
        assert!(close(theirs.more_than(&ours).median, 30.0));
    }

    #[test]
    fn noisy_rounds_are_left_out_while_enough_others_remain() {
        let mostly_calm = Played::new(vec![
            sample(10.0, false),
            sample(90.0, true),
            sample(12.0, false),
            sample(11.0, false),
        ]);
        assert!(close(mostly_calm.summary().median, 11.0));
        assert!(!mostly_calm.is_noisy() && mostly_calm.noisy() == 1);

        let noisy = Played::new(vec![
            sample(10.0, false),
            sample(30.0, true),
            sample(20.0, true),
        ]);
        assert!(close(noisy.summary().median, 20.0) && noisy.is_noisy());
        assert_eq!((noisy.repeated(), noisy.rounds()), (6, 3));
    }

    #[test]
    fn a_round_that_was_noisy_for_either_is_not_compared() {
        let ours = Played::new(vec![
            sample(10.0, false),
            sample(10.0, true),
            sample(10.0, false),
        ]);
        let theirs = played(&[20.0, 90.0, 20.0]);
        assert!(close(ours.times_better(Unit::NS, &theirs).high, 2.0));
    }
}
