//! A ring of notes, the oldest first.

/// What was admitted, or promised, at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Note {
    /// In nanoseconds.
    pub(super) at: u64,
    pub(super) cost: u64,
}

/// The most that one note tells: far above the limit of any log, and so little that the sum of as
/// many notes as there may be fits in 64 bits.
pub(super) const COST_MAX: u64 = 1 << 41;

/// Notes in the order of their moments, in memory that grows as it is needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    ring: Box<[Note]>,
    /// Where the oldest stands.
    first: usize,
    len: usize,
    /// The sum of all costs.
    sum: u64,
    /// When the newest was or will be; stands while it is forgotten with time.
    newest: u64,
}

impl Notes {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// Where the note stands that has `nth` older ones, or would stand; `nth` is at most as many as
    /// there are.
    #[inline]
    fn place(&self, nth: usize) -> usize {
        let place = self.first + nth;
        let round = place.wrapping_sub(self.ring.len());
        if place < self.ring.len() {
            place
        } else {
            round
        }
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        if place + 1 < self.ring.len() {
            place + 1
        } else {
            0
        }
    }

    pub(super) fn oldest_first(&self) -> impl Iterator<Item = Note> {
        (0..self.len).map(|nth| self.ring[self.place(nth)])
    }

    /// When the newest was or will be; something past if there is none.
    #[inline]
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Forgets all that was at this moment or before.
    ///
    /// Of steady demand one note goes for each that comes, but never in step: now none, now two.
    /// A branch on that is guessed wrongly half of the time. So the first two go without one, and
    /// none of them waits for the other.
    #[inline]
    pub(super) fn forget_until(&mut self, moment: u64) {
        if self.ring.is_empty() {
            return;
        }
        let first = self.first;
        let second = self.after(first);
        let third = self.after(second);
        let has_passed = |place: usize| self.ring[place].at <= moment;
        let one = (self.len > 0) & has_passed(first);
        let two = one & (self.len > 1) & has_passed(second);
        let three = two & (self.len > 2) & has_passed(third);
        // A product, for the compiler makes a branch of a choice here.
        let cost = |goes: bool, place: usize| self.ring[place].cost * u64::from(goes);
        self.sum -= cost(one, first) + cost(two, second);
        self.len -= usize::from(one) + usize::from(two);
        self.first = if one { second } else { first };
        self.first = if two { third } else { self.first };
        if three {
            self.forget_more_until(moment);
        }
    }

    /// After a pause.
    #[cold]
    fn forget_more_until(&mut self, moment: u64) {
        while self.len > 0 && self.ring[self.first].at <= moment {
            self.sum -= self.ring[self.first].cost;
            self.len -= 1;
            self.first = self.after(self.first);
        }
    }

    /// Notes `cost`, or as much of it as one note may tell; returns that. There are fewer than `room`
    /// notes, and memory is taken for no more.
    #[inline]
    pub(super) fn push(&mut self, at: u64, cost: u64, room: usize) -> u64 {
        if self.len == self.ring.len() {
            self.grow(room);
        }
        let cost = cost.min(COST_MAX);
        let place = self.place(self.len);
        self.ring[place] = Note { at, cost };
        self.len += 1;
        self.sum += cost;
        self.newest = at;
        cost
    }

    #[cold]
    fn grow(&mut self, room: usize) {
        let len = (self.len * 2).max(4).min(room);
        let kept = self.oldest_first();
        let empty = std::iter::repeat(Note::default());
        self.ring = kept.chain(empty).take(len).collect();
        self.first = 0;
    }

    /// Adds `cost` to the newest note, or as much as that may tell, and moves it to this moment;
    /// returns how much that was.
    pub(super) fn push_to_newest(&mut self, at: u64, cost: u64) -> u64 {
        let Some(nth) = self.len.checked_sub(1) else {
            return 0;
        };
        let place = self.place(nth);
        let newest = &mut self.ring[place];
        let more = cost.min(COST_MAX - newest.cost);
        newest.at = at;
        newest.cost += more;
        self.sum += more;
        self.newest = at;
        more
    }

    /// Takes `cost` off the oldest notes.
    pub(super) fn drop_oldest(&mut self, mut cost: u64) {
        while cost > 0 && self.len > 0 {
            let oldest = &mut self.ring[self.first];
            let part = cost.min(oldest.cost);
            oldest.cost -= part;
            cost -= part;
            self.sum -= part;
            if oldest.cost == 0 {
                self.first = self.after(self.first);
                self.len -= 1;
            }
        }
        self.find_newest();
    }

    /// Takes up to `cost` off the newest notes, as far as they are of this moment or before;
    /// returns how much that was.
    pub(super) fn drop_newest(&mut self, cost: u64, moment: u64) -> u64 {
        let mut left = cost;
        while let Some(nth) = self.len.checked_sub(1).filter(|_| left > 0) {
            let place = self.place(nth);
            let newest = &mut self.ring[place];
            if newest.at > moment {
                break;
            }
            let part = left.min(newest.cost);
            newest.cost -= part;
            left -= part;
            self.sum -= part;
            if newest.cost == 0 {
                self.len -= 1;
            }
        }
        self.find_newest();
        cost - left
    }

    fn find_newest(&mut self) {
        let newest = self.len.checked_sub(1).map(|nth| self.place(nth));
        self.newest = newest.map_or(0, |place| self.ring[place].at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rings of every small size, round and round.
    #[test]
    fn a_ring_forgets_in_order_and_takes_no_more_memory_than_it_has_room_for() {
        for room in 1..10 {
            let mut notes = Notes::default();
            for at in 1..100_u64 {
                let keeps = at % (room as u64 + 1);
                notes.forget_until(at - 1 - keeps.min(at - 1));
                if notes.len() < room {
                    assert_eq!(notes.push(at, at, room), at);
                }
                let costs: Vec<u64> = notes.oldest_first().map(|note| note.cost).collect();
                assert!(costs.is_sorted() && costs.iter().all(|cost| cost + keeps >= at));
                assert_eq!(notes.sum(), costs.iter().sum::<u64>());
                assert!(notes.ring.len() <= room);
            }
        }
    }

    #[test]
    fn debts_that_do_not_fit_are_cut_and_given_back_as_they_were_noted() {
        let mut notes = Notes::default();
        assert_eq!(notes.push(1, u64::MAX, 4), COST_MAX);
        assert_eq!(notes.push_to_newest(1, u64::MAX), 0);
        assert_eq!(notes.push(2, 7, 4), 7);
        assert_eq!((notes.sum(), notes.newest()), (COST_MAX + 7, 2));
        // What lies behind the moment stays.
        assert_eq!(notes.drop_newest(u64::MAX, 1), 0);
        assert_eq!(notes.drop_newest(u64::MAX, 2), COST_MAX + 7);
        assert_eq!((notes.sum(), notes.newest()), (0, 0));
    }
}
