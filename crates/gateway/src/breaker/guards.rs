//! What a request passes before an endpoint, or on a route.

use std::time::Duration;

use stanchion_breaker::{Breaker, OwnedPermit, Rejected, State, Throttle, ThrottlePermit};
use stanchion_core::{Clock, Instant, Outcome};

use crate::balance::Pick;

/// The breaker and the throttle of one place, where they are configured; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guards {
    pub(super) breaker: Option<Gate>,
    pub(super) throttle: Option<Throttle>,
}

/// A breaker, with what trials of it need to know.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) breaker: Breaker,
    pub(super) clock: Clock,
    /// A trial whose body goes on for so long is taken for good.
    pub(super) patience: Duration,
}

/// Why a request was not let through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    Open(Rejected),
    Throttled,
}

/// A request that was let through, until its outcome is known. Dropped, it counts as one that was
/// given up.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// Of a server; not of a route.
    pick: Option<Pick>,
    permit: Option<OwnedPermit>,
    throttle: Option<ThrottlePermit>,
    /// Boxed, since it goes along with every request and few are trials.
    trial: Option<Box<Trial>>,
}

/// Others wait for the outcome of a trial, and some bodies go on for hours.
#[derive(Debug)]
struct Trial {
    clock: Clock,
    until: Instant,
}

impl Guards {
    pub(crate) fn is_empty(&self) -> bool {
        self.breaker.is_none() && self.throttle.is_none()
    }

    /// The state of the breaker, if there is one.
    pub(crate) fn state(&self) -> Option<String> {
        let gate = self.breaker.as_ref();
        gate.map(|gate| gate.breaker.state().to_string())
    }

    /// The share of requests that the throttle refuses now, if there is one.
    pub(crate) fn throttled(&self) -> Option<f64> {
        let throttle = self.throttle.as_ref();
        throttle.map(|throttle| throttle.snapshot().rejection_probability)
    }

    /// Lets a request through, or refuses it.
    pub(crate) fn admit(&self) -> Result<Admitted, Refusal> {
        let mut admitted = Admitted::default();
        if let Some(gate) = &self.breaker {
            let permit = gate.breaker.try_acquire_owned().map_err(Refusal::Open)?;
            if permit.is_trial() {
                let clock = gate.clock.clone();
                let until = clock.now() + gate.patience;
                admitted.trial = Some(Box::new(Trial { clock, until }));
            }
            admitted.permit = Some(permit);
        }
        if let Some(throttle) = &self.throttle {
            match throttle.try_acquire() {
                Ok(permit) => admitted.throttle = Some(permit),
                Err(_) => {
                    admitted.record(Outcome::Ignore);
                    return Err(Refusal::Throttled);
                }
            }
        }
        Ok(admitted)
    }
}

impl Admitted {
    /// Whether nobody waits for an outcome.
    pub(super) fn is_empty(&self) -> bool {
        self.pick.is_none() && self.permit.is_none() && self.throttle.is_none()
    }

    /// With the pick that led here: it counts until the outcome is recorded.
    pub(crate) fn with_pick(mut self, pick: Pick) -> Self {
        self.pick = Some(pick);
        self
    }

    /// The pick alone, which goes on.
    pub(crate) fn take_pick(&mut self) -> Option<Pick> {
        self.pick.take()
    }

    pub(crate) fn record(self, outcome: Outcome) {
        self.record_with(outcome, None);
    }

    /// With how long the server asked to be left alone.
    pub(super) fn record_with(mut self, outcome: Outcome, retry_after: Option<Duration>) {
        self.record_by_guards(outcome, retry_after);
        match (self.pick, retry_after) {
            (Some(pick), Some(time)) => pick.record_with_retry_after(outcome, time),
            (Some(pick), None) => pick.record(outcome),
            (None, _) => {}
        }
    }

    /// Tells the breaker and the throttle; the request still counts for the balancer.
    pub(super) fn record_by_guards(&mut self, outcome: Outcome, retry_after: Option<Duration>) {
        self.trial = None;
        if let Some(permit) = self.permit.take() {
            match retry_after {
                Some(time) => permit.record_with_retry_after(outcome, time),
                None => permit.record(outcome),
            }
        }
        if let Some(permit) = self.throttle.take() {
            permit.record(outcome);
        }
    }

    /// The head of the response is there: how slowly its body goes is up to the client.
    pub(super) fn answered(&mut self) {
        if let Some(permit) = &mut self.permit {
            permit.answered();
        }
    }

    /// Whether it is a trial whose body has gone on for long enough.
    pub(super) fn is_due(&self) -> bool {
        let trial = self.trial.as_ref();
        trial.is_some_and(|trial| trial.clock.now() >= trial.until)
    }
}

impl Refusal {
    /// For how long a breaker lets nothing through, if that is why.
    pub(crate) fn open_for(&self) -> Option<Duration> {
        match self {
            Self::Open(rejected) if rejected.state() == State::Open => rejected.retry_after(),
            Self::Open(_) | Self::Throttled => None,
        }
    }

    /// When it is worth while to come back, if that is known.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Open(rejected) => rejected.retry_after(),
            Self::Throttled => None,
        }
    }
}
