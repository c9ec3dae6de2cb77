use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Which records are acknowledged: all below a mark, and ranges above it.
///
/// Holds at most one range more than there are records that are not acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acked {
    low: u64,
    /// First and last of each; none touches another, nor the mark.
    ranges: BTreeMap<u64, u64>,
    /// How many records lie in the ranges.
    above: u64,
}

impl Acked {
    pub(crate) fn below(low: u64) -> Self {
        Self {
            low,
            ..Self::default()
        }
    }

    /// The first record that is not acknowledged.
    pub(crate) fn low(&self) -> u64 {
        self.low
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        seq < self.low || self.range_at(seq).is_some_and(|(_, last)| seq <= last)
    }

    pub(crate) fn contains_all(&self, seqs: &RangeInclusive<u64>) -> bool {
        let first = *seqs.start().max(&self.low);
        first > *seqs.end()
            || self
                .range_at(first)
                .is_some_and(|(_, last)| *seqs.end() <= last)
    }

    /// The first record from `seq` on that is not acknowledged.
    pub(crate) fn first_missing(&self, seq: u64) -> u64 {
        let seq = seq.max(self.low);
        match self.range_at(seq) {
            Some((_, last)) if seq <= last => last + 1,
            _ => seq,
        }
    }

    /// How many of the records below `next` are not acknowledged.
    pub(crate) fn missing(&self, next: u64) -> u64 {
        next.saturating_sub(self.low).saturating_sub(self.above)
    }

    pub(crate) fn insert(&mut self, seqs: RangeInclusive<u64>) {
        let (mut first, mut last) = (*seqs.start().max(&self.low), *seqs.end());
        if first > last {
            return;
        }
        if let Some((start, end)) = self.range_at(first)
            && end + 1 >= first
        {
            first = start;
            last = last.max(end);
        }
        // Whatever begins within, or right behind, is part of it.
        while let Some((&start, &end)) = self.ranges.range(first..=last + 1).next_back() {
            self.ranges.remove(&start);
            self.above -= end - start + 1;
            last = last.max(end);
        }
        if first == self.low {
            self.low = last + 1;
        } else {
            self.ranges.insert(first, last);
            self.above += last - first + 1;
        }
    }

    /// The range that begins at `seq` or last before it.
    fn range_at(&self, seq: u64) -> Option<(u64, u64)> {
        let (&first, &last) = self.ranges.range(..=seq).next_back()?;
        Some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(
            low in 0_u64..10,
            inserts in prop::collection::vec((0_u64..30, 0_u64..6), 0..20),
        ) {
            let mut acked = Acked::below(low);
            let mut set: BTreeSet<u64> = (0..low).collect();
            for (first, more) in inserts {
                acked.insert(first..=first + more);
                set.extend(first..=first + more);
                let lowest = (0..).find(|seq| !set.contains(seq)).unwrap();
                prop_assert_eq!(acked.low(), lowest);
                for seq in 0..40 {
                    let first = (seq..).find(|seq| !set.contains(seq)).unwrap();
                    prop_assert_eq!(acked.first_missing(seq), first);
                    prop_assert_eq!(acked.contains(seq), set.contains(&seq));
                    let missing = (0..seq).filter(|seq| !set.contains(seq)).count() as u64;
                    if set.iter().all(|&acked| acked < seq) {
                        prop_assert_eq!(acked.missing(seq), missing);
                    }
                }
                for first in 0..40 {
                    for last in first..first + 8 {
                        let all = (first..=last).all(|seq| set.contains(&seq));
                        prop_assert_eq!(acked.contains_all(&(first..=last)), all);
                    }
                }
                // No two touch.
                let ranges: Vec<_> = acked.ranges.iter().collect();
                prop_assert!(ranges.iter().all(|(first, last)| first <= last));
                prop_assert!(ranges.windows(2).all(|two| two[0].1 + 1 < *two[1].0));
                prop_assert!(ranges.first().is_none_or(|first| *first.0 > acked.low));
            }
        }
    }
}
