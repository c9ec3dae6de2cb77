use std::time::Duration;

/// How long someone may be waited for who sends or takes bytes: until nothing moved for `patience`,
/// or too little for too long.
///
/// It is a store of time. Waiting uses it up; every byte that moves earns `1 / rate` seconds of it,
/// and it never holds more than `patience`. So whoever is as fast as the rate may pause for
/// `patience` again and again, and whoever moves one byte before each pause ends is given up after
/// `patience` in all. With a rate of 0, any byte fills the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    patience: Duration,
    rate: u64,
    left: Duration,
}

impl Pace {
    /// `rate` is in bytes a second.
    pub(crate) fn new(patience: Duration, rate: u64) -> Self {
        Self {
            patience,
            rate,
            left: patience,
        }
    }

    /// How long may be waited from now on, if nothing moves.
    pub(crate) fn left(&self) -> Duration {
        self.left
    }

    /// Bytes moved, after a wait.
    pub(crate) fn moved(&mut self, bytes: u64, waited: Duration) {
        if waited.is_zero() && self.left == self.patience {
            return;
        }
        let nanos = bytes.saturating_mul(1_000_000_000).checked_div(self.rate);
        let earned = nanos.map_or(self.patience, Duration::from_nanos);
        let left = self.left.saturating_sub(waited).saturating_add(earned);
        self.left = left.min(self.patience);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_trickle_is_given_up_after_the_patience_in_all() {
        let mut pace = Pace::new(30 * SECOND, 100);
        pace.moved(1, 29 * SECOND);
        assert_eq!(pace.left(), Duration::from_millis(1_010));
        pace.moved(1, SECOND);
        assert_eq!(pace.left(), Duration::from_millis(20));
    }

    #[test]
    fn who_keeps_the_rate_may_pause_every_time() {
        let mut pace = Pace::new(30 * SECOND, 100);
        for _ in 0..100 {
            pace.moved(2_900, 29 * SECOND);
            assert_eq!(pace.left(), 30 * SECOND);
        }
    }

    #[test]
    fn without_a_rate_any_byte_will_do() {
        let mut pace = Pace::new(30 * SECOND, 0);
        pace.moved(1, 29 * SECOND);
        assert_eq!(pace.left(), 30 * SECOND);
    }

    proptest! {
        #[test]
        fn no_stream_is_waited_for_longer_than_it_earned(
            rate in 1..10_000_u64,
            steps in proptest::collection::vec((0..50_000_u64, 0..40_000_u64), 0..50),
        ) {
            let patience = 30 * SECOND;
            let mut pace = Pace::new(patience, rate);
            let (mut bytes, mut waited) = (0.0, 0.0);
            for (moved, millis) in steps {
                let wait = Duration::from_millis(millis).min(pace.left());
                waited += wait.as_secs_f64();
                pace.moved(moved, wait);
                bytes += moved as f64;
                prop_assert!(pace.left() <= patience);
                prop_assert!(waited <= 30.0 + bytes / rate as f64 + 1e-3);
            }
        }
    }
}
