//! The calls of the last T, in buckets.

use std::time::Duration;

use stanchion_core::Instant;

use super::{Counts, Kind};

/// A ring of buckets, each one slice of time, with their sum. A call costs the same however many
/// there are; a bucket that is too old is taken from the sum when time has moved past it.
///
/// Slices begin at multiples of their width, so the window spans between `buckets − 1` and
/// `buckets` of them.
#[derive(Debug)]
pub(super) struct TimeWindow {
    width: u64,
    /// The number of the newest slice.
    newest: u64,
    /// The newest slice when a call was last taken in.
    recorded: u64,
    buckets: Box<[Counts]>,
    sum: Counts,
}

impl TimeWindow {
    pub(super) fn new(span: Duration, buckets: u32) -> Self {
        // A day has fewer nanoseconds than a u64 holds.
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self {
            width: span.div_ceil(u64::from(buckets)).max(1),
            newest: 0,
            recorded: 0,
            buckets: vec![Counts::default(); buckets as usize].into(),
            sum: Counts::default(),
        }
    }

    /// Takes in a call; tells whether it is the first of its slice, whoever looked before. If the clock went back, the call
    /// counts as of the newest slice.
    pub(super) fn record(&mut self, now: Instant, kind: Kind) -> bool {
        self.advance(now);
        let place = self.place(self.newest);
        self.buckets[place].add(kind);
        self.sum.add(kind);
        std::mem::replace(&mut self.recorded, self.newest) < self.newest
    }

    pub(super) fn counts(&mut self, now: Instant) -> Counts {
        self.advance(now);
        self.sum
    }

    pub(super) fn clear(&mut self) {
        self.buckets.fill(Counts::default());
        self.sum = Counts::default();
    }

    fn advance(&mut self, now: Instant) {
        let slice = now.as_nanos() / self.width;
        if slice <= self.newest {
            return;
        }
        let length = self.buckets.len() as u64;
        if slice - self.newest >= length {
            self.clear();
        } else {
            for old in self.newest + 1..=slice {
                let place = self.place(old);
                self.sum -= std::mem::take(&mut self.buckets[place]);
            }
        }
        self.newest = slice;
    }

    fn place(&self, slice: u64) -> usize {
        // Less than the number of buckets, which fits.
        usize::try_from(slice % self.buckets.len() as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    struct Call {
        at: u64,
        kind: Kind,
    }

    fn calls() -> impl Strategy<Value = Vec<Call>> {
        let step = prop_oneof![4 => 0_i64..30, 1 => 0_i64..500, 1 => -60_i64..0];
        let call = (step, any::<bool>(), any::<bool>());
        proptest::collection::vec(call, 0..60).prop_map(|steps| {
            let mut at = 1000_i64;
            let call = |(step, failed, slow): (i64, bool, bool)| {
                at = (at + step).max(0);
                Call {
                    at: at.unsigned_abs(),
                    kind: Kind { failed, slow },
                }
            };
            steps.into_iter().map(call).collect()
        })
    }

    proptest! {
        #[test]
        fn it_holds_exactly_the_calls_of_its_slices(
            calls in calls(), buckets in 1_u32..7, looks in any::<bool>(),
        ) {
            let mut window = TimeWindow::new(Duration::from_nanos(100), buckets);
            let width = 100_u64.div_ceil(u64::from(buckets));
            let (mut newest, mut naive): (u64, Vec<(u64, Kind)>) = (0, Vec::new());
            for Call { at, kind } in calls {
                if looks {
                    // A look must not take the turn of the slice from the call.
                    window.counts(Instant::from_nanos(at));
                }
                let turned = window.record(Instant::from_nanos(at), kind);
                prop_assert_eq!(turned, at / width > newest);
                newest = newest.max(at / width);
                naive.push((newest, kind));
                let mut counts = Counts::default();
                let inside = naive.iter().filter(|(slice, _)| slice + u64::from(buckets) > newest);
                inside.for_each(|(_, kind)| counts.add(*kind));
                prop_assert_eq!(window.counts(Instant::from_nanos(at)), counts);
            }
        }
    }
}
