mod shared;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::{Classify, Clock, Instant, Observe};

use crate::outcome::{by_result, outcome_of};
use crate::{
    CallError, Config, Event, IllegalTransition, OwnedPermit, Permit, Rejected, Snapshot, State,
};
pub(crate) use shared::{Shared, Token};

/// Stops calling what does not answer well; clones share the same state.
///
/// A call takes a [`Permit`] and returns it with the call's
/// [`Outcome`](stanchion_core::Outcome). While the breaker is closed that is one load, and one
/// write to count the call; while it is open one load and a clock read. Neither takes a lock or
/// allocates.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_breaker::{Breaker, Config, State, Window};
/// use stanchion_core::{Clock, Outcome};
///
/// let (clock, time) = Clock::manual();
/// let config = Config::new(Window::calls(4)?);
/// let breaker = Breaker::new(config).with_clock(clock);
///
/// for outcome in [Outcome::Success, Outcome::Success, Outcome::Failure, Outcome::Failure] {
///     breaker.try_acquire()?.record(outcome);
/// }
/// assert_eq!(breaker.state(), State::Open);
/// let rejected = breaker.try_acquire().unwrap_err();
/// assert_eq!(rejected.to_string(), "circuit breaker is open: 50.0 % of the calls failed; \
///     try again in 5.000000001s");
///
/// time.advance(rejected.retry_after().unwrap());
/// let trial = breaker.try_acquire()?;
/// assert_eq!(breaker.state(), State::HalfOpen);
/// drop(trial); // gives it back
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Breaker {
    shared: Arc<Shared>,
}

impl Breaker {
    /// A closed breaker, on the system's clock.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::made(config, Clock::system(), None)
    }

    /// A breaker like this one, new, that reads `clock`. Default: [`Clock::system`].
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        let shared = &self.shared;
        Self::made(shared.config().clone(), clock, shared.observer().cloned())
    }

    /// A breaker like this one, new, that tells `observer` what happens. Default: nobody.
    #[must_use]
    pub fn with_observer(self, observer: impl Observe<Event> + Send + Sync + 'static) -> Self {
        let shared = &self.shared;
        let observer: Arc<dyn Observe<Event> + Send + Sync> = Arc::new(observer);
        Self::made(
            shared.config().clone(),
            shared.clock().clone(),
            Some(observer),
        )
    }

    /// A breaker with another configuration that goes on where this one stands: in the same state,
    /// for as long as it would have been open, with the same totals, clock and observer. Its window
    /// is empty, and its trials begin anew.
    ///
    /// This one is left as it is; calls that it let through are recorded with it. For a change of
    /// configuration while calls go on.
    #[must_use]
    pub fn reconfigured(&self, config: Config) -> Self {
        Self {
            shared: Arc::new(self.shared.reconfigured(config)),
        }
    }

    pub(crate) fn made(
        config: Config,
        clock: Clock,
        observer: Option<Arc<dyn Observe<Event> + Send + Sync>>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared::new(config, clock, observer)),
        }
    }

    /// Lets a call through, or refuses it.
    ///
    /// The permit should come back with the call's outcome; dropped without, it counts by the
    /// [`CancelPolicy`](crate::CancelPolicy).
    ///
    /// # Errors
    ///
    /// [`Rejected`] while open, forced open, half-open with all trials taken, and for a share of
    /// calls while traffic comes back.
    ///
    /// # Complexity
    ///
    /// O(1), no allocation; a lock only while half-open, and at the turn of a state.
    #[inline(always)]
    pub fn try_acquire(&self) -> Result<Permit<'_>, Rejected> {
        let token = self.shared.admit()?;
        Ok(Permit::new(&self.shared, token))
    }

    /// As [`try_acquire`](Self::try_acquire), with a permit that may be sent away and outlive this
    /// handle.
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn try_acquire_owned(&self) -> Result<OwnedPermit, Rejected> {
        let token = self.shared.admit()?;
        Ok(OwnedPermit::new(self.shared.clone(), token))
    }

    /// As [`try_acquire_owned`](Self::try_acquire_owned), of a handle that is needed no more.
    pub(crate) fn into_permit(self) -> Result<OwnedPermit, Rejected> {
        let token = self.shared.admit()?;
        Ok(OwnedPermit::new(self.shared, token))
    }

    /// When a new one would do the same, if it is left alone.
    pub(crate) fn forgetting(&self) -> Forgetting {
        if Arc::strong_count(&self.shared) > 1 {
            return Forgetting::Held;
        }
        match self.shared.settled_from() {
            Some(moment) => Forgetting::From(moment),
            None => Forgetting::Never,
        }
    }

    /// Runs `future` if the breaker lets it through: `Ok` is a success, `Err` a failure.
    ///
    /// # Errors
    ///
    /// [`CallError::Rejected`] when it was refused and not polled, else the future's own.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future; the call then counts by the
    /// [`CancelPolicy`](crate::CancelPolicy).
    pub async fn call<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError<E>> {
        self.call_with(by_result, future).await
    }

    /// As [`call`](Self::call), with the outcome that `classifier` gives. What it defers to the
    /// end of a body is asked at once: there is no body here.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn call_with<T, E>(
        &self,
        classifier: impl Classify<T, E>,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError<E>> {
        let permit = self.try_acquire().map_err(CallError::Rejected)?;
        let result = future.await;
        permit.record(outcome_of(&classifier, result.as_ref()));
        result.map_err(CallError::Failed)
    }

    /// The state. An open breaker whose time is over stays open until a call asks.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.shared.config()
    }

    /// The breaker in plain numbers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// Refuses all calls until it is changed by hand.
    pub fn force_open(&self) {
        self.go(State::ForcedOpen);
    }

    /// Lets all calls through and records nothing, until it is changed by hand.
    pub fn disable(&self) {
        self.go(State::Disabled);
    }

    /// Lets all calls through, and records and tells what it would have done, until it is changed
    /// by hand.
    pub fn metrics_only(&self) {
        self.go(State::MetricsOnly);
    }

    /// Opens it, for as long as if it had tripped.
    pub fn open(&self) {
        self.go(State::Open);
    }

    /// Closes it, with an empty window. If it is closed already nothing changes;
    /// [`reset`](Self::reset) empties the window then too.
    pub fn close(&self) {
        self.go(State::Closed);
    }

    /// Begins the trials before the open time is over.
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`] when it is neither open nor forced open; nothing has changed.
    pub fn half_open(&self) -> Result<(), IllegalTransition> {
        self.shared.go(State::HalfOpen)
    }

    /// Closes it as if it were new: the window is empty, earlier openings are forgotten, and what
    /// is under way no longer counts.
    pub fn reset(&self) {
        self.shared.reset();
    }

    fn go(&self, to: State) {
        // Only the way to half-open can be barred.
        let _ = self.shared.go(to);
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("state", &self.state())
            .field("config", self.config())
            .finish_non_exhaustive()
    }
}

/// When a breaker is as good as a new one.
pub(crate) enum Forgetting {
    /// Someone else holds it, or a permit of it.
    Held,
    /// It is closed, and from this moment on has all traffic back and no opening remembered.
    From(Instant),
    /// Time alone does not close it.
    Never,
}

/// What a dependency asked for with its refusal.
pub(crate) type RetryAfter = Option<Duration>;
