//! Slots in a circle, each with an owner: who comes next, other than those before?

/// Owners of slots, and how far back each owner had its slot before.
///
/// From any slot on, an owner is met for the first time where its slot before lies further back
/// than the start. So a walk needs no memory of whom it has met.
#[derive(Clone, Debug)]
pub(crate) struct Circle {
    owners: Box<[u32]>,
    /// How many slots back the same owner had one; the whole circle if it has no other.
    back: Box<[u32]>,
    distinct: u32,
}

impl Circle {
    /// A circle of fewer than 2³² slots, at least one, whose owners are all below `nodes`.
    pub(crate) fn new(owners: Box<[u32]>, nodes: usize) -> Self {
        let length = u32::try_from(owners.len()).expect("tables are bounded far below 2^32 slots");
        let mut latest = vec![None; nodes];
        let mut distinct = 0;
        for (at, &owner) in (0..length).zip(&owners) {
            let earlier = latest[owner as usize].replace(at);
            distinct += u32::from(earlier.is_none());
        }
        let back = (0..length).zip(&owners).map(|(at, &owner)| {
            let before = latest[owner as usize].replace(at).unwrap_or(at);
            // In the round before, if it is not behind.
            if before < at {
                at - before
            } else {
                at + length - before
            }
        });
        Self {
            back: back.collect(),
            owners,
            distinct,
        }
    }

    #[inline]
    pub(crate) fn owner(&self, slot: usize) -> usize {
        self.owners[slot] as usize
    }

    pub(crate) const fn len(&self) -> usize {
        self.owners.len()
    }

    pub(crate) const fn walk(&self, start: usize) -> Walk<'_> {
        Walk {
            circle: self,
            at: start,
            steps: 0,
            left: self.distinct,
        }
    }
}

/// The owners of a circle from one slot on, each once.
#[derive(Clone, Debug)]
pub(crate) struct Walk<'a> {
    circle: &'a Circle,
    at: usize,
    steps: u32,
    left: u32,
}

impl Iterator for Walk<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        loop {
            let slot = self.at;
            let first = self.circle.back[slot] > self.steps;
            self.at = if slot + 1 == self.circle.len() {
                0
            } else {
                slot + 1
            };
            self.steps += 1;
            if first {
                self.left -= 1;
                return Some(self.circle.owner(slot));
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_meets_each_owner_once_in_the_order_of_first_slots() {
        let circle = Circle::new([2, 2, 0, 2, 1, 0].into(), 4);
        let walk = |start| circle.walk(start).collect::<Vec<_>>();
        assert_eq!(walk(0), [2, 0, 1]);
        assert_eq!(walk(1), [2, 0, 1]);
        assert_eq!(walk(2), [0, 2, 1]);
        assert_eq!(walk(4), [1, 0, 2]);
        assert_eq!(walk(5), [0, 2, 1]);
        assert_eq!(circle.walk(3).size_hint(), (3, Some(3)));
    }
}
