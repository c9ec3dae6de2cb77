use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use stanchion_core::{Instant, Sleep};

use crate::holder::Holder;
use crate::{KeyedRateLimiter, RateLimiter, Rejected, Reservation};

impl RateLimiter {
    /// Waits until a request of this cost may go, for up to `wait_max`.
    ///
    /// Waiting is a [reservation](Self::reserve), made when the future is first polled: it holds its
    /// slot, and needs one timer. So those who wait are served in the order in which they came, and
    /// who would have to wait too long is refused at once, without sleeping.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    ///
    /// # Panics
    ///
    /// Where it has to wait, when polled outside a tokio runtime that has its timer enabled; not on
    /// a manual clock.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives its slot back, as far as nobody stands behind it; see
    /// [`Reservation`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use stanchion_ratelimit::{Quota, RateLimiter};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = RateLimiter::new("1000/s burst 1".parse::<Quota>()?);
    /// for _ in 0..3 {
    ///     limiter.acquire(1, Duration::from_secs(1)).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self, cost: u64, wait_max: Duration) -> Acquire {
        Acquire::new(Holder::One(self.clone()), cost, wait_max)
    }
}

impl<K: ?Sized + Hash + 'static> KeyedRateLimiter<K> {
    /// Waits until a request of `key` of this cost may go, for up to `wait_max`; as
    /// [`RateLimiter::acquire`], with an order for each key.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    ///
    /// # Panics
    ///
    /// Where it has to wait, when polled outside a tokio runtime that has its timer enabled; not on
    /// a manual clock.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives its slot back, as far as nobody stands behind it; see
    /// [`Reservation`].
    pub fn acquire(&self, key: &K, cost: u64, wait_max: Duration) -> Acquire {
        Acquire::new(Holder::Key(self.of_key(key)), cost, wait_max)
    }
}

pin_project! {
    /// The wait that [`RateLimiter::acquire`] and [`KeyedRateLimiter::acquire`] return.
    #[must_use = "futures do nothing unless polled"]
    pub struct Acquire {
        holder: Holder,
        cost: u64,
        wait_max: Duration,
        reservation: Option<Reservation>,
        #[pin]
        timer: Timer,
    }
}

pin_project! {
    #[project = TimerProjection]
    enum Timer {
        Idle,
        Waiting { #[pin] sleep: Sleep },
        Done,
    }
}

impl Future for Acquire {
    type Output = Result<(), Rejected>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.timer.as_mut().project() {
                TimerProjection::Idle => {
                    let clock = this.holder.clock();
                    let deadline = clock.now() + *this.wait_max;
                    let holder = this.holder.clone();
                    let reservation = match Reservation::of(holder, *this.cost, *this.wait_max) {
                        Ok(reservation) => reservation,
                        Err(rejected) => {
                            this.timer.set(Timer::Done);
                            return Poll::Ready(Err(rejected));
                        }
                    };
                    let until = this.holder.jittered(reservation.ready_at(), deadline);
                    *this.reservation = Some(reservation);
                    let sleep = clock.sleep_until(until);
                    this.timer.set(Timer::Waiting { sleep });
                }
                TimerProjection::Waiting { sleep } => {
                    ready!(sleep.poll(cx));
                    if let Some(reservation) = this.reservation.take() {
                        reservation.commit();
                    }
                    this.timer.set(Timer::Done);
                    return Poll::Ready(Ok(()));
                }
                TimerProjection::Done => panic!("polled after completion"),
            }
        }
    }
}

impl Acquire {
    fn new(holder: Holder, cost: u64, wait_max: Duration) -> Self {
        Self {
            holder,
            cost,
            wait_max,
            reservation: None,
            timer: Timer::Idle,
        }
    }

    /// The moment of the slot; `None` before the first poll and after the last.
    #[must_use]
    pub fn ready_at(&self) -> Option<Instant> {
        self.reservation.as_ref().map(Reservation::ready_at)
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("cost", &self.cost)
            .field("reservation", &self.reservation)
            .finish_non_exhaustive()
    }
}
