//! Plays a case once: the contestants take turns, in a new random order each round.

use crate::case::Case;
use crate::effort::Effort;
use crate::played::Played;
use crate::shuffle::Random;

/// Plays `case` once and gives what each contestant did, in the case's order.
///
/// What disturbs the machine for a while then falls on all alike, and nobody always follows the
/// same neighbour.
pub(crate) fn play(case: &Case, effort: &Effort, random: &mut Random) -> Vec<Played> {
    let effort = &case.effort(effort);
    let rounds = effort.rounds;
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
    samples.into_iter().map(Played::new).collect()
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
