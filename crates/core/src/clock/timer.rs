//! Waiting on a clock.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use pin_project_lite::pin_project;

use super::{Clock, Instant, ManualClock, Source};

impl Clock {
    /// Waits until the clock reads `deadline` or later.
    ///
    /// Tokio's timer steps in milliseconds, so a wait on the system's or tokio's clock ends up to
    /// one millisecond late, and never early: the clock is read again on waking. On a manual clock
    /// the wait ends when the clock is moved there.
    ///
    /// # Panics
    ///
    /// When polled outside a tokio runtime that has its timer enabled; not on a manual clock.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any point leaves nothing behind.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        let timer = match &self.source {
            Source::Manual(manual) => Timer::Manual {
                wait: ManualWait::new(manual.clone()),
            },
            Source::System | Source::Tokio => Timer::Idle,
        };
        Sleep {
            clock: self.clone(),
            deadline,
            timer,
        }
    }

    /// Waits for `duration` from now; see [`sleep_until`](Self::sleep_until).
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }
}

pin_project! {
    /// The wait that [`Clock::sleep_until`] returns.
    #[must_use = "a wait does nothing unless polled"]
    pub struct Sleep {
        clock: Clock,
        deadline: Instant,
        #[pin]
        timer: Timer,
    }
}

pin_project! {
    #[project = TimerProjection]
    enum Timer {
        Idle,
        Tokio { #[pin] sleep: tokio::time::Sleep },
        Manual { wait: ManualWait },
    }
}

impl Sleep {
    /// The moment waited for.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            let left = *this.deadline - this.clock.now();
            if left.is_zero() {
                return Poll::Ready(());
            }
            match this.timer.as_mut().project() {
                TimerProjection::Manual { wait } => {
                    return wait.poll(*this.deadline, cx.waker());
                }
                TimerProjection::Tokio { mut sleep } => {
                    ready!(sleep.as_mut().poll(cx));
                    // Tokio's clock ran ahead of ours: wait for the rest.
                    sleep.reset(tokio_deadline(left));
                }
                TimerProjection::Idle => {
                    let sleep = tokio::time::sleep_until(tokio_deadline(left));
                    this.timer.set(Timer::Tokio { sleep });
                }
            }
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// `left` from now on tokio's clock. What it cannot tell is as good as never: thirty years.
fn tokio_deadline(left: Duration) -> tokio::time::Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
    tokio::time::Instant::now() + left.min(FAR)
}

/// Who waits on a manual clock, by deadline. One entry per waiting [`Sleep`], gone when it is
/// dropped.
#[derive(Default)]
pub(super) struct ManualWaiters {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    next_id: u64,
    waiting: BTreeMap<(Instant, u64), Waker>,
}

impl ManualWaiters {
    /// Wakes everyone whose deadline is not after `now`, in the order of their deadlines.
    pub(super) fn wake_until(&self, now: Instant) {
        loop {
            // One at a time, so that no waker runs under the lock.
            let first = {
                let mut queue = self.queue.lock();
                match queue.waiting.first_entry() {
                    Some(entry) if entry.key().0 <= now => entry.remove(),
                    _ => return,
                }
            };
            first.wake();
        }
    }
}

struct ManualWait {
    clock: ManualClock,
    place: Option<(Instant, u64)>,
}

impl ManualWait {
    fn new(clock: ManualClock) -> Self {
        Self { clock, place: None }
    }

    fn poll(&mut self, deadline: Instant, waker: &Waker) -> Poll<()> {
        {
            let mut queue = self.clock.waiters().queue.lock();
            let place = *self.place.get_or_insert_with(|| {
                queue.next_id += 1;
                (deadline, queue.next_id)
            });
            queue.waiting.insert(place, waker.clone());
        }
        // The clock may have been moved between the read that found us early and the entry above.
        if self.clock.now() >= deadline {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for ManualWait {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // Outside the lock: dropping a waker may run someone else's code.
            let waker = self.clock.waiters().queue.lock().waiting.remove(&place);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second() -> Duration {
        Duration::from_secs(1)
    }

    fn poll_once(sleep: &mut Pin<Box<Sleep>>) -> Poll<()> {
        sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_wait_on_a_manual_clock_ends_exactly_at_its_deadline() {
        let (clock, time) = Clock::manual();
        let mut sleep = Box::pin(clock.sleep(second()));
        assert_eq!(poll_once(&mut sleep), Poll::Pending);
        time.advance(second() - Duration::from_nanos(1));
        assert_eq!(poll_once(&mut sleep), Poll::Pending);
        time.advance(Duration::from_nanos(1));
        assert_eq!(poll_once(&mut sleep), Poll::Ready(()));
    }

    #[test]
    fn a_dropped_wait_leaves_nothing_behind() {
        let (clock, time) = Clock::manual();
        let mut sleep = Box::pin(clock.sleep(second()));
        assert_eq!(poll_once(&mut sleep), Poll::Pending);
        assert_eq!(time.waiters().queue.lock().waiting.len(), 1);
        drop(sleep);
        assert!(time.waiters().queue.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn moving_the_clock_wakes_a_waiting_task() {
        let (clock, time) = Clock::manual();
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(second()).await }
        });
        while time.waiters().queue.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        time.advance(second());
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_on_tokios_clock_obeys_paused_time() {
        let clock = Clock::tokio();
        let start = clock.now();
        clock.sleep(Duration::from_micros(1_500)).await;
        assert!(clock.now() - start >= Duration::from_micros(1_500));
        assert!(clock.now() - start < Duration::from_millis(3));
    }

    #[tokio::test]
    async fn a_wait_on_the_systems_clock_never_ends_early() {
        let clock = Clock::system();
        let start = clock.now();
        clock.sleep(Duration::from_millis(2)).await;
        assert!(clock.now() - start >= Duration::from_millis(2));
    }
}
