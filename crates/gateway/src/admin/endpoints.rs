//! Shows the endpoints as their balancers see them, and takes one out by hand.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use stanchion_lb::{Drained, EndpointSnapshot, LevelSnapshot, Mark};

use super::answer::{self, Answer};
use super::query;
use crate::config;
use crate::snapshot::Snapshot;

#[derive(Serialize)]
struct All<'a> {
    upstreams: Vec<Upstream<'a>>,
}

#[derive(Serialize)]
struct Upstream<'a> {
    name: &'a str,
    levels: Vec<Level>,
    endpoints: Vec<Endpoint>,
}

/// One priority.
#[derive(Serialize)]
struct Level {
    priority: u8,
    healthy: u32,
    endpoints: u32,
    /// Percent of the traffic.
    load: u32,
    /// All are used, whatever their health.
    panic: bool,
}

#[derive(Serialize)]
struct Endpoint {
    endpoint: String,
    health: String,
    /// Whether it is passed over because its breaker is open.
    held: bool,
    in_flight: u32,
    /// Milliseconds; `null` where the policy does not go by it, or nobody answered.
    latency_ms: Option<f64>,
    /// Seconds until outlier detection lets it in again, if that took it out.
    ejected_for: Option<f64>,
    weight: u16,
    /// How much of its weight counts, in percent: less than 100 while it starts slowly.
    share_percent: u32,
    priority: u8,
}

/// An endpoint after a change.
#[derive(Serialize)]
struct Changed {
    /// How its drain ended, if that was waited for: `idle`, `overdue`, or `resumed` where somebody
    /// enabled it meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    drained: Option<&'static str>,
    /// `None` if it went meanwhile.
    #[serde(flatten)]
    endpoint: Option<Endpoint>,
}

const DEADLINE_MAX: Duration = Duration::from_secs(3_600);

/// What can be done by hand.
const STATES: &str = "enabled, draining or disabled";

pub(super) fn show(snapshot: &Snapshot) -> Answer {
    let upstreams = snapshot.balancers.all().map(|(name, balance)| {
        let now = balance.balancer().snapshot();
        Upstream {
            name,
            levels: now.levels.iter().map(Level::new).collect(),
            endpoints: now.endpoints.iter().map(Endpoint::new).collect(),
        }
    });
    answer::json(&All {
        upstreams: upstreams.collect(),
    })
}

/// Does what a query says: `upstream`, `endpoint` and `state`. With a `deadline`, the answer to a drain
/// comes when that has ended; `tell` is called once it has begun.
pub(super) async fn change(snapshot: Arc<Snapshot>, query: &str, tell: impl Fn()) -> Answer {
    let names = ["upstream", "endpoint", "state"];
    let ([upstream, endpoint, state], [deadline]) =
        match query::read_with(query, names, ["deadline"]) {
            Ok(read) => read,
            Err(detail) => return answer::problem(StatusCode::BAD_REQUEST, &detail),
        };
    let mark = match &*state {
        "enabled" => Mark::Enable,
        "draining" => Mark::Drain,
        "disabled" => Mark::Disable,
        _ => {
            let detail = query::wrong(&state, "state", STATES);
            return answer::problem(StatusCode::BAD_REQUEST, &detail);
        }
    };
    let deadline = match deadline.map(|text| read_deadline(&text, mark)).transpose() {
        Ok(deadline) => deadline,
        Err(detail) => return answer::problem(StatusCode::BAD_REQUEST, &detail),
    };
    let balance = snapshot.balancers.by_name(&upstream).cloned();
    // It may be an hour until it is needed no more.
    drop(snapshot);
    let marked = balance.and_then(|balance| {
        balance.balancer().mark(&endpoint, mark)?;
        tell();
        let wait = deadline.and_then(|time| balance.balancer().drain(&endpoint, time));
        Some((balance, wait))
    });
    let Some((balance, wait)) = marked else {
        let detail = format!("there is no endpoint {endpoint:?} of an upstream {upstream:?}");
        return answer::problem(StatusCode::NOT_FOUND, &detail);
    };
    let drained = match wait {
        Some(wait) => Some(wait.await),
        None => None,
    };
    let endpoints = balance.balancer().snapshot().endpoints;
    let now = endpoints.iter().find(|known| known.id.as_str() == endpoint);
    answer::json(&Changed {
        drained: drained.map(|drained| match drained {
            Drained::Idle => "idle",
            Drained::Overdue { .. } => "overdue",
            _ => "resumed",
        }),
        endpoint: now.map(Endpoint::new),
    })
}

/// How long the end of a drain is waited for.
fn read_deadline(text: &str, mark: Mark) -> Result<Duration, String> {
    const EXPECTED: &str = "a time of at most an hour, such as \"30s\"";
    if mark != Mark::Drain {
        return Err(query::wrong(text, "deadline", "none but with draining"));
    }
    let time = config::duration(text).filter(|time| *time <= DEADLINE_MAX);
    time.ok_or_else(|| query::wrong(text, "deadline", EXPECTED))
}

impl Level {
    fn new(level: &LevelSnapshot) -> Self {
        Self {
            priority: level.priority,
            healthy: level.healthy,
            endpoints: level.endpoints,
            load: level.load,
            panic: level.panic,
        }
    }
}

impl Endpoint {
    fn new(now: &EndpointSnapshot) -> Self {
        Self {
            endpoint: now.id.as_str().to_owned(),
            health: now.health.to_string(),
            held: now.held,
            in_flight: now.in_flight,
            latency_ms: now.latency.map(|latency| latency.as_secs_f64() * 1e3),
            ejected_for: now.ejected_for.map(|time| time.as_secs_f64()),
            weight: now.weight,
            share_percent: now.share_percent,
            priority: now.priority,
        }
    }
}
