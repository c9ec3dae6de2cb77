use std::error::Error;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use stanchion_core::Sleep;

use crate::holder::Holder;
use crate::{
    AsyncLimiter, KeyedRateLimiter, Policy, RateLimiter, Reason, Rejected, Reservation, Status,
};
use private::Slotted;

/// Lets requests wait for their slots instead of refusing them; clones share who waits.
///
/// It makes an [`AsyncLimiter`] of a [`RateLimiter`] or a [`KeyedRateLimiter`], so it goes into an
/// [`AsyncRateLimitLayer`](crate::AsyncRateLimitLayer) (feature `tower`). A request is admitted at
/// once if it may go now. Else it takes the first free slot, if that lies within `wait_max`, and waits
/// for it: in the order of the slots, by one timer each, without asking again. What would come too
/// late is refused at once, with the time after which to come again.
///
/// **Bound.** At most [`waiters_max`](Self::with_waiters_max) requests wait together, whatever their
/// keys; one more that would have to is refused with [`Reason::TooManyWaiting`].
///
/// A request that is dropped while it waits gives its slot back, as far as nobody stands behind it
/// ([`Reservation`]).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_ratelimit::{AsyncLimiter, Quota, RateLimiter, Waiting};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = RateLimiter::new("1000/s burst 1".parse::<Quota>()?);
/// let waiting = Waiting::new(limiter, Duration::from_millis(100))?.with_waiters_max(500)?;
/// for _ in 0..3 {
///     waiting.decide(&(), 1).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Waiting<L> {
    limiter: L,
    wait_max: Duration,
    room: Arc<Room>,
}

/// How many wait, and how many may.
#[derive(Debug)]
struct Room {
    waiters_max: usize,
    waiting: AtomicUsize,
    /// Who waited since the start.
    waited: AtomicU64,
    /// Who was refused because too many did.
    turned_away: AtomicU64,
}

/// Who waits, in plain numbers, to make metrics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingSnapshot {
    /// Requests that wait now.
    pub waiting: usize,
    /// Requests that may wait together.
    pub waiters_max: usize,
    /// Requests that had to wait, since the start.
    pub waited: u64,
    /// Requests that were refused because too many waited, since the start.
    pub turned_away: u64,
}

const WAITERS_MAX: usize = 1_024;

impl<L: Slotted> Waiting<L> {
    /// Lets up to 1,024 requests of `limiter` wait, each for up to `wait_max`.
    ///
    /// # Errors
    ///
    /// The algorithm must be one that slots can be promised on, as [`Policy`] tells.
    pub fn new(limiter: L, wait_max: Duration) -> Result<Self, InvalidWaiting> {
        let policy = limiter.policy();
        if let Policy::SlidingWindowCounter(_) | Policy::StrictWindow(_) = policy {
            return Err(InvalidWaiting {
                algorithm: Some(policy.algorithm()),
            });
        }
        Ok(Self {
            limiter,
            wait_max,
            room: Arc::new(Room::new(WAITERS_MAX)),
        })
    }
}

impl<L> Waiting<L> {
    /// How many requests may wait together, through this handle and its later clones. Default: 1,024.
    ///
    /// # Errors
    ///
    /// `waiters_max` must be at least 1: who lets nobody wait needs no waiting.
    pub fn with_waiters_max(self, waiters_max: usize) -> Result<Self, InvalidWaiting> {
        if waiters_max == 0 {
            return Err(InvalidWaiting { algorithm: None });
        }
        Ok(Self {
            room: Arc::new(Room::new(waiters_max)),
            ..self
        })
    }

    /// The limiter.
    #[must_use]
    pub fn limiter(&self) -> &L {
        &self.limiter
    }

    /// How long a request waits at most.
    #[must_use]
    pub fn wait_max(&self) -> Duration {
        self.wait_max
    }

    /// Who waits, in plain numbers.
    #[must_use]
    pub fn snapshot(&self) -> WaitingSnapshot {
        WaitingSnapshot {
            waiting: self.room.waiting.load(Ordering::Relaxed),
            waiters_max: self.room.waiters_max,
            waited: self.room.waited.load(Ordering::Relaxed),
            turned_away: self.room.turned_away.load(Ordering::Relaxed),
        }
    }

    /// The same for another limiter, with nobody waiting.
    #[cfg(feature = "tower")]
    pub(crate) fn anew_with(&self, limiter: L) -> Self {
        Self {
            limiter,
            wait_max: self.wait_max,
            room: Arc::new(Room::new(self.room.waiters_max)),
        }
    }

    fn wait(&self, holder: Holder, cost: u64) -> Wait {
        Wait {
            holder,
            cost,
            wait_max: self.wait_max,
            room: self.room.clone(),
            stage: Stage::Asking,
        }
    }
}

impl<K: ?Sized> AsyncLimiter<K> for Waiting<RateLimiter> {
    type Decision = Wait;

    fn decide(&self, _key: &K, cost: u64) -> Wait {
        self.wait(Holder::One(self.limiter.clone()), cost)
    }

    fn decide_without_key(&self, cost: u64) -> Option<Wait> {
        Some(AsyncLimiter::<()>::decide(self, &(), cost))
    }
}

impl<K: ?Sized + Hash + 'static> AsyncLimiter<K> for Waiting<KeyedRateLimiter<K>> {
    type Decision = Wait;

    fn decide(&self, key: &K, cost: u64) -> Wait {
        self.wait(Holder::Key(self.limiter.of_key(key)), cost)
    }

    fn decide_without_key(&self, cost: u64) -> Option<Wait> {
        Some(self.wait(Holder::Key(self.limiter.of_no_key()), cost))
    }

    fn policy_of(&self, key: &K) -> Option<Policy> {
        AsyncLimiter::policy_of(&self.limiter, key)
    }
}

pin_project! {
    /// The wait of one request, from [`Waiting`]. The slot is taken at the first poll.
    ///
    /// # Panics
    ///
    /// Where it has to wait, when polled outside a tokio runtime that has its timer enabled; not on a
    /// manual clock.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the slot back, as far as nobody stands behind it, and its place among those
    /// who wait.
    #[must_use = "futures do nothing unless polled"]
    pub struct Wait {
        holder: Holder,
        cost: u64,
        wait_max: Duration,
        room: Arc<Room>,
        #[pin]
        stage: Stage,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage {
        Asking,
        Waiting {
            // Dropped in this order: first the slot, then the seat.
            reservation: Option<Reservation>,
            seat: Seat,
            #[pin]
            sleep: Sleep,
        },
        Done,
    }
}

impl Future for Wait {
    type Output = Result<Option<Status>, Rejected>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProjection::Asking => {
                    let clock = this.holder.clock();
                    let deadline = clock.now() + *this.wait_max;
                    match this.room.ask(this.holder, *this.cost, *this.wait_max) {
                        Ok((reservation, Some(seat))) => {
                            let slot = reservation.ready_at();
                            let sleep = clock.sleep_until(this.holder.jittered(slot, deadline));
                            this.stage.set(Stage::Waiting {
                                reservation: Some(reservation),
                                seat,
                                sleep,
                            });
                        }
                        Ok((reservation, None)) => {
                            reservation.commit();
                            this.stage.set(Stage::Done);
                            return Poll::Ready(Ok(Some(this.holder.peek())));
                        }
                        Err(rejected) => {
                            this.stage.set(Stage::Done);
                            return Poll::Ready(Err(this.holder.refuse(rejected)));
                        }
                    }
                }
                StageProjection::Waiting {
                    reservation, sleep, ..
                } => {
                    ready!(sleep.poll(cx));
                    if let Some(reservation) = reservation.take() {
                        reservation.commit();
                    }
                    this.stage.set(Stage::Done);
                    return Poll::Ready(Ok(Some(this.holder.peek())));
                }
                StageProjection::Done => panic!("polled after completion"),
            }
        }
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Asking => "Asking",
            Stage::Waiting { .. } => "Waiting",
            Stage::Done => "Done",
        };
        f.debug_tuple("Wait").field(&stage).finish()
    }
}

impl Room {
    fn new(waiters_max: usize) -> Self {
        Self {
            waiters_max,
            waiting: AtomicUsize::new(0),
            waited: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Takes a slot of now, or one for later with a seat to wait on. The seat comes first: a slot
    /// that was taken and cannot be waited for may not be given back once others stand behind it.
    fn ask(
        self: &Arc<Self>,
        holder: &Holder,
        cost: u64,
        wait_max: Duration,
    ) -> Result<(Reservation, Option<Seat>), Rejected> {
        let reserve = |wait_max| -> Result<Reservation, Rejected> {
            let (ready_at, claim) = holder.claim(cost, wait_max)?;
            Ok(Reservation::new(holder.clone(), ready_at, cost, claim))
        };
        let exceeded = match reserve(Duration::ZERO) {
            Err(rejected) if rejected.reason() == Reason::Exceeded => rejected,
            decided => return decided.map(|reservation| (reservation, None)),
        };
        let Some(seat) = Seat::take(self) else {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(exceeded.too_many_waiting());
        };
        let reservation = reserve(wait_max)?;
        let waits = !reservation.ready_in().is_zero();
        if waits {
            self.waited.fetch_add(1, Ordering::Relaxed);
        }
        Ok((reservation, waits.then_some(seat)))
    }
}

/// A place among those who wait, given up on drop.
#[derive(Debug)]
struct Seat(Arc<Room>);

impl Seat {
    fn take(room: &Arc<Room>) -> Option<Self> {
        // Relaxed: the number is all there is.
        let one_more = |waiting: usize| (waiting < room.waiters_max).then_some(waiting + 1);
        room.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Self(room.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<L: fmt::Debug> fmt::Debug for Waiting<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("limiter", &self.limiter)
            .field("wait_max", &self.wait_max)
            .field("room", &self.room)
            .finish()
    }
}

/// Nobody can wait, where all are to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidWaiting {
    /// The algorithm, where that is wrong; else the number of waiters is.
    algorithm: Option<&'static str>,
}

impl fmt::Display for InvalidWaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.algorithm {
            Some(algorithm) => write!(
                f,
                "policy is a {algorithm}, must be a token-bucket, leaky-bucket, fixed-window or \
                 sliding-window-log: others promise no slots"
            ),
            None => f.write_str("waiters_max is 0, must be at least 1"),
        }
    }
}

impl Error for InvalidWaiting {}

mod private {
    use crate::{KeyedRateLimiter, Policy, RateLimiter};

    /// A limiter with an algorithm.
    #[expect(unnameable_types, reason = "what seals a trait cannot be named")]
    pub trait Slotted {
        fn policy(&self) -> Policy;
    }

    impl Slotted for RateLimiter {
        fn policy(&self) -> Policy {
            self.policy()
        }
    }

    impl<K: ?Sized> Slotted for KeyedRateLimiter<K> {
        fn policy(&self) -> Policy {
            self.policy()
        }
    }
}
