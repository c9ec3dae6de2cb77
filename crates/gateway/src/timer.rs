//! Waits that end in time.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use stanchion_core::{Clock, Instant, Sleep};

use crate::bell::Bell;

/// What `future` gives, or `None` if it takes longer than `limit`.
pub(crate) async fn within<F: Future>(
    clock: &Clock,
    limit: Duration,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut sleep = pin!(clock.sleep(limit));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        sleep.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// A timer for a deadline that is moved far more often than it is met.
///
/// Moving the deadline on costs nothing: the timer that is set keeps running, and when it fires
/// early it is set again for the rest. It allocates when it is first waited on.
pub(crate) struct LazyTimer {
    clock: Clock,
    set: Option<Set>,
}

/// A timer that runs.
struct Set {
    sleep: Pin<Box<Sleep>>,
    bell: Bell,
}

impl LazyTimer {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, set: None }
    }

    /// The time on the timer's clock.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Has the task woken at `deadline`, or earlier; it is to call [`poll`](Self::poll) then.
    ///
    /// It costs nothing where the timer is set already: it must always be the same task.
    pub(crate) fn arm(&mut self, cx: &mut Context<'_>, deadline: Instant) {
        let set = self.set.as_ref();
        let covers = |set: &Set| set.sleep.deadline() <= deadline;
        if !set.is_some_and(covers) && self.poll(cx, deadline).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// Ready once the clock reads `deadline`, which may be another one in each poll.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let set = self.set.as_ref();
        let runs = |set: &Set| set.sleep.deadline() <= deadline && set.bell.is_silent(cx);
        if set.is_some_and(runs) {
            return Poll::Pending;
        }
        self.set(cx, deadline)
    }

    fn set(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        loop {
            let mut sleep = Box::pin(self.clock.sleep_until(deadline));
            let mut bell = Bell::default();
            let fired = bell.poll(cx, |cx| sleep.as_mut().poll(cx));
            self.set = fired.is_pending().then_some(Set { sleep, bell });
            ready!(fired);
            if self.clock.now() >= deadline {
                return Poll::Ready(());
            }
        }
    }
}

/// The timer of hyper's connections, by our clock: whoever moves that moves their waits, too.
#[derive(Clone, Debug)]
pub(crate) struct HyperTimer {
    clock: Clock,
    /// One moment, as the clock tells it and as hyper does.
    began: (Instant, std::time::Instant),
}

impl HyperTimer {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self {
            began: (clock.now(), tokio::time::Instant::now().into_std()),
            clock: clock.clone(),
        }
    }
}

impl hyper::rt::Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HyperSleep(Box::pin(self.clock.sleep(duration))))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        let (ours, theirs) = self.began;
        let deadline = ours + deadline.saturating_duration_since(theirs);
        Box::pin(HyperSleep(Box::pin(self.clock.sleep_until(deadline))))
    }

    fn now(&self) -> std::time::Instant {
        let (ours, theirs) = self.began;
        theirs + (self.clock.now() - ours)
    }
}

struct HyperSleep(Pin<Box<Sleep>>);

impl Future for HyperSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl hyper::rt::Sleep for HyperSleep {}

impl fmt::Debug for LazyTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyTimer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[test]
    fn a_deadline_that_moved_on_is_met_where_it_is_now() {
        let (clock, time) = Clock::manual();
        let mut timer = LazyTimer::new(clock.clone());
        let mut cx = Context::from_waker(Waker::noop());
        let second = Duration::from_secs(1);
        let first = clock.now() + second;

        assert!(timer.poll(&mut cx, first).is_pending());
        time.advance(second);
        assert!(timer.poll(&mut cx, first + second).is_pending());
        time.advance(second);
        assert!(timer.poll(&mut cx, first + second).is_ready());
    }

    #[derive(Default)]
    struct Task(AtomicBool);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn of_two_tasks_the_last_that_polled_is_woken() {
        let (clock, time) = Clock::manual();
        let mut timer = LazyTimer::new(clock.clone());
        let deadline = clock.now() + Duration::from_secs(1);
        let tasks = [Arc::new(Task::default()), Arc::new(Task::default())];
        for task in &tasks {
            let waker = Waker::from(task.clone());
            let mut cx = Context::from_waker(&waker);
            assert!(timer.poll(&mut cx, deadline).is_pending());
        }
        time.advance(Duration::from_secs(1));
        assert_eq!(
            tasks.map(|task| task.0.load(Ordering::Relaxed)),
            [false, true]
        );
    }

    #[test]
    fn a_deadline_that_moved_nearer_is_met_there() {
        let (clock, time) = Clock::manual();
        let mut timer = LazyTimer::new(clock.clone());
        let mut cx = Context::from_waker(Waker::noop());
        let start = clock.now();
        let second = Duration::from_secs(1);

        assert!(timer.poll(&mut cx, start + 60 * second).is_pending());
        assert!(timer.poll(&mut cx, start + second).is_pending());
        time.advance(second);
        assert!(timer.poll(&mut cx, start + second).is_ready());
    }
}
