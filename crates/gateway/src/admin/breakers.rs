//! Shows the breakers and throttles, and changes a breaker by hand.

use http::StatusCode;
use serde::Serialize;
use stanchion_breaker::{Breaker, Snapshot as Figures, Throttle};

use super::answer::{self, Answer};
use super::query;
use crate::breaker::Place;
use crate::snapshot::Snapshot;

#[derive(Serialize)]
struct All {
    breakers: Vec<Shown>,
    throttles: Vec<ShownThrottle>,
}

#[derive(Serialize)]
struct ShownThrottle {
    /// `endpoint` or `route`.
    kind: &'static str,
    name: String,
    /// In the window, with those that were refused.
    requests: u64,
    accepted: u64,
    /// Of the next requests, the share that is refused.
    rejection_probability: f64,
    /// Ever.
    rejected: u64,
}

#[derive(Serialize)]
struct Shown {
    /// `endpoint` or `route`.
    kind: &'static str,
    name: String,
    state: String,
    /// Why that was entered.
    cause: String,
    /// Seconds.
    in_state_for: f64,
    /// In the window.
    calls: u64,
    failed: u64,
    slow: u64,
    /// `null` while the calls are too few to know.
    failure_rate: Option<f64>,
    slow_rate: Option<f64>,
    /// Under way for longer than what is slow.
    hanging: u64,
    /// Seconds until an open one tries.
    open_for: Option<f64>,
    /// Of traffic, while that comes back.
    admitted_share: Option<f64>,
    /// Ever.
    rejected: u64,
}

/// What can be done by hand.
const STATES: &str = "closed, open, half-open, forced-open, disabled, metrics-only or reset";

pub(super) fn show(snapshot: &Snapshot) -> Answer {
    let all = snapshot.breakers.all().into_iter();
    let throttles = snapshot.breakers.throttles().into_iter();
    answer::json(&All {
        breakers: all
            .map(|(place, breaker)| Shown::new(place, &breaker.snapshot()))
            .collect(),
        throttles: throttles
            .map(|(place, throttle)| ShownThrottle::new(place, throttle))
            .collect(),
    })
}

/// Does what a query says: `kind`, `name` and `state`.
pub(super) fn change(snapshot: &Snapshot, query: &str) -> Answer {
    let [kind, name, state] = match query::read(query, ["kind", "name", "state"]) {
        Ok(read) => read,
        Err(detail) => return answer::problem(StatusCode::BAD_REQUEST, &detail),
    };
    let all = snapshot.breakers.all();
    let found = all
        .into_iter()
        .find(|(place, _)| place.kind() == kind && place.name() == name);
    let Some((place, breaker)) = found else {
        let detail = format!("there is no breaker of the {kind} {name:?}");
        return answer::problem(StatusCode::NOT_FOUND, &detail);
    };
    match go(breaker, &state) {
        Some(Ok(())) => {
            // It may let something through again.
            if let Place::Endpoint { upstream, endpoint } = place {
                snapshot.balancers.release(upstream, endpoint);
            }
            answer::json(&Shown::new(place, &breaker.snapshot()))
        }
        Some(Err(detail)) => answer::problem(StatusCode::CONFLICT, &detail),
        None => {
            let detail = query::wrong(&state, "state", STATES);
            answer::problem(StatusCode::BAD_REQUEST, &detail)
        }
    }
}

/// `None` if there is no such state.
fn go(breaker: &Breaker, state: &str) -> Option<Result<(), String>> {
    match state {
        "closed" => breaker.close(),
        "open" => breaker.open(),
        "forced-open" => breaker.force_open(),
        "disabled" => breaker.disable(),
        "metrics-only" => breaker.metrics_only(),
        "reset" => breaker.reset(),
        "half-open" => {
            let begun = breaker.half_open();
            return Some(begun.map_err(|error| error.to_string()));
        }
        _ => return None,
    }
    Some(Ok(()))
}

impl ShownThrottle {
    fn new(place: &Place, throttle: &Throttle) -> Self {
        let now = throttle.snapshot();
        Self {
            kind: place.kind(),
            name: place.name(),
            requests: now.requests,
            accepted: now.accepts,
            rejection_probability: now.rejection_probability,
            rejected: now.rejected_total,
        }
    }
}

impl Shown {
    fn new(place: &Place, now: &Figures) -> Self {
        Self {
            kind: place.kind(),
            name: place.name(),
            state: now.state.to_string(),
            cause: now.cause.to_string(),
            in_state_for: now.in_state_for.as_secs_f64(),
            calls: now.calls,
            failed: now.failed,
            slow: now.slow,
            failure_rate: now.failure_rate,
            slow_rate: now.slow_rate,
            hanging: now.hanging,
            open_for: now.open_for.map(|time| time.as_secs_f64()),
            admitted_share: now.admitted_share,
            rejected: now.rejected_total,
        }
    }
}
