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
        // SplitMix64 (Steele, Lea, Flood 2014): a Weyl sequence, mixed.
        let weyl = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.state.fetch_add(weyl, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let max = u64::try_from(self.max.as_nanos()).unwrap_or(u64::MAX);
        let nanos = (u128::from(bits) * (u128::from(max) + 1)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(max))
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
            Some(jitter) if slot > clock.now() => (slot + jitter.draw()).min(deadline.max(slot)),
            _ => slot,
        }
    }
}
