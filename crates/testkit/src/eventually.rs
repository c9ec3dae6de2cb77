//! Waits for a condition with a deadline, for tests against real sockets and processes.

use std::panic::Location;
use std::time::{Duration, Instant};

/// The first pause between two looks; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Waits on tokio's timer until `condition` holds, and looks again after 1 to 50 ms.
///
/// `limit` is real time, for what other processes and threads do; what depends on a clock that a
/// test moves needs no waiting.
///
/// # Panics
/// When `condition` does not hold within `limit`; the message says `what` was waited for, and
/// where. When it is polled outside a tokio runtime with time.
#[track_caller]
pub fn eventually(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> impl Future<Output = ()> {
    eventually_async(limit, what, async move || condition())
}

/// Waits as [`eventually`] does, for a condition that is itself asynchronous, such as a request to
/// a server. One look ends with the limit too.
///
/// # Panics
/// As [`eventually`] does.
#[track_caller]
pub fn eventually_async(
    limit: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let mut looks = Looks::new(limit);
        loop {
            if let Ok(true) = tokio::time::timeout(looks.time_left(), condition()).await {
                return;
            }
            match looks.pause() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => give_up(limit, what, caller),
            }
        }
    }
}

/// Waits as [`eventually`] does, blocking the thread.
///
/// # Panics
/// As [`eventually`] does.
#[track_caller]
pub fn eventually_blocking(limit: Duration, what: &str, condition: impl FnMut() -> bool) {
    if !holds_within(limit, condition) {
        give_up(limit, what, Location::caller());
    }
}

/// Blocks until `condition` holds; false when it does not within `limit`.
pub(crate) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let mut looks = Looks::new(limit);
    loop {
        if condition() {
            return true;
        }
        match looks.pause() {
            Some(pause) => sleep(pause),
            None => return false,
        }
    }
}

fn give_up(limit: Duration, what: &str, caller: &Location<'_>) -> ! {
    panic!("not within {limit:?}: {what} (waited for at {caller})");
}

/// When to look next.
struct Looks {
    start: Instant,
    limit: Duration,
    pause: Duration,
}

impl Looks {
    fn new(limit: Duration) -> Self {
        Self {
            start: now(),
            limit,
            pause: PAUSE_MIN,
        }
    }

    fn time_left(&self) -> Duration {
        self.limit.saturating_sub(now() - self.start)
    }

    /// How long to wait before the next look; `None` when the time is over. The last look is at
    /// the limit.
    fn pause(&mut self) -> Option<Duration> {
        let left = self.time_left();
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        (!left.is_zero()).then_some(pause)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "other processes run in real time, whatever a test's clock says"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a short pause between two looks at the condition, bounded by the limit"
)]
fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}
