//! Smooth weighted round robin.
//!
//! ```text
//! each turn, every endpoint's current weight grows by its weight;
//! the one with the largest (the first of several) is chosen, and its current weight falls by the sum
//! ```
//!
//! After as many turns as the sum of the weights all is as at the start. So while that sum, divided
//! by what all weights have in common, is small enough, the turns of one round are worked out once,
//! and a pick reads the next one.
//!
//! Source: nginx's `ngx_http_upstream_round_robin.c`.

use crate::Draw;
use crate::draw::scale;
use crate::sync::{AtomicU64, Ordering, Padded};

use super::round_robin::Turns;
use super::sample::Sampler;
use super::{Choice, InvalidTable, Member, Policy, Table};

/// Each in turn, as often as its weight says, the turns of one endpoint spread as evenly as can be:
/// with weights 5, 1 and 1 the order is a a b a c a a.
///
/// That is nginx's order, begun anywhere, so that processes that start together do not all begin with
/// the same endpoint. Where the weights, divided by what they have in common, add up to more than
/// 65,536, it is the order of gRPC's static stride scheduler instead.
///
/// **Complexity**: O(1); one addition to a counter that all threads share, with the static stride one
/// for each candidate, of which there are as many as the largest weight has of the mean, up to 16.
/// Memory: 2 bytes for each turn of a round, at most 128 KiB.
///
/// **Source**: nginx; gRPC proposal A58, section *static stride scheduler*.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WeightedRoundRobin;

/// The longest round that is worked out.
const ROUND_MAX: u64 = 65_536;

impl WeightedRoundRobin {
    /// The policy.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<A> Policy<A> for WeightedRoundRobin {
    fn table(
        &self,
        members: &[Member<A>],
        draw: &mut Draw,
    ) -> Result<Box<dyn Table<A>>, InvalidTable> {
        let weights: Vec<u32> = members.iter().map(Member::weight).collect();
        Ok(in_turn(&weights, draw))
    }
}

/// Each in turn, as often as its weight says.
pub(super) fn in_turn<A>(weights: &[u32], draw: &mut Draw) -> Box<dyn Table<A>> {
    match Round::new(weights, draw) {
        Some(round) => Box::new(round),
        None => Box::new(Stride::new(weights, draw)),
    }
}

/// The turns of one round.
#[derive(Debug)]
struct Round {
    order: Box<[u16]>,
    turns: Turns,
}

impl Round {
    fn new(weights: &[u32], draw: &mut Draw) -> Option<Self> {
        let order = order(weights)?;
        Some(Self {
            turns: Turns::starting(draw.below(order.len())),
            order,
        })
    }
}

impl<A> Table<A> for Round {
    #[inline]
    fn choose(&self, _choice: &mut Choice<'_, A>) -> Option<usize> {
        let turn = self.turns.next(self.order.len())?;
        Some(usize::from(*self.order.get(turn)?))
    }
}

/// Endpoints of the same weight. Their turns go around among them, so one look at whose turn it is
/// stands for all.
struct Class {
    weight: u64,
    /// Indices, ascending.
    members: Vec<u16>,
    next: usize,
    /// How often the next one was chosen so far.
    chosen: u64,
}

impl Class {
    fn front(&self) -> u16 {
        self.members[self.next]
    }

    /// The current weight of the next one in this turn, the first turn being 1; never below minus
    /// the sum.
    fn current(&self, turn: u64, sum: u64) -> i64 {
        let grown = i64::try_from(turn * self.weight).unwrap_or(i64::MAX);
        grown - i64::try_from(sum * self.chosen).unwrap_or(i64::MAX)
    }

    fn choose(&mut self) -> u16 {
        let index = self.front();
        self.next += 1;
        if self.next == self.members.len() {
            self.next = 0;
            self.chosen += 1;
        }
        index
    }
}

/// The smooth order of one round, unless that is too long.
fn order(weights: &[u32]) -> Option<Box<[u16]>> {
    let common = weights.iter().copied().fold(0, gcd);
    let reduced = |weight: u32| u64::from(weight.checked_div(common).unwrap_or(0));
    let sum: u64 = weights.iter().copied().map(reduced).sum();
    if sum == 0 || sum > ROUND_MAX {
        return None;
    }
    let mut classes: Vec<Class> = Vec::new();
    for (index, &weight) in weights.iter().enumerate() {
        let index = u16::try_from(index).ok()?;
        let weight = reduced(weight);
        match classes.iter_mut().find(|class| class.weight == weight) {
            Some(class) => class.members.push(index),
            None => classes.push(Class {
                weight,
                members: vec![index],
                next: 0,
                chosen: 0,
            }),
        }
    }
    let choose = |turn: u64| {
        let rank =
            |class: &&mut Class| (class.current(turn, sum), std::cmp::Reverse(class.front()));
        let best = classes.iter_mut().max_by_key(rank);
        best.map_or(0, Class::choose)
    };
    Some((1..=sum).map(choose).collect())
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The order of gRPC's static stride scheduler: candidates go around, and each one's share of a
/// generation decides whether it is its turn.
///
/// ```text
/// index = sequence mod n;  generation = sequence / n;  weight scaled so that the largest is 65535
/// turn if (weight · generation + index · 32767) mod 65535 >= 65535 - weight
/// ```
#[derive(Debug)]
struct Stride {
    weights: Box<[u16]>,
    sequence: Padded<AtomicU64>,
    sampler: Sampler,
}

const SCALE: u64 = 65_535;

/// After so many candidates that it was not the turn of, chance decides, by weight.
const CANDIDATES_MAX: usize = 16;

impl Stride {
    fn new(weights: &[u32], draw: &mut Draw) -> Self {
        let scaled = Self::scaled(weights);
        let phase = scale(draw.bits(), scaled.len() * usize::from(u16::MAX));
        Self {
            weights: scaled,
            sequence: Padded(AtomicU64::new(phase as u64)),
            sampler: Sampler::new(weights.iter().copied()),
        }
    }

    fn scaled(weights: &[u32]) -> Box<[u16]> {
        let max = u64::from(weights.iter().copied().max().unwrap_or(1).max(1));
        let scaled = |&weight: &u32| {
            let scaled = (u64::from(weight) * SCALE + max / 2) / max;
            u16::try_from(scaled.max(1)).unwrap_or(u16::MAX)
        };
        weights.iter().map(scaled).collect()
    }

    /// Whose turn this place in the sequence is, if anyone's.
    #[inline]
    fn turn(&self, sequence: u64) -> Option<usize> {
        let count = self.weights.len() as u64;
        let generation = sequence.checked_div(count)?;
        let index = sequence - generation * count;
        let place = usize::try_from(index).ok()?;
        let weight = u64::from(*self.weights.get(place)?);
        // The generation may be reduced first, so that nothing overflows.
        let part = (weight * (generation % SCALE) + index * (SCALE / 2)) % SCALE;
        (part >= SCALE - weight).then_some(place)
    }
}

impl<A> Table<A> for Stride {
    #[inline]
    fn choose(&self, choice: &mut Choice<'_, A>) -> Option<usize> {
        for _ in 0..CANDIDATES_MAX {
            // Relaxed: it orders nothing else.
            let sequence = self.sequence.0.fetch_add(1, Ordering::Relaxed);
            if let Some(index) = self.turn(sequence) {
                return Some(index);
            }
        }
        Some(self.sampler.draw(&mut choice.draw))
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// nginx's way, weight by weight; with the current weights after each turn.
    fn naive(weights: &[u32], turns: usize) -> Vec<(u16, Vec<i64>)> {
        let sum: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
        let mut current = vec![0i64; weights.len()];
        let turn = |_| {
            for (current, &weight) in current.iter_mut().zip(weights) {
                *current += i64::from(weight);
            }
            let mut best = 0;
            for index in 1..current.len() {
                if current[index] > current[best] {
                    best = index;
                }
            }
            current[best] -= sum;
            (u16::try_from(best).unwrap_or(u16::MAX), current.clone())
        };
        (0..turns).map(turn).collect()
    }

    fn letters(weights: &[u32]) -> String {
        let order = order(weights).expect("a short round");
        order
            .iter()
            .map(|&index| char::from_digit(u32::from(index) + 10, 36).unwrap_or('?'))
            .collect()
    }

    #[test]
    fn the_order_is_that_of_nginx() {
        assert_eq!(letters(&[5, 1, 1]), "aabacaa");
        assert_eq!(letters(&[4, 2, 1]), "abacaba");
        // What weights have in common does not matter.
        assert_eq!(letters(&[5000, 1000, 1000]), "aabacaa");
        let currents: Vec<_> = naive(&[5, 1, 1], 7)
            .into_iter()
            .map(|turn| turn.1)
            .collect();
        let nginx = [
            [-2, 1, 1],
            [-4, 2, 2],
            [1, -4, 3],
            [-1, -3, 4],
            [4, -2, -2],
            [2, -1, -1],
            [0, 0, 0],
        ];
        assert_eq!(currents, nginx);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_definition(weights in proptest::collection::vec(1u32..30, 1..20)) {
            let order = order(&weights).expect("a short round");
            let naive: Vec<u16> = naive(&weights, order.len()).into_iter().map(|turn| turn.0).collect();
            prop_assert_eq!(&*order, naive);
        }

        /// At each step k: how often one was chosen = (k · weight - current weight) / sum.
        #[test]
        fn each_has_had_its_share_at_every_step(weights in proptest::collection::vec(1u32..30, 1..20)) {
            let sum: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
            let mut chosen = vec![0i64; weights.len()];
            let steps = naive(&weights, usize::try_from(sum).unwrap_or(0));
            let order = order(&weights).expect("a short round");
            for (step, ((_, current), turn)) in (1i64..).zip(steps.iter().zip(order.iter().cycle())) {
                chosen[usize::from(*turn)] += 1;
                for (index, &weight) in weights.iter().enumerate() {
                    prop_assert_eq!(chosen[index] * sum, step * i64::from(weight) - current[index]);
                }
            }
        }
    }

    #[test]
    fn a_long_round_of_many_weights_is_worked_out() {
        let weights: Vec<u32> = (0..65_536).map(|index| 1 + u32::from(index == 7)).collect();
        assert!(order(&weights).is_none());
        let order = order(&weights[..65_535]).expect("65,536 turns");
        assert_eq!(order.len(), 65_536);
        assert_eq!(order.iter().filter(|&&index| index == 7).count(), 2);
    }

    #[test]
    fn the_static_stride_is_that_of_grpc() {
        let stride = Stride::new(&[5, 1, 1], &mut Draw::from_seed(1));
        assert_eq!(*stride.weights, [65_535, 13_107, 13_107]);
        let turns: Vec<usize> = (0..)
            .filter_map(|sequence| stride.turn(sequence))
            .take(14)
            .collect();
        assert_eq!(turns, [0, 2, 0, 0, 1, 0, 0, 0, 2, 0, 0, 1, 0, 0]);
    }

    /// In 65,535 generations each has as many turns as its scaled weight.
    #[test]
    fn the_static_stride_is_exact_over_all_generations() {
        let stride = Stride::new(&[65_535, 40_001, 3, 257], &mut Draw::from_seed(1));
        let mut counts = [0u64; 4];
        for sequence in 0..4 * SCALE {
            if let Some(index) = stride.turn(sequence) {
                counts[index] += 1;
            }
        }
        let weights: Vec<u64> = stride.weights.iter().map(|&weight| weight.into()).collect();
        assert_eq!(counts, *weights);
    }
}
