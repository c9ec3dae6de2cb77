use std::collections::VecDeque;

use hashbrown::HashTable;

use crate::hash::spread;

/// The hashes of what was evicted lately, oldest forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Ghost {
    /// In the order of eviction; the first has the number `first`. A hash that came back is still
    /// here, with a number that the table no longer has.
    order: VecDeque<u32>,
    first: u32,
    table: HashTable<Remembered>,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    hash: u32,
    number: u32,
}

impl Ghost {
    /// Remembers `hash`, and forgets the oldest beyond `len_max`.
    pub(crate) fn remember(&mut self, hash: u32, len_max: usize) {
        self.take(hash);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "numbers wrap; fewer than 2^32 are remembered at a time"
        )]
        let number = self.first.wrapping_add(self.order.len() as u32);
        self.order.push_back(hash);
        let remembered = Remembered { hash, number };
        self.table
            .insert_unique(spread(hash), remembered, |other| spread(other.hash));
        while self.order.len() > len_max {
            self.forget_oldest();
        }
    }

    /// Forgets `hash`, and says whether it was remembered.
    pub(crate) fn take(&mut self, hash: u32) -> bool {
        self.table
            .find_entry(spread(hash), |other| other.hash == hash)
            .is_ok_and(|found| {
                found.remove();
                true
            })
    }

    fn forget_oldest(&mut self) {
        let Some(hash) = self.order.pop_front() else {
            return;
        };
        let number = self.first;
        self.first = self.first.wrapping_add(1);
        let same = |other: &Remembered| other.hash == hash && other.number == number;
        if let Ok(found) = self.table.find_entry(spread(hash), same) {
            found.remove();
        }
    }
}
