//! The places of a table, taken in turns.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The places that a node wants, in its order, and whose they will be.
pub(super) struct Preference {
    pub(super) owner: u32,
    /// Not 0.
    pub(super) weight: u32,
    /// The place that it wants next.
    pub(super) next: u32,
    /// How far it goes from there: from 1 to the size, without it.
    pub(super) skip: u32,
}

/// Those of one weight, which have their turns together.
struct Class<'a> {
    members: &'a mut [Preference],
    /// How many places each of them has.
    taken: u64,
}

/// The owner of each of `size` places. `size` is a prime, and `preferences`, of which there are no
/// more than places, are in the order of descending weights.
///
/// The classes are in a heap by their next turn, so that with equal weights a turn costs nothing, and
/// with weights far apart nobody is asked before it is his turn.
pub(super) fn fill(preferences: &mut [Preference], size: u32) -> Box<[u32]> {
    let greatest = preferences
        .first()
        .map_or(1, |first| u64::from(first.weight));
    let chunks = preferences.chunk_by_mut(|a, b| a.weight == b.weight);
    let mut classes: Vec<_> = chunks.map(|members| Class { members, taken: 0 }).collect();
    let mut turns: BinaryHeap<_> = (0..classes.len())
        .map(|class| Reverse((1, class)))
        .collect();
    let mut places = Places::new(size);
    while let Some(mut turn) = turns.peek_mut() {
        let Reverse((due, class)) = &mut *turn;
        let class = &mut classes[*class];
        for member in &mut *class.members {
            if places.left == 0 {
                return places.owners;
            }
            places.give(member);
        }
        class.taken += 1;
        let weight = u64::from(class.members[0].weight);
        *due = (class.taken * greatest).div_ceil(weight).max(*due + 1);
    }
    places.owners
}

struct Places {
    owners: Box<[u32]>,
    /// A bit for each place that is taken: these stay in the nearest cache, where the owners, most
    /// of which are only passed over in the end, would not.
    taken: Box<[u64]>,
    size: u32,
    left: u32,
}

impl Places {
    fn new(size: u32) -> Self {
        Self {
            owners: vec![0; size as usize].into(),
            taken: vec![0; size as usize / 64 + 1].into(),
            size,
            left: size,
        }
    }

    /// The first place that `member` wants and that is free. There is one: as `size` is a prime, it
    /// comes to each place.
    fn give(&mut self, member: &mut Preference) {
        loop {
            let place = member.next;
            member.next = place + member.skip;
            if member.next >= self.size {
                member.next -= self.size;
            }
            let (word, bit) = (place as usize / 64, 1 << (place % 64));
            if self.taken[word] & bit == 0 {
                self.taken[word] |= bit;
                self.owners[place as usize] = member.owner;
                self.left -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh64::xxh64;

    use super::*;

    fn equals(wanted: &[(u32, u32)], size: u32) -> Box<[u32]> {
        let preferences = (0..).zip(wanted).map(|(owner, &(next, skip))| Preference {
            owner,
            weight: 1,
            next,
            skip,
        });
        fill(&mut preferences.collect::<Vec<_>>(), size)
    }

    #[test]
    fn the_example_of_the_paper_is_filled_as_there() {
        assert_eq!(*equals(&[(3, 4), (0, 2), (3, 1)], 7), [1, 0, 1, 0, 2, 2, 0]);
        let without = [0, 0, 0, 0, 1, 1, 1];
        assert_eq!(*equals(&[(3, 4), (3, 1)], 7), without);
    }

    #[test]
    fn the_example_of_envoy_is_filled_as_there() {
        let wanted = (90..=95).map(|port| {
            let id = format!("127.0.0.1:{port}");
            let remainder = |hash: u64, of: u64| u32::try_from(hash % of).unwrap();
            let (offset, skip) = (xxh64(id.as_bytes(), 0), xxh64(id.as_bytes(), 1));
            (remainder(offset, 7), remainder(skip, 6) + 1)
        });
        let owners = equals(&wanted.collect::<Vec<_>>(), 7);
        assert_eq!(*owners, [2, 4, 0, 1, 5, 0, 3]);
    }
}
