//! Plays a case once: the contestants take turns, in a new random order each round.

use crate::case::Case;
use crate::effort::Effort;
use crate::shuffle::Random;
use crate::stats::Summary;

/// What one contestant did in one run of a case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Played {
    pub(crate) summary: Summary,
    /// Bursts thrown away for want of processor time.
    pub(crate) repeated: u32,
    /// Rounds whose best burst still had too little of it.
    pub(crate) noisy: u32,
    pub(crate) rounds: usize,
}

/// Plays `case` once and gives what each contestant did, in the case's order.
///
/// What disturbs the machine for a while then falls on all alike, and nobody always follows the
/// same neighbour.
pub(crate) fn play(case: &Case, effort: &Effort, random: &mut Random) -> Vec<Played> {
    let rounds = case.rounds.unwrap_or(effort.rounds);
    let mut samplers: Vec<_> = case
        .contestants
        .iter()
        .map(|contestant| contestant.measure.prepare(effort))
        .collect();
    let mut samples = vec![Vec::with_capacity(rounds); samplers.len()];
    let mut order: Vec<usize> = (0..samplers.len()).collect();
    for _ in 0..rounds {
        random.shuffle(&mut order);
        for &turn in &order {
            samples[turn].push(samplers[turn].sample());
        }
    }
    samples
        .iter()
        .map(|samples| {
            let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
            Played {
                summary: Summary::of(&values),
                repeated: samples.iter().map(|sample| sample.repeated).sum(),
                noisy: samples.iter().map(|sample| u32::from(sample.noisy)).sum(),
                rounds,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::case::Contestant;
    use crate::measure::figure;
    use crate::unit::Unit;

    #[test]
    fn each_contestant_plays_once_a_round_in_changing_order() {
        let turns = Rc::new(RefCell::new(Vec::new()));
        let player = |name: &'static str| {
            let turns = Rc::clone(&turns);
            let measure = figure(move || {
                turns.borrow_mut().push(name);
                1.0
            });
            Contestant::peer(name, measure)
        };
        let case = Case::new("turns", Unit::NS)
            .rounds(20)
            .with(player("a"))
            .with(player("b"))
            .with(player("c"));
        let played = play(&case, &Effort::QUICK, &mut Random::new(3));
        assert_eq!(played.len(), 3);

        let turns = turns.borrow();
        assert_eq!(turns.len(), 60);
        let mut orders = std::collections::BTreeSet::new();
        for round in turns.chunks(3) {
            let mut sorted = round.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, ["a", "b", "c"]);
            orders.insert(round.to_vec());
        }
        assert!(orders.len() > 1, "the order never changed");
    }
}
