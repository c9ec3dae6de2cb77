mod config;
mod refusal;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use stanchion_core::{Classify, Clock, Instant, Observe, Outcome};

use crate::outcome::{by_result, outcome_of};
use crate::sync::{AtomicU64, Ordering};
use crate::tally::Tally;
use crate::window::{Counts, Kind, Stripes};
pub use config::ThrottleConfig;
use refusal::probability;

/// Refuses a share of the calls, as large as the share that the dependency does not accept; clones
/// share what was counted.
///
/// An alternative to the [`Breaker`](crate::Breaker) for dependencies that refuse or fail a part of
/// the calls when overloaded: where a breaker goes from all to nothing, this lets about
/// [so many](ThrottleConfig::with_multiplier) times the calls through as are accepted, and thereby
/// finds by itself when more are. It has no states, and each process acts for itself.
///
/// Accepted are calls that succeeded; those that failed or met an overload are not, nor are those
/// that it refused itself, so the share grows while callers insist. A call whose outcome is
/// ignored, or whose permit was dropped, counts as nothing. Calls are counted when they end.
///
/// # Examples
///
/// ```
/// use stanchion_breaker::{Throttle, ThrottleConfig};
/// use stanchion_core::Outcome;
///
/// let throttle = Throttle::new(ThrottleConfig::default()).with_random(|| 0);
/// for outcome in [Outcome::Success, Outcome::Overload] {
///     throttle.try_acquire()?.record(outcome);
/// }
/// // Two calls for each that is accepted are fine; one more is not.
/// throttle.try_acquire()?.record(Outcome::Overload);
/// let throttled = throttle.try_acquire().unwrap_err();
/// assert_eq!(throttled.probability(), 0.25); // (3 − 2 · 1) / (3 + 1)
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// B. Beyer and others, *Site Reliability Engineering* (2016), chapter 21, “Client-Side
/// Throttling”; the documentation of Envoy's admission control filter, which adds aggression, the
/// least rate and the most refusals. Unlike Envoy, and like the book, we count what we refuse.
#[derive(Clone)]
pub struct Throttle {
    shared: Arc<Shared>,
}

struct Shared {
    config: ThrottleConfig,
    clock: Clock,
    observer: Option<Observer>,
    random: Random,
    window: Stripes,
    /// The probability of a refusal when a call last ended, as the bits of an f64. While it is 0,
    /// calls pass without a further look.
    probability: AtomicU64,
    rejected: Tally,
}

type Observer = Arc<dyn Observe<ThrottleEvent> + Send + Sync>;
type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a throttle's observer hears.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ThrottleEvent {
    /// A call was refused.
    Rejected(Throttled),
}

/// A throttle in plain numbers, to make metrics from.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ThrottleSnapshot {
    /// Calls in the window, with those that were refused.
    pub requests: u64,
    /// Of these, how many were accepted.
    pub accepts: u64,
    /// With what probability the next call is refused.
    pub rejection_probability: f64,
    /// Calls that were refused, ever.
    pub rejected_total: u64,
}

/// One generation, since a throttle has no states.
const GENERATION: u64 = 1;
const BUCKETS: u32 = 10;

impl Throttle {
    /// A throttle that has counted nothing, on the system's clock.
    #[must_use]
    pub fn new(config: ThrottleConfig) -> Self {
        Self::made(config, Clock::system(), None, Arc::new(seeded()))
    }

    /// One like this, new, that reads `clock`. Default: [`Clock::system`].
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        let Shared {
            config,
            observer,
            random,
            ..
        } = &*self.shared;
        Self::made(*config, clock, observer.clone(), random.clone())
    }

    /// One like this, new, that tells `observer` what happens. Default: nobody.
    #[must_use]
    pub fn with_observer(
        self,
        observer: impl Observe<ThrottleEvent> + Send + Sync + 'static,
    ) -> Self {
        let shared = &self.shared;
        let observer: Observer = Arc::new(observer);
        let (clock, random) = (shared.clock.clone(), shared.random.clone());
        Self::made(shared.config, clock, Some(observer), random)
    }

    /// One like this, new, that draws 64 random bits from `random` where a call may be refused: for
    /// tests and simulations. Default: a generator with a random seed.
    #[must_use]
    pub fn with_random(self, random: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let shared = &self.shared;
        let (clock, observer) = (shared.clock.clone(), shared.observer.clone());
        Self::made(shared.config, clock, observer, Arc::new(random))
    }

    fn made(
        config: ThrottleConfig,
        clock: Clock,
        observer: Option<Observer>,
        random: Random,
    ) -> Self {
        let window = Stripes::new(config.window, BUCKETS, 0);
        window.begin(GENERATION);
        Self {
            shared: Arc::new(Shared {
                config,
                clock,
                observer,
                random,
                window,
                probability: AtomicU64::new(0),
                rejected: Tally::new(0),
            }),
        }
    }

    /// Lets a call through, or refuses it.
    ///
    /// # Errors
    ///
    /// [`Throttled`], with the probability that the formula gives; the refusal is counted.
    ///
    /// # Complexity
    ///
    /// One load while all is well; else a short lock on each stripe of the window (one for each of
    /// up to 8 processors). No allocation.
    #[inline]
    pub fn try_acquire(&self) -> Result<ThrottlePermit, Throttled> {
        // Relaxed: who reads it too late decides by what was known before.
        if self.shared.probability.load(Ordering::Relaxed) != 0 {
            self.shared.draw()?;
        }
        Ok(ThrottlePermit {
            shared: self.shared.clone(),
        })
    }

    /// Runs `future` if it is let through: `Ok` is a success, `Err` a failure.
    ///
    /// # Errors
    ///
    /// [`CallThrottled::Throttled`] when it was refused and not polled, else the future's own.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future; the call then counts as nothing.
    pub async fn call<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallThrottled<E>> {
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
    ) -> Result<T, CallThrottled<E>> {
        let permit = self.try_acquire().map_err(CallThrottled::Throttled)?;
        let result = future.await;
        permit.record(outcome_of(&classifier, result.as_ref()));
        result.map_err(CallThrottled::Failed)
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &ThrottleConfig {
        &self.shared.config
    }

    /// The throttle in plain numbers.
    #[must_use]
    pub fn snapshot(&self) -> ThrottleSnapshot {
        let shared = &*self.shared;
        let counts = shared.window.counts(GENERATION, shared.clock.now());
        ThrottleSnapshot {
            requests: counts.total,
            accepts: counts.total - counts.failed,
            rejection_probability: shared.probability_of(counts),
            rejected_total: shared.rejected.sum(),
        }
    }
}

impl Shared {
    #[cold]
    fn draw(&self) -> Result<(), Throttled> {
        let now = self.clock.now();
        let probability = self.publish(self.window.counts(GENERATION, now));
        if unit((self.random)()) >= probability {
            return Ok(());
        }
        self.record(false, now);
        self.rejected.add_one();
        let throttled = Throttled { probability };
        if let Some(observer) = &self.observer {
            observer.observe(&ThrottleEvent::Rejected(throttled));
        }
        Err(throttled)
    }

    fn record(&self, accepted: bool, now: Instant) {
        let kind = Kind {
            failed: !accepted,
            slow: false,
        };
        // With a good call the probability only falls, so where it is 0 there is nothing to do.
        let counts = match self.window.record(GENERATION, kind, now) {
            Some(counts) => counts,
            None if self.probability.load(Ordering::Relaxed) == 0 => return,
            None => self.window.counts(GENERATION, now),
        };
        self.publish(counts);
    }

    fn publish(&self, counts: Counts) -> f64 {
        let probability = self.probability_of(counts);
        self.probability
            .store(probability.to_bits(), Ordering::Relaxed);
        probability
    }

    fn probability_of(&self, counts: Counts) -> f64 {
        probability(&self.config, counts.total, counts.total - counts.failed)
    }
}

/// The right to make one call; comes back with [`record`](Self::record). Dropped without, the call
/// counts as nothing.
#[must_use = "a permit that is dropped counts as nothing; record the call's outcome"]
pub struct ThrottlePermit {
    shared: Arc<Shared>,
}

impl ThrottlePermit {
    /// Tells how the call went.
    pub fn record(self, outcome: Outcome) {
        let accepted = match outcome {
            Outcome::Success => true,
            Outcome::Failure | Outcome::Overload => false,
            _ => return,
        };
        self.shared.record(accepted, self.shared.clock.now());
    }
}

/// The throttle let no call through, and nothing was called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttled {
    probability: f64,
}

impl Throttled {
    /// With what probability a call was refused at that moment: more than 0, at most 1.
    #[must_use]
    pub const fn probability(&self) -> f64 {
        self.probability
    }
}

impl fmt::Display for Throttled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.probability * 100.0;
        write!(
            f,
            "throttled: too few calls are accepted, so {percent:.1} % are not made"
        )
    }
}

impl Error for Throttled {}

/// Why [`Throttle::call`] gave no value.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete by nature: refused, or called and failed"
)]
pub enum CallThrottled<E> {
    /// The throttle refused; the future was not polled.
    Throttled(Throttled),
    /// The call's own error.
    Failed(E),
}

impl<E: fmt::Display> fmt::Display for CallThrottled<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Throttled(throttled) => throttled.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: Error> Error for CallThrottled<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Throttled(_) => None,
            Self::Failed(error) => error.source(),
        }
    }
}

/// 0 to 1, without 1, of random bits.
#[expect(clippy::cast_precision_loss, reason = "53 bits, which a f64 holds")]
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / 9_007_199_254_740_992.0
}

/// SplitMix64 over a counter that threads share, from a random seed.
fn seeded() -> impl Fn() -> u64 + Send + Sync {
    let state = AtomicU64::new(RandomState::new().hash_one(0));
    move || {
        let mut bits = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle")
            .field("config", self.config())
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ThrottlePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottlePermit").finish_non_exhaustive()
    }
}
