//! The buckets of an anchor, by number.

/// Which buckets work, and in which order the others stopped.
///
/// A hash draws a bucket of all. If that does not work, the hash draws again, from those that still
/// worked right after it had stopped, and so on, until it comes to one that works. So only the hashes
/// of a bucket that stops move, and they are spread over all that are left.
///
/// The set that is drawn from is not kept for each bucket. `order` is the set of those that work; a
/// bucket that stops gives its place to the last of them, and remembers who that was. Who was at a
/// place at an earlier time is found by following these memories from whoever had that place first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Buckets {
    each: Box<[Bucket]>,
    /// The buckets that work, then what was there.
    order: Box<[u32]>,
    /// Of each bucket, its place in `order`.
    place: Box<[u32]>,
    working: u32,
    /// Those that do not work, the last to stop at the end.
    stopped: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    /// How many still worked after it had stopped; 0 if it works.
    left: u32,
    /// Who took its place in the order.
    successor: u32,
}

impl Buckets {
    /// `capacity` buckets, at least one, that all work.
    pub(super) fn new(capacity: u32) -> Self {
        let each = (0..capacity).map(|bucket| Bucket {
            left: 0,
            successor: bucket,
        });
        Self {
            each: each.collect(),
            order: (0..capacity).collect(),
            place: (0..capacity).collect(),
            working: capacity,
            stopped: Vec::new(),
        }
    }

    /// A bucket that works, which must not be the last one, stops.
    pub(super) fn stop(&mut self, bucket: u32) {
        debug_assert!(self.works(bucket) && self.working > 1);
        self.stopped.push(bucket);
        self.working -= 1;
        let last = self.order[self.working as usize];
        let place = self.place[bucket as usize];
        self.order[place as usize] = last;
        self.place[last as usize] = place;
        self.each[bucket as usize] = Bucket {
            left: self.working,
            successor: last,
        };
    }

    /// The last one that stopped works again, and everything is as it was before. Returns which.
    pub(super) fn restart(&mut self) -> Option<u32> {
        let bucket = self.stopped.pop()?;
        let last = self.order[self.working as usize];
        self.place[last as usize] = self.working;
        let place = self.place[bucket as usize];
        self.order[place as usize] = bucket;
        self.each[bucket as usize] = Bucket {
            left: 0,
            successor: bucket,
        };
        self.working += 1;
        Some(bucket)
    }

    #[inline]
    pub(super) fn owner(&self, hash: u64) -> u32 {
        let mut bucket = part(hash, self.capacity());
        // Two draws without asking whether they are needed, which the processor would have to guess.
        bucket = self.drawn_from(bucket, hash);
        bucket = self.drawn_from(bucket, hash);
        while !self.works(bucket) {
            bucket = self.drawn_from(bucket, hash);
        }
        bucket
    }

    /// What `hash` draws from those that were left when `bucket` stopped; itself if it works.
    #[inline]
    fn drawn_from(&self, bucket: u32, hash: u64) -> u32 {
        let left = self.each[bucket as usize].left;
        let mut drawn = part(draw(hash, bucket), left);
        // Whoever had stopped before was not among those that were left.
        while (left != 0) & (self.each[drawn as usize].left >= left) {
            drawn = self.each[drawn as usize].successor;
        }
        std::hint::select_unpredictable(left == 0, bucket, drawn)
    }

    #[expect(clippy::cast_possible_truncation, reason = "made of so many")]
    pub(super) const fn capacity(&self) -> u32 {
        self.each.len() as u32
    }

    pub(super) fn works(&self, bucket: u32) -> bool {
        let bucket = self.each.get(bucket as usize);
        bucket.is_some_and(|bucket| bucket.left == 0)
    }

    pub(super) const fn working(&self) -> u32 {
        self.working
    }

    #[cfg(feature = "serde")]
    pub(super) fn stopped(&self) -> &[u32] {
        &self.stopped
    }
}

/// What `hash` draws where it met `bucket`: the upper half, exclusive or the lower, of its product with
/// an odd multiple of 2⁶⁴ / φ.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are kept")]
const fn draw(hash: u64, bucket: u32) -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let factor = GOLDEN.wrapping_mul(2 * bucket as u64 + 1);
    let product = hash as u128 * factor as u128;
    (product >> 64) as u64 ^ product as u64
}

/// `hash` / 2⁶⁴ of `bound`.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "below `bound`")]
const fn part(hash: u64, bound: u32) -> u32 {
    ((hash as u128 * bound as u128) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// Remembers the whole set for each bucket that stopped.
    struct Naive {
        order: Vec<u32>,
        capacity: u32,
        stopped: Vec<(u32, Vec<u32>, Vec<u32>)>,
    }

    impl Naive {
        fn stop(&mut self, bucket: u32) {
            let before = self.order.clone();
            let place = before.iter().position(|other| *other == bucket).unwrap();
            self.order.swap_remove(place);
            self.stopped.push((bucket, before, self.order.clone()));
        }

        fn owner(&self, hash: u64) -> u32 {
            let mut bucket = part(hash, self.capacity);
            while let Some((_, _, left)) = self.stopped.iter().find(|(other, ..)| *other == bucket)
            {
                let length = u32::try_from(left.len()).unwrap();
                bucket = left[part(draw(hash, bucket), length) as usize];
            }
            bucket
        }
    }

    proptest! {
        #[test]
        fn hashes_draw_from_those_that_were_left(
            capacity in 1_u32..24,
            steps in prop::collection::vec(prop::option::weighted(0.7, any::<Index>()), 0..40),
            hashes in prop::collection::vec(any::<u64>(), 50),
        ) {
            let mut naive = Naive {
                order: (0..capacity).collect(),
                capacity,
                stopped: Vec::new(),
            };
            let mut buckets = Buckets::new(capacity);
            for step in steps {
                match step {
                    Some(_) if buckets.working() == 1 => {}
                    Some(which) => {
                        let bucket = *which.get(&naive.order);
                        naive.stop(bucket);
                        buckets.stop(bucket);
                    }
                    None => {
                        let expected = naive.stopped.pop().map(|(bucket, before, _)| {
                            naive.order = before;
                            bucket
                        });
                        prop_assert_eq!(buckets.restart(), expected);
                    }
                }
                prop_assert_eq!(&buckets.order[..naive.order.len()], &*naive.order);
                for &hash in &hashes {
                    prop_assert_eq!(buckets.owner(hash), naive.owner(hash));
                }
            }
        }
    }
}
