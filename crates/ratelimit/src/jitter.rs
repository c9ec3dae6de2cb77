//! Chance that lengthens waits, so that who was told the same moment does not come back together.

use std::hash::{BuildHasher, RandomState};
#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(feature = "tokio")]
use stanchion_core::{Clock, Instant};

/// Lengthens waits by up to `max`.
#[derive(Debug)]
pub(crate) struct Jitter {
    max: Duration,
    /// Where the sequence of random numbers stands.
    state: AtomicU64,
}

impl Jitter {
    pub(crate) fn new(max: Duration) -> Self {
        Self {
            max,
            state: AtomicU64::new(RandomState::new().hash_one(0)),
        }
    }

    /// From nothing to `max`, evenly.
    pub(crate) fn draw(&self) -> Duration {
        spread(self.max, next(&self.state))
    }

    /// `slot`, or by chance a little later, but not after `deadline`. Who need not wait is not made to.
    #[cfg(feature = "tokio")]
    pub(crate) fn after(
        jitter: Option<&Arc<Self>>,
        clock: &Clock,
        slot: Instant,
        deadline: Instant,
    ) -> Instant {
        match jitter {
            Some(jitter) => later(slot, clock.now(), deadline, || jitter.draw()),
            None => slot,
        }
    }
}

#[cfg(feature = "tokio")]
fn later(slot: Instant, now: Instant, deadline: Instant, by: impl FnOnce() -> Duration) -> Instant {
    if slot > now {
        (slot + by()).min(deadline.max(slot))
    } else {
        slot
    }
}

/// The next 64 bits of SplitMix64 (Steele, Lea, Flood 2014): a Weyl sequence, mixed.
fn next(state: &AtomicU64) -> u64 {
    let weyl = 0x9e37_79b9_7f4a_7c15;
    let bits = state.fetch_add(weyl, Ordering::Relaxed).wrapping_add(weyl);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// One of the nanoseconds from none to `max`: each has as many of all `bits` as any other, give or
/// take one.
fn spread(max: Duration, bits: u64) -> Duration {
    let max = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
    let nanos = (u128::from(bits) * (u128::from(max) + 1)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(max))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_sequence_is_that_of_its_authors() {
        let state = AtomicU64::new(1_234_567);
        for bits in [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ] {
            assert_eq!(next(&state), bits);
        }
    }

    #[test]
    fn no_two_limiters_draw_the_same() {
        let [one, other] = [(); 2].map(|()| Jitter::new(Duration::MAX));
        let draws = |jitter: &Jitter| [jitter.draw(), jitter.draw()];
        assert_ne!(draws(&one), draws(&other));
    }

    /// Of 64 parts, each has a 64th of all draws, as chance has it: Pearson's sum over 63 degrees of
    /// freedom lies between 30 and 110 but once in 10,000 times, and these numbers are always the
    /// same.
    #[test]
    fn draws_are_even() {
        let jitter = Jitter {
            max: Duration::from_nanos(63_999),
            state: AtomicU64::new(0),
        };
        let mut parts = [0_u32; 64];
        for _ in 0..64_000 {
            let drawn = usize::try_from(jitter.draw().as_nanos()).unwrap();
            parts[drawn / 1_000] += 1;
        }
        let deviation = |count: u32| (f64::from(count) - 1_000.0).powi(2) / 1_000.0;
        let sum: f64 = parts.into_iter().map(deviation).sum();
        assert!((30.0..110.0).contains(&sum), "{sum}: {parts:?}");
    }

    proptest! {
        #[test]
        fn a_spread_lies_between_its_ends_in_the_order_of_the_bits(
            max in prop_oneof![0_u64..10, 0_u64..=u64::MAX], bits: u64, more: u64,
        ) {
            let max = Duration::from_nanos(max);
            prop_assert_eq!(spread(max, 0), Duration::ZERO);
            prop_assert_eq!(spread(max, u64::MAX), max);
            let spread_by = spread(max, bits);
            prop_assert!(spread_by <= max);
            prop_assert!(spread_by <= spread(max, bits.saturating_add(more)));
        }

        #[test]
        fn each_nanosecond_has_its_even_share_of_the_bits(max in 1_u64..1_000, one in 0_u64..1_000) {
            let (values, one) = (u128::from(max) + 1, u128::from(one.min(max)));
            // The least bits that make `one`, and those that make the one before it.
            let first = u64::try_from((one << 64).div_ceil(values)).unwrap();
            let drawn = |bits| spread(Duration::from_nanos(max), bits).as_nanos();
            prop_assert_eq!(drawn(first), one);
            prop_assert_eq!(drawn(first.saturating_sub(1)), one.saturating_sub(1));
        }

        #[cfg(feature = "tokio")]
        #[test]
        fn who_waits_waits_longer_up_to_his_deadline_and_nobody_else(
            slot in 0_u64..100, now in 0_u64..100, deadline in 0_u64..200, by in 0_u64..100,
        ) {
            let [slot, now, deadline] = [slot, now, deadline].map(Instant::from_nanos);
            let drawn = later(slot, now, deadline, || Duration::from_nanos(by));
            if slot <= now {
                prop_assert_eq!(drawn, slot);
            } else {
                prop_assert!(slot <= drawn, "never early");
                prop_assert!(drawn <= deadline.max(slot), "never after the deadline");
                let whole = slot + Duration::from_nanos(by);
                prop_assert_eq!(drawn, whole.min(deadline.max(slot)));
            }
        }
    }
}
