//! The clock of tokio's runtime.

use std::sync::OnceLock;
use std::time::Duration;

use super::{Instant, system};

/// A runtime may have been paused before the first read here: its time then lies before `ORIGIN`,
/// and must not be cut off at zero.
const HEADROOM: Duration = Duration::from_secs(86_400);

/// The moment from which all tokio clocks of this process count, and the wall time then.
static ORIGIN: OnceLock<(tokio::time::Instant, Duration)> = OnceLock::new();

fn origin() -> &'static (tokio::time::Instant, Duration) {
    ORIGIN.get_or_init(|| (tokio::time::Instant::now(), system::unix_time()))
}

pub(super) fn now() -> Instant {
    let (origin, _) = origin();
    let now = tokio::time::Instant::now();
    let headroom = Instant::ZERO + HEADROOM;
    match now.checked_duration_since(*origin) {
        Some(since) => headroom + since,
        None => headroom - origin.duration_since(now),
    }
}

pub(super) fn unix_time() -> Duration {
    let (origin, unix) = origin();
    let now = tokio::time::Instant::now();
    match now.checked_duration_since(*origin) {
        Some(since) => unix.saturating_add(since),
        None => unix.saturating_sub(origin.duration_since(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;

    #[tokio::test(start_paused = true)]
    async fn obeys_paused_time() {
        let clock = Clock::tokio();
        let (start, unix) = (clock.now(), clock.unix_time());
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.now() - start, Duration::from_secs(7));
        assert_eq!(clock.unix_time() - unix, Duration::from_secs(7));
    }

    #[test]
    fn a_runtime_paused_before_the_first_read_is_not_cut_off_at_zero() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let outside = now();
        runtime.block_on(async {
            let start = now();
            assert!(start > Instant::ZERO);
            tokio::time::advance(Duration::from_millis(3)).await;
            assert_eq!(now() - start, Duration::from_millis(3));
        });
        assert!(now() >= outside);
    }
}
