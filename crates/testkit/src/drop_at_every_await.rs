//! Drops a future at every await point and has the test check what is left.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Nudges after one poll before the driver gives up.
const NUDGES_MAX: usize = 10_000;

/// Drops the futures that `make` builds at every await point; all of them act on the same state.
///
/// ```
/// use testkit::{Gate, drop_at_every_await};
///
/// let gate = Gate::new();
/// let drops = drop_at_every_await(|| async {
///     gate.pass().await;
///     gate.pass().await;
/// })
/// .nudge(|_| {
///     gate.open_one();
/// })
/// .check(|_| assert_eq!(gate.waiting(), 0));
/// assert_eq!(drops, 5);
/// ```
///
/// Needs no runtime. See [`DropAtEveryAwait`] for what is done and what is asserted on the way.
pub fn drop_at_every_await<'a, F: Future>(
    mut make: impl FnMut() -> F + 'a,
) -> DropAtEveryAwait<'a, (), F> {
    drop_at_every_await_in(move || ((), make()))
}

/// Drops futures at every await point, each built together with a world of its own: the state it
/// acts on, which the nudge and the check then see.
///
/// For state that one run changes for the next, such as a cache that the first run fills.
pub fn drop_at_every_await_in<'a, W, F: Future>(
    make: impl FnMut() -> (W, F) + 'a,
) -> DropAtEveryAwait<'a, W, F> {
    DropAtEveryAwait {
        make: Box::new(make),
        nudge: None,
        polls_max: 100,
    }
}

/// A driver that drops a future at every await point; [`check`](Self::check) runs it.
///
/// The future is first run to its end. Then, for each poll that was pending, a new one is built
/// and polled as far, and dropped: once as the poll left it, and once after the nudge, when it has
/// been woken and was not yet polled again. One more is dropped without any poll.
///
/// The driver keeps to what an executor does: it polls again only what was woken, so a lost wake
/// shows as a panic, and each poll brings a new waker, of which a pending future must keep a clone
/// unless it has woken it.
#[must_use = "nothing runs before `check`"]
pub struct DropAtEveryAwait<'a, W, F> {
    make: Box<dyn FnMut() -> (W, F) + 'a>,
    nudge: Option<Nudge<'a, W>>,
    polls_max: usize,
}

type Nudge<'a, W> = Box<dyn FnMut(&W) + 'a>;

impl<'a, W, F: Future> DropAtEveryAwait<'a, W, F> {
    /// Sets what moves the world on after each pending poll, such as opening a gate or advancing a
    /// manual clock. It runs once, and then again until the future is woken. None by default.
    pub fn nudge(mut self, nudge: impl FnMut(&W) + 'a) -> Self {
        self.nudge = Some(Box::new(nudge));
        self
    }

    /// Sets after how many polls a future that is not done fails the test; 100 by default.
    pub fn polls_max(mut self, polls_max: usize) -> Self {
        self.polls_max = polls_max;
        self
    }

    /// Runs all of it, with `check` after each drop and after the full run, and says how many
    /// futures were dropped unfinished.
    ///
    /// # Panics
    /// When `check` does (stderr then says where the future had been dropped), when the full run
    /// takes more polls than allowed, when a pending future left no waker or was not woken by
    /// 10,000 nudges, and when a later future ends in fewer polls than the first: each must have
    /// the same way to go.
    pub fn check(mut self, mut check: impl FnMut(&W)) -> usize {
        let pending_polls = self.run(Stop::AtEnd, &mut check);
        let mut stops = vec![Stop::Unpolled];
        for poll in 1..=pending_polls {
            stops.push(Stop::AfterPoll(poll));
            if self.nudge.is_some() {
                stops.push(Stop::AfterNudge(poll));
            }
        }
        for &stop in &stops {
            self.run(stop, &mut check);
        }
        stops.len()
    }

    /// Runs one future up to `stop`, drops it, checks, and says how many polls were pending.
    fn run(&mut self, stop: Stop, check: &mut impl FnMut(&W)) -> usize {
        let (world, future) = (self.make)();
        let pending_polls = self.poll_until(stop, &world, future);
        let _where = SayOnPanic(stop);
        check(&world);
        pending_polls
    }

    fn poll_until(&mut self, stop: Stop, world: &W, future: F) -> usize {
        if stop == Stop::Unpolled {
            return 0;
        }
        let mut future = pin!(future);
        let mut polls = 0;
        loop {
            let wakes = Arc::new(Wakes::default());
            let waker = Waker::from(Arc::clone(&wakes));
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            drop(waker);
            match polled {
                Poll::Ready(output) => {
                    drop(output);
                    assert!(
                        stop == Stop::AtEnd,
                        "a future ended at poll {}, the first one did not: build each in a world \
                         of its own (`drop_at_every_await_in`)",
                        polls + 1,
                    );
                    return polls;
                }
                Poll::Pending => polls += 1,
            }
            assert!(
                polls < self.polls_max,
                "the future was still pending after {polls} polls, the most allowed \
                 (`polls_max`)",
            );
            // One reference is the driver's own; any other is a waker that somebody keeps.
            assert!(
                wakes.woken() || Arc::strong_count(&wakes) > 1,
                "poll {polls} was pending and left no waker: nothing would poll the future again",
            );
            if stop == Stop::AfterPoll(polls) {
                return polls;
            }
            self.nudge_until_woken(world, &wakes, polls);
            if stop == Stop::AfterNudge(polls) {
                return polls;
            }
        }
    }

    fn nudge_until_woken(&mut self, world: &W, wakes: &Wakes, polls: usize) {
        let Some(nudge) = &mut self.nudge else {
            assert!(
                wakes.woken(),
                "after poll {polls} nothing woke the future, and there is no nudge to move its \
                 world on",
            );
            return;
        };
        for _ in 0..NUDGES_MAX {
            nudge(world);
            if wakes.woken() {
                return;
            }
        }
        panic!("after poll {polls} the future was not woken by {NUDGES_MAX} nudges");
    }
}

impl<W, F> fmt::Debug for DropAtEveryAwait<'_, W, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DropAtEveryAwait")
            .field("polls_max", &self.polls_max)
            .finish_non_exhaustive()
    }
}

/// Where a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    AtEnd,
    Unpolled,
    AfterPoll(usize),
    AfterNudge(usize),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtEnd => write!(f, "run to its end"),
            Self::Unpolled => write!(f, "dropped before the first poll"),
            Self::AfterPoll(poll) => write!(f, "dropped after pending poll {poll}"),
            Self::AfterNudge(poll) => {
                write!(f, "dropped after pending poll {poll}, once woken")
            }
        }
    }
}

/// Says on stderr which drop a failing check was for.
struct SayOnPanic(Stop);

impl Drop for SayOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the check failed for a future {}", self.0);
        }
    }
}

#[derive(Default)]
struct Wakes {
    count: AtomicUsize,
}

impl Wakes {
    fn woken(&self) -> bool {
        // Acquire pairs with the add in `wake`: what was done before the wake is seen.
        self.count.load(Ordering::Acquire) > 0
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.count.fetch_add(1, Ordering::Release);
    }
}
